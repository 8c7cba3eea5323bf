"""Exports to ONNX: what is asked for, what is lost, what is refused, and the same answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from served import LABELS, make_model

from lingotune.cli import export as command
from lingotune.cli.export import Settings, read_settings
from lingotune.config.problems import ConfigError
from lingotune.evaluation.classifier import Classifier, trained_model
from lingotune.evaluation.metrics import Predictions, confusion_matrix, paired_loss
from lingotune.evaluation.onnx_model import FILE, OnnxModel
from lingotune.serving.export import Change, Export, _refuse_loss, export_tables
from lingotune.serving.export_speed import Speed
from lingotune.serving.served_model import ServedModel


def test_settings_of_an_export() -> None:
    assert read_settings([]) == Settings(False, 0.005, None, ())
    typed = [
        "format=onnx",
        "quantize=int8",
        "export.max_loss=0.02",
        "output=new",
        "data.path=a.csv",
    ]
    assert read_settings(typed) == Settings(True, 0.02, Path("new"), ("data.path=a.csv",))


def test_all_that_is_wrong_with_the_settings_is_told_at_once(tmp_path: Path) -> None:
    typed = [
        "format=tf",
        "quantize=int4",
        "export.max_loss=nan",
        f"output={tmp_path}",
        "lr=1",
        "int8",
    ]
    with pytest.raises(ConfigError) as raised:
        read_settings(typed)
    assert [problem.where for problem in raised.value.problems] == typed
    fixes = [problem.fix for problem in raised.value.problems[:4]]
    assert fixes == ["format=onnx", "quantize=int8", "export.max_loss=0.005", "output=NEW"]


def predictions(true: list[int], predicted: list[int]) -> Predictions:
    rows = len(true)
    languages = np.array(["de"] * rows, object)
    return Predictions(np.array(true), np.eye(3)[predicted], languages, np.full(rows, np.nan))


def macro_f1(of: Predictions, rows: np.ndarray) -> float:
    confusion = confusion_matrix(of.true[rows], of.predicted[rows], 3)
    below = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * np.diag(confusion) / np.maximum(below, 1)))


def test_a_loss_is_paired_by_row() -> None:
    """As resampling the rows of both together would find it, up to chance."""
    drawn = np.random.default_rng(1)
    true = drawn.integers(0, 3, 400)
    first = np.where(drawn.random(400) < 0.8, true, drawn.integers(0, 3, 400))
    second = np.where(drawn.random(400) < 0.95, first, drawn.integers(0, 3, 400))
    both = [predictions(true.tolist(), one.tolist()) for one in (first, second)]
    loss, (low, high) = paired_loss(both[0], both[1], 3, resamples=2000)
    every = np.arange(400)
    assert loss == pytest.approx(macro_f1(both[0], every) - macro_f1(both[1], every))
    samples = [drawn.integers(0, 400, 400) for _ in range(2000)]
    losses = [macro_f1(both[0], rows) - macro_f1(both[1], rows) for rows in samples]
    expected = np.quantile(losses, [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.006)
    assert paired_loss(both[0], both[0], 3) == (0.0, (0.0, 0.0))


def test_an_export_that_loses_too_much_is_refused_with_what_would_take_it() -> None:
    lost = Change(900, 0.75, 0.74, 0.0104, (0.001, 0.02))
    _refuse_loss(lost, 0.0105, quantize=True)
    with pytest.raises(ConfigError) as raised:
        _refuse_loss(lost, 0.005, quantize=True)
    (problem,) = raised.value.problems
    assert "loses 0.0104 macro-F1 (0.0010 to 0.0200) on 900 test rows" in problem.what
    assert problem.fix == "no quantize=int8; or export.max_loss=0.011"
    _refuse_loss(lost, float(problem.fix.rpartition("=")[2]), quantize=True)


def test_tables_fit_a_terminal() -> None:
    change = Change(123_456, 0.75, 0.74, 0.0104, (-0.001, 0.02))
    speeds = (Speed(1, 1, 0.8181, 0.0374), Speed(32, 2, 1.5, 0.00321))
    done = Export(True, change, {"de": change}, 0.9912, 541_311_000, 136_000_000, speeds)
    lines = export_tables(done).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == [
        "all",
        "123456",
        "0.7500",
        "0.7400",
        "+0.0104",
        "(-0.0010",
        "to",
        "+0.0200)",
    ]
    assert lines[-1].split() == ["32", "2", "21", "texts/s", "9969", "texts/s", "467.3x"]


def test_a_model_in_onnx_says_what_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="onnxruntime, which is not installed here"):
        OnnxModel(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("quantize", [False, True])
def test_an_export_answers_as_the_model(
    quantize: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Alone, which is a batch without padding, and together; through the command, on rows of its own."""
    model = make_model(tmp_path / "run" / "model")
    words = ["gut", "schlecht", "good", "é a b", "x , !", "a b x"] * 10
    lines = "".join(f'"{text} {"a " * n}",{LABELS[n % 3]}\n' for n, text in enumerate(words))
    (tmp_path / "rows.csv").write_text(f"body,label\n{lines}", encoding="utf-8")
    columns = ["data.columns.text=body", "data.columns.title=null", "data.columns.label=label"]
    columns += ["data.columns.stars=null", "data.columns.language=null"]
    labels = (
        "data.labels=[{name:bad,values:[bad]},{name:fair,values:[fair]},{name:good,values:[good]}]"
    )
    typed = [f"data.path={tmp_path / 'rows.csv'}", *columns, labels]
    typed += ["export.max_loss=1", *(["quantize=int8"] if quantize else [])]
    assert command.main([str(tmp_path / "run"), *typed]) == 0
    shown = capsys.readouterr()
    assert "texts/s" in shown.out and "scoring both" in shown.err
    target = tmp_path / "run" / "exports" / ("onnx-int8" if quantize else "onnx")
    assert json.loads((target / "export.json").read_text())["overall"]["rows"] == 60
    before, after = Classifier(trained_model(model)), Classifier(trained_model(target))
    near = 0.3 if quantize else 1e-4
    for texts in (["gut"], ["x"], ["a " * 50], words[:7], ["gut", "é " * 9]):
        assert after.logits(texts) == pytest.approx(before.logits(texts), abs=near)
    assert ServedModel(trained_model(target)).answer('"gut"', None, None)
    with pytest.raises(ConfigError, match="is there already"):
        command.main([str(tmp_path / "run"), *typed])
    with pytest.raises(ConfigError, match="is an export already"):
        command.main([str(target), *typed, f"output={tmp_path / 'again'}"])
    assert not (tmp_path / "again").exists() and (target / FILE).is_file()
