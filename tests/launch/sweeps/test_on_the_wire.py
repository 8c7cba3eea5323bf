"""A sweep against an account on the wire: faults on every call, controllers that are really killed.

What happened is told by the account's own record, not by the ledger.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import ROOT
from driven_sweep import HOPELESS, trials
from faults import Faults, Rates
from pretend import MINUTE, Asked, Course, pretending

from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import State

STOPPING = 2 * MINUTE


def course(asked: Asked) -> Course:
    """Each third trial is hopeless from the beginning, each tenth finds no machine at first."""
    number = int(asked.name.split("-")[1], 16)
    scores = [HOPELESS / 2] * 6 if number % 3 == 0 else [0.5 + number / 1000] * 2
    first = asked.name.count("-") == 1
    return Course(
        scores,
        evaluation_time=10 * MINUTE,
        stopping=STOPPING,
        no_machine=number % 10 == 0 and first,
        reason="CapacityError: Unable to provision requested ML compute capacity.",
    )


@pytest.mark.slow
@pytest.mark.parametrize(("count", "slots", "kills"), [(60, 5, 20)])
def test_every_job_once_within_the_slots_and_nothing_after_its_stop(
    count: int, slots: int, kills: int, tmp_path: Path
) -> None:
    faults = Faults(seed=7, usual=Rates.of(0.3), delay=0.02)
    with pretending(course, quotas=Quotas(slots + 1), speed=600.0, faults=faults) as account:
        settings = {
            "folder": str(tmp_path), "count": count, "slots": slots, "kills": kills, "seed": 7,
            "clock": asdict(account.clock),
        }  # fmt: skip
        command = [sys.executable, str(ROOT / "tests" / "driven_sweep.py"), json.dumps(settings)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        found = account.audit()
    print(done.stderr)
    assert told["kills"] > kills / 2 and set(told["codes"]) <= {0, -9}, told
    retried = {trial.key for trial in trials(count) if trial.number % 10 == 0}
    assert found.started.keys() == {trial.key for trial in trials(count)}
    assert found.twice == dict.fromkeys(retried, 2), (
        "each once, and once more for want of a machine"
    )
    assert max(found.peak.values()) <= slots and not found.running
    pruned = {trial.name for trial in trials(count) if trial.number % 3 == 0}
    assert {name[:16] for name in found.after_stop} <= pruned and len(found.after_stop) > 5
    assert max(found.after_stop.values()) < STOPPING + 20 * MINUTE
    assert sum(faults.failed.values()) > 0.25 * sum(faults.calls.values())
    with Ledger(tmp_path) as ledger:
        ends = [record.state for record in ledger.records()]
    assert set(ends) == {State.completed, State.pruned} and len(ends) == count
