"""Likely label errors with cleanlab, which other tests do without."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from results import manifest_of

from lingotune.data.prepared.manifest import FILE as MANIFEST
from lingotune.evaluation.label_errors import find_label_errors, is_installed, version
from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.evaluation.out_of_fold import MOST_CHARACTERS, out_of_fold, reason_against
from lingotune.evaluation.predictions import FILE, write_predictions
from lingotune.report.likely_label_errors import LikelyErrors, likely_errors


@pytest.fixture(scope="module", autouse=True)
def sklearn() -> Iterator[None]:
    """Scikit-learn, which tests/conftest.py hides and cleanlab needs."""
    hidden = "sklearn" in sys.modules and sys.modules["sklearn"] is None
    if hidden:
        del sys.modules["sklearn"]
    if not is_installed():
        pytest.skip("cleanlab is not installed")
    yield
    if hidden:
        sys.modules["sklearn"] = None  # type: ignore[assignment]


def predictions_of(classes: int, rows: int, flipped: int) -> tuple[Predictions, set[int]]:
    """Predictions of a good model; the labels of some rows, which are returned, name another class."""
    random = np.random.default_rng(4)
    true = random.integers(classes, size=rows)
    shares = random.dirichlet(np.ones(classes), rows) * 0.4
    shares[np.arange(rows), true] += 0.6
    wrong = random.choice(rows, flipped, replace=False)
    true[wrong] = (true[wrong] + random.integers(1, classes, size=flipped)) % classes
    codes = np.full(rows, "de", object)
    return Predictions(true, shares, codes, np.full(rows, np.nan)), set(wrong.tolist())


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_labels_that_were_changed_are_found_and_few_others(classes: int) -> None:
    predictions, wrong = predictions_of(classes, 600, 30)
    found = find_label_errors(predictions)
    places = [one.place for one in found]
    assert len(wrong & set(places)) >= 15
    assert len(set(places) - wrong) <= 2
    ranked = [one.probability for one in found]
    assert ranked == sorted(ranked)  # the most suspicious first
    for one in found:
        assert one.likely == predictions.probabilities[one.place].argmax()
        assert one.likely != predictions.true[one.place]
        assert one.likely_probability > one.probability


def test_nothing_is_found_where_labels_are_right() -> None:
    assert find_label_errors(predictions_of(3, 300, 0)[0]) == []


def test_classes_without_rows_and_rows_of_one_class() -> None:
    predictions, _ = predictions_of(5, 200, 0)
    some = predictions.select(np.isin(predictions.true, [1, 3]))
    assert find_label_errors(some) == []
    assert find_label_errors(predictions.select(predictions.true == 1)) == []
    assert version()[0].isdigit()


# --- out of fold ----------------------------------------------------------------------------------

LABELS = ("bad", "good")
_WORDS = {0: ("broken", "awful", "useless"), 1: ("great", "lovely", "useful")}


def texts_of(rows: int, flipped: int, seed: int = 1) -> tuple[list[str], np.ndarray, set[int]]:
    """Texts that their words tell the class of; the labels of some rows, which are returned, are wrong."""
    random = np.random.default_rng(seed)
    true = random.integers(2, size=rows)
    texts = [f"it is {random.choice(_WORDS[one])}, number {n}" for n, one in enumerate(true)]
    wrong = random.choice(rows, flipped, replace=False)
    true[wrong] = 1 - true[wrong]
    return texts, true, set(wrong.tolist())


def test_rows_are_scored_by_what_the_others_say() -> None:
    texts, true, wrong = texts_of(300, 15)
    found = out_of_fold(texts, true, 3)
    assert found.shape == (300, 3) and np.allclose(found.sum(axis=1), 1)
    assert not found[:, 2].any()  # no row has that class
    assert {n for n in range(300) if found[n].argmax() != true[n]} == wrong
    assert (out_of_fold(texts, true, 3) == found).all()


def test_many_texts_are_not_scored_out_of_fold() -> None:
    assert reason_against(["a text"] * 10, 3) is None
    assert "too many" in str(reason_against(["x" * MOST_CHARACTERS, "y"], 3))
    assert "too many" in str(reason_against(["x" * (MOST_CHARACTERS // 10)], 40))


def a_run(folder: Path, flipped: int = 15) -> tuple[Path, Path, set[str]]:
    """Folders of a run, whose model scored 60 rows as 0.6 against 0.4, and of its data: the ids of its
    training rows with a wrong label."""
    run, data = folder / "run", folder / "data"
    run.mkdir(parents=True)
    data.mkdir()
    texts, true, wrong = texts_of(300, flipped)
    held_out, own, _ = texts_of(60, 0, seed=2)
    shares = np.where(np.eye(2)[own] > 0, 0.6, 0.4)
    codes = np.full(60, "en", object)
    predictions = Predictions(own, shares, codes, np.full(60, np.nan))
    write_predictions(predictions, [f"t{n}" for n in range(60)], Classes(LABELS), run / FILE)
    manifest = manifest_of([{"file": "train.parquet"}])
    manifest["splits"]["test"] = {**manifest["splits"]["train"], "shards": [
        {"file": "test.parquet", "rows": 60, "tokens": 0, "bytes": 0, "sha256": ""}
    ]}  # fmt: skip
    (data / MANIFEST).write_text(json.dumps(manifest))
    for name, of, label in (("train", texts, true), ("test", held_out, own)):
        ids = [f"{name[0] if name == 'test' else 'r'}{n}" for n in range(len(of))]
        columns = {"text": of, "label": label.tolist(), "language": ["en"] * len(of), "id": ids}
        parquet.write_table(pa.table(columns), data / f"{name}.parquet")
    return run, data, {f"r{n}" for n in wrong}


def ids_of(found: LikelyErrors, split: str) -> set[str]:
    return {example.id for of, example in found.rows if of == split}


def test_training_rows_are_looked_at_by_models_that_were_not_trained_on_them(
    tmp_path: Path,
) -> None:
    run, data, wrong = a_run(tmp_path)
    found = likely_errors(run, LABELS, None, data)
    assert ids_of(found, "train") == wrong and not ids_of(found, "test")
    assert "over the 300 training and 60 test rows, each by models" in found.note
    assert "TF-IDF with logistic regression on the other 2 of 3 parts" in found.note
    assert all(example.text and "number" in example.text for _, example in found.rows)


def test_the_classes_of_prepared_data_are_found_by_their_names(tmp_path: Path) -> None:
    run, data, wrong = a_run(tmp_path)
    text = (data / MANIFEST).read_text()
    names = [{"name": name} for name in reversed(LABELS)]
    (data / MANIFEST).write_text(json.dumps({**json.loads(text), "data": {"labels": names}}))
    table = parquet.read_table(data / "train.parquet")
    turned = pa.array([1 - label for label in table["label"].to_pylist()])
    parquet.write_table(table.set_column(1, "label", turned), data / "train.parquet")
    assert ids_of(likely_errors(run, LABELS, None, data), "train") == wrong


def test_without_them_the_others_are_looked_at_alone(tmp_path: Path) -> None:
    run, data, _ = a_run(tmp_path)
    for found in (
        likely_errors(run, LABELS, None, None),
        likely_errors(run, LABELS, None, data, training_rows=False),
    ):
        assert found.note.startswith("By confident learning") and "60 test rows, each" in found.note
        assert not found.rows and "left out" not in found.note
    (data / "train.parquet").write_bytes(b"no parquet")
    found = likely_errors(run, LABELS, None, data)
    assert "60 test rows" in found.note and "training rows are left out: ConfigError" in found.note
