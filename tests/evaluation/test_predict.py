"""What texts are given to a model: files are read as those of its training were."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from served import make_model

from lingotune.cli import predict as command
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.evaluation import classifier as loading
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


def test_a_cpu_takes_the_tokens_that_its_caches_hold_and_what_is_typed_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trained_model(make_model(tmp_path / "model"))
    widest: dict[int | None, int] = {}
    monkeypatch.setattr(loading.os, "cpu_count", lambda: 4)
    compute = loading.TorchModel.__call__
    shapes: list[tuple[int, int]] = []

    def listening(self: Any, inputs: Any) -> Any:
        shapes.append(inputs["input_ids"].shape)
        return compute(self, inputs)

    monkeypatch.setattr(loading.TorchModel, "__call__", listening)
    for batch in (None, 1):
        shapes.clear()
        classifier = Classifier(trained, batch)
        classifier.logits(["gut " * 5] * 400)
        widest[batch] = max(rows * width for rows, width in shapes)
    assert 1000 < widest[None] <= 1024 and widest[1] <= classifier.max_length


def test_bf16_computes_as_training_in_bf16_does_and_is_refused_where_it_would_be_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trained_model(make_model(tmp_path / "model"))
    texts = ["gut", "schlecht " * 9, "la la"]
    exact, autocast = Classifier(trained), Classifier(trained)
    module = autocast.model.module  # type: ignore[union-attr]
    monkeypatch.setattr(module, "forward", torch.autocast("cpu", torch.bfloat16)(module.forward))
    expected = autocast.logits(texts)
    monkeypatch.setattr(loading, "cpu_has_bf16", lambda: True)
    found = Classifier(trained, bf16=True).logits(texts)
    assert found.tolist() == expected.tolist() != exact.logits(texts).tolist()
    monkeypatch.setattr(loading, "cpu_has_bf16", lambda: False)
    with pytest.raises(ConfigError, match="does not compute in bf16"):
        Classifier(trained, bf16=True)


def test_the_command_computes_in_bf16_if_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, output = str(make_model(tmp_path / "model")), str(tmp_path / "out.jsonl")
    monkeypatch.setattr(loading, "cpu_has_bf16", lambda: False)
    for more in ([], ["--output", output]):
        with pytest.raises(ConfigError, match="does not compute in bf16"):
            command.main([run, "gut", "--bf16", *more])
    monkeypatch.setattr(loading, "cpu_has_bf16", lambda: True)
    assert command.main([run, "gut", "--bf16", "--output", output]) == 0
    assert command.main([run, "gut", "--bf16", "--json"]) == 0
    told = capsys.readouterr()
    assert '"probabilities"' in told.out and Path(output).is_file() and "bf16" not in told.err


def test_it_is_told_that_a_file_would_be_quicker_in_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = str(make_model(tmp_path / "model")), tmp_path / "texts.txt"
    file.write_text("gut\n")
    for has, more in ((True, []), (True, ["--bf16"]), (False, [])):
        monkeypatch.setattr(loading, "cpu_has_bf16", partial(bool, has))
        assert command.main([run, "--file", str(file), *more]) == 0
        assert ("--bf16 is quicker" in capsys.readouterr().err) is (has and not more)


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
