"""A run on stars as an ordered scale: chosen, scored, decided and answered by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, run
from pyarrow import parquet

from lingotune.cli.main import main
from lingotune.config.console import exit_code_of
from lingotune.evaluation.classifier import trained_model
from lingotune.evaluation.evaluate import evaluate
from lingotune.evaluation.metrics import quadratic_kappa
from lingotune.launch.results.run_files import scores_in
from lingotune.runs.folder import read_history
from lingotune.serving.code_folder import write_code
from lingotune.serving.endpoint import model_fn, transform_fn

SMALL = ["data=sample_stars", "training.max_steps=6", "training.eval_strategy=steps",
         "training.eval_steps=2", "data.sample.train_rows=30", "data.sample.validation_rows=20",
         "data.sample.test_rows=20",
         "data.max_length=24", "training.precision=fp32", "baseline=none",
         "evaluation.select=mean_absolute_error", "evaluation.decide=expected"]  # fmt: skip
STARS = ["1", "2", "3", "4", "5"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    done = run(str(ROOT / "train.py"), *SMALL, cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "printed.txt").write_text(done.stdout)
    (folder,) = (path for path in (home / "runs").iterdir() if path.is_dir())
    return folder


def test_the_checkpoint_is_the_one_with_the_smallest_error(finished: Path) -> None:
    history = read_history(finished)
    errors = {e["step"]: e["eval_mean_absolute_error"] for e in history if "eval_loss" in e}
    results = json.loads((finished / "metrics.json").read_text())
    assert len(errors) == 3
    assert errors[results["training"]["best_step"]] == min(errors.values())
    assert results["training"]["selected_by_cost"] is True
    printed = (finished.parent.parent / "printed.txt").read_text()
    assert printed.count("  mean_absolute_error ") == 4 == printed.count("  quadratic_kappa ")
    assert "classes decided as those nearest to the expected value" in printed
    assert " MAE " in printed and " kappa" in printed


def test_scores_are_those_of_the_predictions(finished: Path) -> None:
    rows = parquet.read_table(finished / "predictions.parquet").to_pylist()
    of = json.loads((finished / "metrics.json").read_text())["test"]["overall"]
    for row in rows:
        expected = sum(int(one) * row[f"probability_{one}"] for one in STARS)
        assert row["expected"] == pytest.approx(expected, abs=1e-5)
        assert abs(int(row["predicted"]) - expected) <= 0.5 + 1e-5
    off = [abs(int(row["predicted"]) - int(row["label"])) for row in rows]
    assert of["mean_absolute_error"] == pytest.approx(sum(off) / len(off))

    assert of["quadratic_kappa"] == pytest.approx(float(quadratic_kappa(np.array(of["confusion"]))))
    assert of["intervals"]["quadratic_kappa"][0] <= of["quadratic_kappa"]
    decision = json.loads((finished / "model" / "decision.json").read_text())
    assert decision["decide"] == "expected" and [*decision["scale"]] == STARS
    found = scores_in(finished)
    assert not isinstance(found, str)
    assert found.on_validation().keys() >= {"mean_absolute_error", "quadratic_kappa"}


def test_the_model_is_scored_again_to_the_same(finished: Path, tmp_path: Path) -> None:
    done = evaluate(str(finished), output=str(tmp_path)).results
    trained = json.loads((finished / "metrics.json").read_text())["test"]["overall"]
    assert done.overall.quadratic_kappa == trained["quadratic_kappa"]
    assert done.overall.mean_absolute_error == trained["mean_absolute_error"]
    assert done.as_trained and done.as_trained.overall.on_scale
    likeliest = evaluate(str(finished), output=str(tmp_path), argmax=True).results
    assert likeliest.overall.on_scale == done.as_trained.overall.on_scale


def test_answers_have_the_expected_value(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def called(*typed: str) -> str:
        assert exit_code_of(lambda: main(["predict", str(finished), *typed])) == 0
        return capsys.readouterr().out

    answer = json.loads(called("Sehr gut", "--json"))
    by_hand = sum(int(one) * answer["probabilities"][one] for one in STARS)
    assert answer["expected"] == pytest.approx(by_hand)
    assert f"(expected {by_hand:.2f}  " in called("Sehr gut")
    file, out = tmp_path / "a.csv", tmp_path / "out.csv"
    file.write_text("review_body\nSehr gut\n")
    called(f"--file={file}", f"--output={out}")
    assert out.read_text().startswith("review_body,predicted,expected,probability_1,")
    folder = finished / "model"
    write_code(folder, trained_model(finished).job)
    model = model_fn(str(folder))
    served = json.loads(transform_fn(model, '"Sehr gut"', "application/json", None))
    (one,) = served["predictions"]
    assert {**one, "text": "Sehr gut"} == answer
    csv = transform_fn(model, "Sehr gut\n", "text/csv", "text/csv").splitlines()
    assert csv[0].startswith("label,expected,probability_1,")
    assert csv[1].startswith(f"{one['label']},{one['expected']},")


def test_the_report_and_the_card_show_the_scale(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "<th>kappa</th>" in page.replace(' scope="col"', "") and "quadratic weights" in page
    assert "Stars off" not in page
    card = (finished / "model" / "README.md").read_text(encoding="utf-8")
    assert "| MAE | kappa | remarks |" in card and "by mean absolute error" in card


def test_from_the_library(finished: Path) -> None:
    import lingotune as lt

    (found,) = lt.load(finished).predict(["Sehr gut"])
    points: Any = {name: float(name) for name in STARS}
    expected = sum(points[name] * share for name, share in found.probabilities.items())
    assert found.expected == pytest.approx(expected)
