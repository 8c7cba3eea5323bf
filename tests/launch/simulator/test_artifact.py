"""Checks of the scores that a rehearsed job leaves beside its model."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results import results_for

from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.launch.simulator.container import Container
from lingotune.launch.simulator.rehearsal.artifact import Predictor, check_scores
from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.runs.folder import as_metrics


@pytest.fixture
def container(tmp_path: Path) -> Container:
    container = Container(tmp_path, {}, {}, ("algo-1",), "algo-1")
    container.model.mkdir()
    predictions = Predictions(
        np.array([0, 1]), np.eye(2), np.array(["de", "en"], object), np.full(2, np.nan)
    )
    results = results_for(predictions, Classes(("bad", "good")), 0)
    (container.model / "metrics.json").write_text(as_metrics(results), encoding="utf-8")
    return container


def test_the_files_of_a_model_with_its_scores_are_listed(container: Container) -> None:
    (container.model / "config.json").touch()
    assert check_scores(container) == "2 files: config.json, metrics.json"


def predictor(container: Container, python: str) -> Predictor:
    (container.folder / "code").mkdir()
    return Predictor(Path(python), container, container.folder / "unpacked", {})


def test_a_rehearsal_that_fails_leaves_no_process_that_would_predict(container: Container) -> None:
    sleeping = container.folder / "python"
    sleeping.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeping.chmod(0o755)
    with pytest.raises(StageFailed), predictor(container, str(sleeping)) as waiting:
        raise StageFailed("the job ended with exit code 1")
    assert waiting._process.returncode == -signal.SIGKILL


def test_a_model_that_cannot_be_asked_is_told_with_the_last_lines(container: Container) -> None:
    """As here, where the job's code is not in the container."""
    with predictor(container, sys.executable) as waiting, pytest.raises(StageFailed) as failed:
        waiting.predict()
    assert failed.value.what == "the packed model cannot be loaded and asked"
    assert "job.yaml" in failed.value.log[-1]


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "not a number": (
        lambda test: test.update(loss=float("nan")),
        "metrics.json: loss is nan: not a number",
    ),
    "infinite": (
        lambda test: test["overall"].update(macro_f1=float("inf")),
        "metrics.json: macro_f1 is inf: not a number",
    ),
    "a text": (
        lambda test: test["overall"].update(accuracy="0.7"),
        "metrics.json: test.overall.accuracy is '0.7'",
    ),
    "missing": (lambda test: test.pop("loss"), "metrics.json: test.loss is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_score_that_is_no_number_fails(damage: str, container: Container) -> None:
    change, said = DAMAGES[damage]
    path = container.model / "metrics.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values["test"])
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(StageFailed) as failed:
        check_scores(container)
    assert str(failed.value) == said


def test_without_a_test_split_the_scores_of_validation_are_checked(container: Container) -> None:
    path = container.model / "metrics.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["test"] = None
    path.write_text(json.dumps(values), encoding="utf-8")
    assert check_scores(container) == "1 files: metrics.json"
    values["validation"]["loss"] = float("nan")
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(StageFailed, match="loss is nan"):
        check_scores(container)


def test_a_model_without_scores_fails(container: Container) -> None:
    (container.model / "metrics.json").unlink()
    with pytest.raises(StageFailed, match=r"ended without metrics\.json"):
        check_scores(container)
