"""What texts are given to a model: files are read as those of its training were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from served import make_model

from lingotune.config.jobfile import job_of
from lingotune.evaluation import predict
from lingotune.evaluation.classifier import Classifier, Trained, trained_model
from lingotune.evaluation.predict import in_files, read_rows
from lingotune.launch.compose.compose import compose_all
from lingotune.preflight import check_secrets


def rows(file: Path, *typed: str) -> tuple[list[tuple[Any, str]], list[str]]:
    """Records and texts of a file for a model whose data had these settings, and what is told of it."""
    command = ["data=files", "data.path=a.csv", "data.columns.text=text", *typed]
    (one,) = compose_all(command, ROOT / "conf", check_secrets, multirun=False)
    trained = Trained(Path("run"), ("neg", "pos"), job_of(one.config))
    told: list[str] = []
    return list(read_rows(in_files(str(file), trained, told.append), trained, None)), told


def test_a_file_is_read_with_the_formats_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_bytes("text;more, still\nгруша;1\n".encode("koi8_r"))
    found, told = rows(file, "data.separator=semicolon", "data.encoding=koi8_r")
    assert found == [({"text": "груша", "more, still": "1"}, "груша")] and told == []
    file.write_text('text\n"open\nnext\n')
    assert [text for _, text in rows(file, "data.quoting=none")[0]] == ['"open', "next"]


@pytest.mark.parametrize("name", ["t.txt", "t.csv"])
def test_an_encoding_that_does_not_fit_is_told(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("text\nschön und übel\n", encoding="utf-8")
    _, told = rows(file, "data.encoding=cp1252")
    assert len(told) == 1 and "are UTF-8, which data.encoding=cp1252 reads as" in told[0]


def test_a_sheet_that_was_named_is_one_of_another_file(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text\na\n")
    assert [text for _, text in rows(file, "data.sheet=train")[0]] == ["a"]


def test_batches_hold_so_many_tokens_and_answers_keep_their_order(tmp_path: Path) -> None:
    classifier = Classifier(trained_model(make_model(tmp_path / "model")), batch=2)
    texts = ["gut " * n for n in (1, 14, 3, 2, 9, 30, 1, 5)]
    alone = np.concatenate([classifier.logits([text]) for text in texts])
    shapes, model, done = [], classifier.model, []

    def listening(inputs: Any) -> Any:
        shapes.append(inputs["input_ids"].shape)
        return model(inputs)

    classifier.model = listening  # type: ignore[assignment]
    found = classifier.logits(texts, done.append)
    np.testing.assert_allclose(found, alone, atol=1e-5)
    most = 2 * classifier.max_length
    assert all(rows * width <= most for rows, width in shapes) and len(shapes) == 3
    assert done == [rows for rows, _ in shapes] and sum(done) == len(texts)


def test_blocks_grow_and_keep_the_order_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "_FIRST", 2)
    monkeypatch.setattr(predict, "_LARGEST", 4)
    trained, sizes = trained_model(make_model(tmp_path / "model")), []
    classify = Classifier.classify

    def listening(self: Classifier, texts: Any, *more: Any) -> Any:
        sizes.append(len(texts))
        return classify(self, texts, *more)

    monkeypatch.setattr(Classifier, "classify", listening)
    given = [({"n": n}, f"gut {'a ' * n}") for n in range(11)]
    rows = list(predict.predict_rows(trained, given))
    assert [row["n"] for row in rows] == list(range(11)) and sizes == [2, 4, 4, 1]
