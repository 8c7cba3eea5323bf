"""The decision of a run: fitted on validation, applied to test, and blind to its labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import compose
from pyarrow import parquet

from lingotune.config.jobfile import job_of
from lingotune.plugins.loading import NO_CODE
from lingotune.runs.decision import AS_TRAINED
from lingotune.runs.folder import folders_in
from lingotune.training.distributed import Rank
from lingotune.training.scoring import Scored, differing, score_splits

ROWS = {"validation": 600, "test": 300}


class _Batches:
    """Rows of a split in an order of its own, as the longest-first batches have it."""

    def __init__(self, name: str, label: Any, seed: int, languages: Sequence[str]) -> None:
        order = np.random.default_rng(seed).permutation(len(label))
        true = label[order]
        codes = [languages[place % len(languages)] for place in order.tolist()]
        self.split = SimpleNamespace(
            true=true, taught=true, several=False, codes_array=np.array(codes, object), place=order
        )
        self.name, self.order = name, order

    def __len__(self) -> int:
        return len(self.order)


def scored(
    folder: Path,
    test_labels: Any = None,
    *overrides: str,
    languages: Sequence[str] = ("de",),
    mixed_up: str = "",
) -> Scored:
    """Score a model, trained on German, whose likeliest class is hardly ever the middle one.

    languages: of the rows, in turn. mixed_up: one whose labels on validation are drawn at random.
    """
    folder.mkdir(exist_ok=True)
    logits, batches = {}, {}
    for seed, (name, rows) in enumerate(ROWS.items()):
        draw = np.random.default_rng(seed)
        label = draw.choice(3, size=rows, p=[0.4, 0.2, 0.4])
        seen = np.array([-1.0, 0.0, 1.0])[label] + draw.normal(size=rows)
        logits[name] = 2 * (
            -((seen[:, None] - np.array([-1.0, 0.0, 1.0])) ** 2) / 2 + np.log([0.4, 0.2, 0.4])
        )
        if name == "test" and test_labels is not None:
            label = test_labels
        codes = np.resize(np.array(languages, object), rows)
        if name == "validation" and mixed_up:
            label = np.where(codes == mixed_up, draw.integers(0, 3, rows), label)
        batches[name] = _Batches(name, label, seed, languages)

    def predict(of: _Batches) -> Any:
        found = logits[of.name][of.order]
        return SimpleNamespace(
            label_ids=of.split.taught, predictions=found, metrics={"test_loss": 0.5}
        )

    store = SimpleNamespace(
        ids_and_stars=lambda name, split: (
            [f"{name}-{n}" for n in split.place.tolist()],
            np.full(len(split.place), np.nan),
        ),
        sources=lambda name, split: None,
    )
    job = job_of(compose("evaluation.resamples=20", *overrides))
    context: Any = SimpleNamespace(
        job=job,
        label_names=tuple(label.name for label in job.data.labels),
        rank=Rank(0, 0, 1),
        own=NO_CODE,
        store=store,
        folders=folders_in(folder),
        trained_languages=frozenset({"de"}),
    )
    trainer: Any = SimpleNamespace(predict=predict, compute_metrics=None)
    watch: Any = SimpleNamespace(evaluating=lambda rows: nullcontext())
    return score_splits(context, trainer, batches, watch)  # type: ignore[arg-type]


def test_both_scores_are_told_and_the_files_are_of_what_they_say(tmp_path: Path) -> None:
    found = scored(tmp_path)
    decided, before = found.decided["test"].overall, found.as_trained["test"].overall
    assert before.classes["neutral"].recall < 0.1 < 0.3 < decided.classes["neutral"].recall
    assert decided.macro_f1 > before.macro_f1 and decided.rows == before.rows == 300
    assert decided.calibration_error < before.calibration_error
    assert found.decision.temperature == pytest.approx(2, rel=0.2)
    test = parquet.read_table(tmp_path / "predictions.parquet").to_pylist()
    right = [row["predicted"] == row["label"] for row in test]
    assert np.mean(right) == pytest.approx(decided.accuracy)
    assert [row["id"] for row in test] == [f"test-{n}" for n in range(300)]
    kept = parquet.read_table(tmp_path / "validation_predictions.parquet").to_pylist()
    likeliest = [row["predicted"] == row["label"] for row in kept]
    assert np.mean(likeliest) == pytest.approx(found.as_trained["validation"].overall.accuracy)


def test_the_labels_of_the_test_split_change_no_decision(tmp_path: Path) -> None:
    first = scored(tmp_path / "first")
    labels = np.random.default_rng(9).integers(0, 3, ROWS["test"])
    other = scored(tmp_path / "other", labels)
    assert first.decision == other.decision != AS_TRAINED
    assert first.decided["validation"] == other.decided["validation"]
    rows = [
        parquet.read_table(tmp_path / name / "predictions.parquet").drop_columns("label")
        for name in ("first", "other")
    ]
    assert rows[0] == rows[1] and first.decided["test"] != other.decided["test"]


def test_languages_that_were_not_trained_on_are_scored_and_never_fitted_on(tmp_path: Path) -> None:
    codes = ("de", "sw", "de", "yo")
    first = scored(tmp_path / "first", languages=codes)
    other = scored(tmp_path / "other", languages=codes, mixed_up="sw")
    assert first.decision == other.decision != AS_TRAINED and first.decision.rows == 300
    assert first.decided["test"] == other.decided["test"]
    for split, found in first.decided.items():
        zero_shot = found.zero_shot
        assert zero_shot and zero_shot.seen and zero_shot.languages == ("sw", "yo")
        assert zero_shot.seen.rows == zero_shot.unseen.rows == ROWS[split] / 2
        assert zero_shot.seen == found.languages["de"]
        rows = [found.languages[code].rows for code in zero_shot.languages]
        assert sum(rows) == zero_shot.unseen.rows
        assert found.headline()["unseen_macro_f1"] == zero_shot.unseen.macro_f1
    before, after = (of.decided["validation"].zero_shot for of in (first, other))
    assert before and after and before.seen == after.seen and before.unseen != after.unseen


def test_a_language_alone_that_was_not_trained_on_is_scored_as_trained(tmp_path: Path) -> None:
    found = scored(tmp_path, languages=("sw",))
    assert found.decision == AS_TRAINED
    zero_shot = found.decided["test"].zero_shot
    assert zero_shot and zero_shot.seen is None and zero_shot.unseen.rows == ROWS["test"]


def test_argmax_is_there_to_the_digit(tmp_path: Path) -> None:
    usual = scored(tmp_path / "usual")
    raw = scored(tmp_path / "raw", None, "evaluation.decide=argmax", "evaluation.calibrate=false")
    assert raw.decision == AS_TRAINED and differing(raw) is None
    assert raw.decided == raw.as_trained == usual.as_trained
