"""Results in a run folder: written as JSON, read as dataclasses, with messages about damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results import results_for

from lingotune.config.problems import ConfigError
from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.runs.folder import (
    as_metrics,
    finished,
    folders_in,
    read_history,
    read_results,
    resume_command,
    write_metrics,
)
from lingotune.runs.results import RunProgress, RunResults

DIGEST = "1" * 64


def results() -> RunResults:
    true = np.arange(24) % 2
    shares = np.tile([0.75, 0.25], (24, 1))
    codes = np.array(["de", "en"] * 12, object)
    predictions = Predictions(true, shares, codes, true + 1.0)
    return results_for(predictions, Classes(("bad", "good"), (1.0, 2.0)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that has come to its end."""
    folders = folders_in(tmp_path)
    folders.model.mkdir()
    write_metrics(results(), folders)
    return tmp_path


def test_what_is_written_is_read_back(run: Path) -> None:
    text = (run / "metrics.json").read_text(encoding="utf-8")
    assert read_results(run) == finished(folders_in(run), DIGEST) == results()
    assert text == (run / "model/metrics.json").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2) + "\n" == as_metrics(read_results(run))
    assert list(json.loads(text)) == [
        "name", "job_sha256", "labels", "base_model", "data", "resumed_from_step", "training",
        "validation", "test", "measured", "environment", "seconds",
    ]  # fmt: skip
    assert list(json.loads(text)["test"]) == ["loss", "overall", "languages", "worst_language"]
    assert read_results(run).test.overall.macro_f1 == pytest.approx(1 / 3)


def test_older_versions_wrote_less(run: Path) -> None:
    path = run / "metrics.json"
    values = json.loads(path.read_text())
    for inner, keys in {
        "": ("base_model", "resumed_from_step", "environment"),
        "data": ("test_sha256",),
        "training": ("seconds",),
        "measured": ("machine", "trained_parameters", "tokens_square", "tokens_per_second",
                     "padded_tokens_per_second", "utilisation", "phases"),
    }.items():  # fmt: skip
        for key in keys:
            del (values[inner] if inner else values)[key]
    path.write_text(json.dumps(values))
    found = read_results(run)
    assert found.environment is None and found.measured.phases == {}


def test_no_results_and_those_of_another_job(run: Path) -> None:
    assert finished(folders_in(run), "2" * 64) is None
    (run / "metrics.json").write_text("{")
    assert finished(folders_in(run), DIGEST) is None
    with pytest.raises(ConfigError, match="cannot be read"):
        read_results(run)
    (run / "metrics.json").unlink()
    assert finished(folders_in(run), DIGEST) is None
    with pytest.raises(ConfigError, match="has not come to its end") as caught:
        read_results(run)
    assert caught.value.problems[0].fix == resume_command(run)


def test_a_model_that_was_published_while_it_trained_is_no_finished_run(run: Path) -> None:
    whole = results()
    progress = RunProgress(
        name=whole.name, job_sha256=whole.job_sha256, labels=whole.labels, data=whole.data,
        step=4, total_steps=12, validation={"loss": 1.0},
    )  # fmt: skip
    (run / "metrics.json").write_text(as_metrics(progress))
    assert finished(folders_in(run), DIGEST) is None


def test_damage_is_told_with_its_place(run: Path) -> None:
    path = run / "metrics.json"
    values = json.loads(path.read_text())
    values["test"]["overall"]["macro_f1"] = "good"
    path.write_text(json.dumps(values))
    for read in (lambda: read_results(run), lambda: finished(folders_in(run), DIGEST)):
        with pytest.raises(ConfigError) as caught:
            read()
        (problem,) = caught.value.problems
        assert problem.where == str(path) and "test.overall.macro_f1 is 'good'" in problem.what
        assert resume_command(run) in problem.fix


values_of_json = st.none() | st.booleans() | st.integers() | st.text() | st.just([]) | st.just({})


@given(data=st.data(), value=values_of_json)
def test_any_hand_edit_is_read_or_told(data: st.DataObject, value: Any, run: Path) -> None:
    values = json.loads(as_metrics(results()))
    inner = values
    while True:
        key = data.draw(st.sampled_from(sorted(inner)))
        if not isinstance(inner[key], dict) or not inner[key] or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = value
    (run / "metrics.json").write_text(json.dumps(values))
    try:
        read_results(run)
    except ConfigError as error:
        assert str(run / "metrics.json") in str(error)


def test_a_damaged_history_is_no_history(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(
        '{"step": 1, "loss": 2, "note": "x"}\n[]\n{"loss": 1}\n'
    )
    assert read_history(tmp_path) == [{"step": 1, "loss": 2}]
    (tmp_path / "history.jsonl").write_text("{")
    assert read_history(tmp_path) == []
