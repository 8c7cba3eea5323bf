"""Sweeps that are submitted in this process to an account whose jobs pretend to train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pretend import Account, Course, pretending

from lingotune.cli import launch
from lingotune.launch.render.bundle import Bundle, build_bundle
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.sweeps import controller
from lingotune.launch.sweeps.ledger import Ledger

NAMES = [f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}"]
FOUR = ["-m", "cluster=p3_16xl", "lr=1e-4,2e-4,3e-4,4e-4", "sweep.name=four", *NAMES]
SHORT = Course([0.5, 0.75], evaluation_time=0.1, starting=0.3, stopping=0.1)
LONG = replace(SHORT, hangs_after=0)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that looks several times a second."""
    monkeypatch.setattr(controller, "_SHORTEST", 0.1)
    monkeypatch.setattr(controller, "_LONGEST", 0.3)
    monkeypatch.setattr(controller, "_FIRST_REST", 0.2)


@pytest.fixture
def account(brisk: None) -> Iterator[Account]:
    """An account whose jobs end soon."""
    with pretending(lambda asked: SHORT, quotas=Quotas(2)) as found:
        yield found


@pytest.fixture
def busy(brisk: None) -> Iterator[Account]:
    """An account whose jobs do not end by themselves."""
    with pretending(lambda asked: LONG, quotas=Quotas(2)) as found:
        yield found


def submitted(runs: Path, *words: str, code: int = 0) -> None:
    """Submit a sweep in this process, FOUR if none is given."""
    given = [*(words or FOUR), "action=submit", f"runs_dir={runs}"]
    assert launch.main(given) == code


def names(account: Account) -> list[str]:
    """Names of all jobs of the account."""
    return sorted(job.name for job in account.jobs)


def stop_all(account: Account) -> None:
    """Ask all jobs that run to stop."""
    for job in account.jobs:
        if not job.over:
            account.jobs.stop(job.name)


def states(runs: Path, sweep: str = "four") -> list[str]:
    """States of a sweep's trials by its ledger."""
    with Ledger(runs / sweep) as ledger:
        return [record.state.value for record in ledger.records()]


def tags_of(job: Any) -> dict[str, str]:
    """Tags of a job that are ours."""
    return {key: value for key, value in job.tags.items() if key.startswith("lingotune:")}


def other_code() -> Bundle:
    """The code as it is after an edit."""
    return build_bundle(own_code={"lingotune/mine.py": b"x = 1"})
