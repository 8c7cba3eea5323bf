"""Sweeps of `cluster.backend=loopback`, in an account whose jobs only pretend to train."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from pretend import Account, Course, pretending

from lingotune.cli import launch
from lingotune.config.problems import ConfigError
from lingotune.launch import loopback_sweep
from lingotune.launch.simulator.loopback.fake_account import furnish
from lingotune.launch.simulator.loopback.standing import Settings
from lingotune.launch.sweeps import controller
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.running import Wish
from lingotune.launch.sweeps.trial import JobState, State, Trial

FOUR = ["-m", "cluster=p3_2xl", "lr=1e-4,2e-4,3e-4,4e-4", "cluster.backend=loopback"]
SHORT = Course([0.5, 0.75], evaluation_time=0.1, starting=0.3, stopping=0.1)


class Stage:
    """Accounts that were made, with their settings."""

    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self.settings: list[Settings] = []
        self.course = SHORT

    @contextmanager
    def account(self, settings: Settings, tell: Callable[[str], None]) -> Iterator[Any]:
        """Stand in for a standing account: nothing of the one before is kept."""
        self.settings.append(settings)
        with pretending(lambda asked: self.course) as made:
            furnish(boto3.Session(region_name=settings.region), settings.buckets)
            self.accounts.append(made)
            yield made.address, made.jobs


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(controller, "_SHORTEST", 0.1)
    monkeypatch.setattr(controller, "_LONGEST", 0.3)
    made = Stage()
    monkeypatch.setattr(loopback_sweep, "account", made.account)
    monkeypatch.setattr(loopback_sweep, "_fetch", lambda *_: [])  # they leave no results
    return made


def submitted(*typed: str) -> int:
    return launch.main([*FOUR, "sweep.name=four", "action=submit", *typed])


def states(sweep: str = "four") -> list[str]:
    with Ledger(Path("runs", "loopback", sweep)) as ledger:
        return [record.state.value for record in ledger.records()]


def test_all_run_one_at_a_time_and_cost_nothing(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submitted() == 0
    told = capsys.readouterr().out
    assert states() == ["completed"] * 4 and stage.accounts[0].audit().peak == {"ml.p3.2xlarge": 1}
    assert "one at a time (sweep.max_parallel)" in told
    said = told[told.index("nothing is billed") :]
    assert "USD" not in said and "at AWS" not in said, "a price is that of the plan alone"
    assert "2-4 for a slot" in said and "the same command goes on" in said
    assert "best: lr=0.0001" in said
    assert stage.settings[0].folder == Path("runs/loopback/four/account")
    assert stage.settings[0].goes_on and not Path("runs/four").exists()


def test_slots_searches_and_early_ends_work(stage: Stage) -> None:
    typed = ["sweep.search=tpe", "sweep.trials=3", "sweep.prune=asha", "sweep.max_parallel=2"]
    assert submitted(*typed) == 0
    assert len(states()) == 3 and set(states()) <= {"completed", "pruned"}
    assert stage.accounts[0].audit().peak["ml.p3.2xlarge"] <= 2


def test_ctrl_c_ends_the_jobs_and_the_same_command_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loopback_sweep, "Wish", partial(Wish, sleep=pressed))
    stage.course = replace(SHORT, hangs_after=0)  # none ends before
    assert submitted("sweep.max_parallel=2") == 130
    told = capsys.readouterr().out
    assert "leaving; interrupted: 1-2\nnot started: 3-4\ngo on: the same command again" in told
    assert re.search(r"\n1-4 +waiting", told), told
    assert states() == ["waiting"] * 4
    monkeypatch.setattr(loopback_sweep, "Wish", Wish)
    stage.course = SHORT
    assert submitted() == 0
    assert states() == ["completed"] * 4
    names = [sorted(job.name for job in one.jobs) for one in stage.accounts]
    assert set(names[0]) < set(names[1]), "their names are free again"


def test_of_what_ended_with_the_account_hopeless_jobs_are_not_taken_up(tmp_path: Path) -> None:
    """One ran, one was being stopped for its scores, one had ended."""
    trials = [Trial(n, {"lr": f"{n}"}, (), f"{n:064}", f"four-{n}") for n in (1, 2, 3)]
    with Ledger(tmp_path) as ledger:
        ledger.add_trials(trials)
        for one in trials:
            ledger.intend_start(one, 1, one.name, 0.0)
        ledger.saw([JobState("four-1", State.running), JobState("four-3", State.completed)], 1.0)
        ledger.intend_stop("four-2", 2.0, State.pruned.value)
        loopback_sweep._forget_running(tmp_path)
        ends = [record.state for record in ledger.records()]
    assert ends == [State.waiting, State.pruned, State.completed]


@pytest.mark.parametrize("option", ["--follow", "--detach"])
def test_it_is_neither_left_nor_followed(option: str, stage: Stage) -> None:
    with pytest.raises(ConfigError, match="here nothing is stayed with or left"):
        submitted(option)
    assert not stage.accounts
