"""The ledger of a sweep."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lingotune.config.problems import ConfigError
from lingotune.launch.sweeps.ledger import LEDGER, Ledger, is_sweep
from lingotune.launch.sweeps.trial import Evaluation, JobState, State, Trial

FIRST = Trial(1, {"lr": "1e-05", "seed": "1"}, ("lr=1e-05", "seed=1"), "a" * 64, "job-a", 1.5, 9)
SECOND = Trial(2, {"lr": "3e-05", "seed": "1"}, ("lr=3e-05", "seed=1"), "b" * 64, "job-b")


def test_a_ledger_gives_back_what_was_written(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.write_about(name="lr", words=["-m", "lr=1e-05,3e-05"])
        ledger.add_trials([FIRST, SECOND])
        ledger.intend_start(FIRST, 1, "job-a", 10.0)
        ledger.saw([JobState("job-a", State.running, "Training", created=11.0)], 12.0)
        scores = [Evaluation(5, 20, {"macro_f1": 0.5}), Evaluation(10, 20, {"macro_f1": 0.6})]
        ledger.add_evaluations("job-a", scores[:1])
        ledger.add_evaluations("job-a", scores)
    assert is_sweep(tmp_path)
    with Ledger(tmp_path) as ledger:
        assert ledger.about() == {"name": "lr", "words": ["-m", "lr=1e-05,3e-05"]}
        first, second = ledger.records()
        assert (first.trial, second.trial) == (FIRST, SECOND)
        assert first.state is State.running and second.state is State.waiting
        assert first.last is not None and first.last.job.created == 11.0
        assert list(first.last.evaluations) == scores
        assert second.last is None


def test_a_trial_is_added_once(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add_trials([FIRST])
        ledger.add_trials([FIRST, SECOND])
        assert [record.trial for record in ledger.records()] == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("second", "steps"),
    [([], [5, 10]), ([15, 20], [5, 10, 15, 20]), ([10, 15], [5, 10, 15]), ([5], [5])],
    ids=["not yet", "went on", "from an older checkpoint", "began anew"],
)
def test_an_attempt_that_goes_on_has_the_scores_of_the_one_before(
    tmp_path: Path, second: list[int], steps: list[int]
) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add_trials([FIRST])
        for number, found in enumerate([[5, 10], second], 1):
            name = FIRST.job_name(number)
            ledger.intend_start(FIRST, number, name, 1.0)
            ledger.add_evaluations(name, [Evaluation(s, 20, {"attempt": number}) for s in found])
        (record,) = ledger.records()
    assert [one.step for one in record.evaluations] == steps
    later = [one.step for one in record.evaluations if one.values["attempt"] == 2]
    assert later == second


@pytest.mark.parametrize(("reason", "state"), [("pruned", State.pruned), ("asked", State.stopped)])
def test_a_stopped_job_ends_for_its_reason(tmp_path: Path, reason: str, state: State) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add_trials([FIRST])
        ledger.intend_start(FIRST, 1, "job-a", 1.0)
        ledger.intend_stop("job-a", 2.0, reason)
        ledger.saw([JobState("job-a", State.running)], 3.0)
        assert ledger.records()[0].state is State.stopping
        ledger.saw([JobState("job-a", State.stopped)], 4.0)
        assert ledger.records()[0].state is state


def test_a_start_that_was_refused_is_forgotten(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.add_trials([FIRST])
        ledger.intend_start(FIRST, 1, "job-a", 1.0)
        assert ledger.records()[0].state is State.starting
        ledger.not_started("job-a", 2.0, "quota")
        assert ledger.records()[0].attempts == ()
        assert [what for _, _, what in ledger.events()] == ["start asked", "not started: quota"]


def test_the_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    db = sqlite3.connect(tmp_path / LEDGER)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="version 99"):
        Ledger(tmp_path)


def test_a_file_that_is_no_ledger_is_told(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError, match="file is not a database"):
        Ledger(tmp_path)


def test_what_another_process_writes_is_read(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ours, Ledger(tmp_path) as theirs:
        ours.add_trials([FIRST])
        assert [r.state for r in ours.records()] == [r.state for r in theirs.records()]
        theirs.intend_start(FIRST, 1, "job-a", 1.0)
        assert [r.state for r in ours.records()] == [State.starting]
        ours.saw([JobState("job-a", State.running)], 2.0)
        assert [r.state for r in theirs.records()] == [State.running]
        assert [r.state for r in ours.records()] == [State.running]
