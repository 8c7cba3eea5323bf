"""The proof of sweeps, in short: faults on every call, a command that is really killed, real HTTP.

What happened is told by the account's own record, not by the ledger. The whole one is a command:
python tests/driven_sweep.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
from driven_sweep import Settings, hopeless, losses, prove, states

from lingotune.launch.sweeps.trial import State

SETTINGS = Settings(jobs=24, slots=5, kills=6, longest=3.0)


@pytest.mark.slow
def test_every_job_once_within_the_slots_and_nothing_after_its_stop(tmp_path: Path) -> None:
    found = prove(SETTINGS, tmp_path)
    audit, ends = found.audit, states(tmp_path)
    assert losses(found, SETTINGS) == {"missing": 0, "too many": 0, "above the slots": 0}
    assert len(audit.started) == SETTINGS.jobs and not audit.running
    assert set(audit.twice.values()) == {2}, "those that found no machine, once more"
    assert found.kills >= SETTINGS.kills // 2 and found.failed > 0.2 * found.calls and found.s3
    assert set(ends) == {State.completed, State.pruned} and len(ends) == SETTINGS.jobs
    pruned = {number for number, end in enumerate(ends, 1) if end is State.pruned}
    assert pruned and all(map(hopeless, pruned)) and len(pruned) == len(audit.after_stop)
    assert max(audit.after_stop.values()) < 10, "they would be billed for 18 s"


@pytest.mark.slow
def test_the_naive_loop_loses_jobs_pays_twice_and_takes_too_many_slots(tmp_path: Path) -> None:
    """The harness finds what it looks for, on a slow machine too: trainings outlast several submissions,
    and an answer is lost by the way."""
    settings = Settings(jobs=60, slots=2, kills=6, longest=3.0, lasts=4.0, room=10,
                        share=0.6)  # fmt: skip
    found = prove(settings, tmp_path, naively=True)
    assert all(losses(found, settings).values()), losses(found, settings)
    assert not found.audit.after_stop
