"""What is offered for a damaged run folder: each command is run, or is the one that goes on."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from conftest import compose

from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.evaluation.classifier import trained_model
from lingotune.hub.publish_run import finished_run
from lingotune.report.run_page import write_run_report
from lingotune.runs.folder import read_results, resume_command
from lingotune.runs.remake import load_job_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of which little is whole: a job, twice, and a model without weights."""
    folder = tmp_path / "my runs" / "a run"
    (folder / "model").mkdir(parents=True)
    for path in (folder / "job.yaml", folder / "model" / "job.yaml"):
        path.write_bytes(dump_job(job_of(compose())))
    (folder / "model" / "config.json").write_text('{"id2label": {"0": "a", "1": "b"}}')
    (folder / "model" / "tokenizer.json").write_text("{}")
    return folder


def told(read: Callable[[], object]) -> Problem:
    with pytest.raises(ConfigError) as caught:
        read()
    (problem,) = caught.value.problems
    return problem


def paste(command: str) -> None:
    subprocess.run(["bash", "-c", command], check=True)


def test_a_damaged_job_file_comes_back_from_beside_the_model(run: Path) -> None:
    path = run / "job.yaml"
    whole = path.read_bytes()
    for damage in (
        lambda: path.write_bytes(whole + b"x: 1\n"),
        path.unlink,
        lambda: path.write_bytes(b""),
    ):
        damage()
        problem = told(lambda: write_run_report(run))
        paste(problem.fix)
        assert path.read_bytes() == whole and load_job(path)
        assert "no metrics.json" in told(lambda: write_run_report(run)).what


def test_another_file_of_the_run_is_answered_with_its_job_file(run: Path) -> None:
    (run / "metrics.json").write_text("{}")
    for name in ("metrics.json", "job.yml"):
        problem = told(partial(load_job_of, run / name))
        assert problem.fix == f"--job {shlex.quote(str(run / 'job.yaml'))}"


def test_without_any_job_file_the_command_that_was_typed_is_told(run: Path) -> None:
    (run / "model" / "job.yaml").unlink()
    (run / "job.yaml").write_text("damaged")
    (run / "command.txt").write_text("lingotune train lr=3e-5 'name=a b'\n")
    for read in (
        lambda: write_run_report(run),
        lambda: trained_model(run),
        lambda: finished_run(run),
    ):
        assert told(read).fix == "lingotune train lr=3e-5 'name=a b'"
    (run / "command.txt").write_text("lingotune train name=***\n")
    assert "***" not in told(lambda: write_run_report(run)).fix


def test_results_that_cannot_be_read_are_moved_away_and_made_again(run: Path) -> None:
    path = run / "metrics.json"
    for content in ("", '{"name": "x", "test": {"ov', "{}", "[]"):
        path.write_text(content)
        move, _, again = told(lambda: read_results(run)).fix.partition(" && ")
        assert again == resume_command(run)
        paste(move)
        assert not path.exists()
    words = shlex.split(again)
    assert words[-4:] == ["--job", f"{run}/job.yaml", "--run-dir", str(run)]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_files_of_the_model_are_made_again_by_its_run(run: Path, name: str) -> None:
    path = run / "model" / name
    path.unlink()
    assert told(lambda: trained_model(run)).fix == resume_command(run)
    if name == "config.json":
        path.write_text("{")
        assert told(lambda: trained_model(run)).fix == resume_command(run)
    (run / "metrics.json").write_text("{}")  # says that the run is finished
    for folder in (run, run / "model"):
        if folder == run or name == "tokenizer.json":
            move, _, again = told(partial(trained_model, folder)).fix.partition(" && ")
            assert shlex.split(move)[:2] == ["mv", f"{run}/metrics.json"]
            assert again == resume_command(run)


def test_what_is_no_run_is_told_where_runs_are(tmp_path: Path) -> None:
    other = tmp_path / "runs" / "other"
    other.mkdir(parents=True)
    (other / "metrics.json").write_text("{}")
    problem = told(lambda: trained_model(tmp_path / "runs" / "typo"))
    found = subprocess.run(["bash", "-c", problem.fix], capture_output=True, text=True, check=True)
    assert found.stdout == f"{other}/\n"
