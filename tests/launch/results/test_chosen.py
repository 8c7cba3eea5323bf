"""SWEEP:best, or a job's name, in place of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweep_folders import make_run, make_sweep

from lingotune.cli import evaluate, predict, publish, report
from lingotune.config.problems import ConfigError
from lingotune.launch.results.chosen import run_named
from lingotune.launch.results.collect import leaderboard
from lingotune.launch.sweeps.trial import State

TRIALS = [
    ({"lr": "1e-05"}, State.completed, 0.7),
    ({"lr": "3e-05"}, State.completed, 0.9),
    ({"lr": "5e-05"}, State.waiting, None),
]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "job-2", "lr=3e-05", validation=0.9)
    return make_sweep(tmp_path / "runs" / "lrs", TRIALS)


def test_a_run_is_itself(sweep: Path) -> None:
    for typed in ("runs/job-2", "no/such/run", "no:best", "runs"):
        if typed != "no:best":
            assert run_named(typed) == typed
    with pytest.raises(ConfigError, match="no: is no sweep in runs"):
        run_named("no:best")


@pytest.mark.parametrize("typed", ["lrs:best", "runs/lrs:best", "runs:best"])
def test_the_best_of_a_sweep(sweep: Path, typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_named(typed) == "runs/job-2"
    told = capsys.readouterr().err
    assert told.startswith(f"{typed}: runs/job-2 (")


def test_sweeps_elsewhere(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert run_named(f"{sweep}:best") == str(tmp_path / "runs" / "job-2")
    assert run_named("lrs:best", str(sweep.parent)) == str(tmp_path / "runs" / "job-2")


@pytest.mark.parametrize("typed", ["lrs", "runs/lrs", "lrs:bset"])
def test_a_sweep_alone_is_answered_with_its_best(sweep: Path, typed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run_named(typed)
    (problem,) = caught.value.problems
    assert problem.fix == f"{typed.partition(':')[0]}:best"


def test_a_winner_that_is_not_here_is_fetched_first(sweep: Path) -> None:
    (sweep.parent / "job-2" / "job.yaml").unlink()
    with pytest.raises(ConfigError) as caught:
        run_named("lrs:best")
    (problem,) = caught.value.problems
    assert problem.what == "its best run, job-2 (lr=3e-05), is not on this machine"
    assert problem.fix.endswith(" fetch lrs")


@pytest.mark.parametrize("command", [evaluate, predict, publish])
def test_every_command_that_takes_a_run_takes_it(
    sweep: Path, command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run of this test has no model: what is missing is that of the winner."""
    with pytest.raises(ConfigError) as caught:
        command.main(["lrs:best"])  # type: ignore[attr-defined]
    assert "runs/job-2" in caught.value.problems[0].where
    assert "lrs:best: runs/job-2" in capsys.readouterr().err


def test_the_page_of_the_best(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["lrs:best"]) == 0
    assert capsys.readouterr().out == "runs/job-2/report.html\n"


def test_a_job_by_its_name_or_a_beginning(sweep: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "tiny-0123456789", "lr=1e-05", validation=0.9)
    assert run_named("tiny") == "runs/tiny-0123456789" == run_named("tiny-0123456789")
    make_run(tmp_path / "runs" / "tiny-0123456789-2", "lr=1e-05", validation=0.9)
    assert run_named("tiny") == "runs/tiny-0123456789-2", "the last attempt of one job"
    assert leaderboard(["tiny-0123456789-2"]).ranked[0].entries[0].folder == Path(
        "runs/tiny-0123456789-2"
    )
    make_run(tmp_path / "runs" / "tiny-abcdefabcd", "lr=1e-05", validation=0.9)
    with pytest.raises(ConfigError, match="fits 3 names; one is needed"):
        run_named("tiny")


def test_a_job_that_is_not_here_is_answered_with_its_fetch(sweep: Path) -> None:
    (sweep.parent / "job-2" / "job.yaml").unlink()
    for typed, job in (("job-2", "job-2"), ("unheard-of", "unheard-of")):
        with pytest.raises(ConfigError) as caught:
            run_named(typed)
        (problem,) = caught.value.problems
        assert problem.fix.endswith(f"fetch {job}") and problem.check == "not-fetched"
