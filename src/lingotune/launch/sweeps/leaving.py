"""What is told when the controller of a sweep leaves it: what still bills, what waits, and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lingotune.config.problems import CLOUD_FAILED, Problem
from lingotune.launch.cost.prices import usd_text
from lingotune.launch.sweeps.controller import Outcome
from lingotune.launch.sweeps.ledger import TrialRecord
from lingotune.launch.sweeps.trial import State, ranges
from lingotune.launch.sweeps.view import Rates, rate_of, spent

Tell = Callable[[str], None]
"""Takes a line of text."""


@dataclass(frozen=True)
class Ways:
    """Commands for a sweep: go on with it, look on while its jobs run, stop them.

    once_more: starts the stopped ones again. fetch: brings the completed ones; '' = that is done already.
    """

    go_on: str
    look_on: str
    stop: str
    once_more: str
    fetch: str = ""


def tell_rest(
    records: Sequence[TrialRecord], rates: Rates, now: float, ways: Ways, left: str, say: Tell
) -> None:
    """Say what still bills, what waits, how to go on and how to stop.

    rates, now: as of `spent`. left: beginning of the line about jobs that go on, after which they are
    named; '' if nobody has left them.
    """
    held = [a.name for r in records for a in r.attempts if a.job.state.holds_slot]
    waiting = [r.trial.number for r in records if r.state is State.waiting]
    usd = spent(records, rates, now)
    money = f"; {usd_text(usd)} so far" if usd else ""
    if held:
        per_hour = [
            rate_of(rates, r.trial.number, a.job) for r in records for a in r.attempts
            if a.job.state.holds_slot
        ]  # fmt: skip
        rate = "" if None in per_hour else f" at {usd_text(sum(filter(None, per_hour)))}/h"
        say(f"{left}{_jobs(len(held))} on at AWS and bill{'s' * (len(held) == 1)}{rate}{money}")
        if left:
            say("\n".join(f"  {name}" for name in held))
    if waiting:
        say(f"{len(waiting)} wait ({ranges(waiting)}) and are not started without you")
        say(f"go on: {ways.go_on}")
    elif held:
        say(f"look on: {ways.look_on}")
    if held:
        say(f"stop:  {ways.stop}")
    stopped = [r.trial.number for r in records if r.state is State.stopped]
    if stopped:
        say(f"stopped: {ranges(stopped)}; once more: {ways.once_more}")
    if ways.fetch and not (held or waiting or left) and _has_completed(records):
        say(f"next: {ways.fetch}")


def _has_completed(records: Sequence[TrialRecord]) -> bool:
    return any(record.state is State.completed for record in records)


def tell_interrupted(records: Sequence[TrialRecord], say: Tell, left: str) -> None:
    """Say what ends with an account of this machine, and what has not been started."""
    held = [r.trial.number for r in records if r.state.holds_slot]
    waiting = [r.trial.number for r in records if r.state is State.waiting]
    if held:
        say(f"{left}interrupted: {ranges(held)}")
    if waiting:
        say(f"not started: {ranges(waiting)}")
    if held or waiting:
        say("go on: the same command again")


def _jobs(count: int) -> str:
    return "1 job goes" if count == 1 else f"{count} jobs go"


def ended_badly(outcome: Outcome, sweep: str) -> list[Problem]:
    """List failed jobs, and why no further ones are started. sweep: its name."""
    failed = [
        Problem(
            record.last.name,
            f"failed: {record.last.job.reason or record.last.job.secondary}",
            "mend it, then the same command with retry=failed, and code=new if code was mended",
            check="job-not-completed",
            code=CLOUD_FAILED,
        )
        for record in outcome.records
        if record.last is not None and record.state is State.failed
    ]
    if not outcome.halted:
        return failed
    fix = "mend them, then retry=failed; a higher sweep.max_failures goes on without"
    what = f"no further jobs are started: {outcome.halted}"
    return [*failed, Problem(sweep, what, fix, check="sweep-halted", code=CLOUD_FAILED)]


def answer(
    sweep: str,
    records: Sequence[TrialRecord],
    before: set[str],
    problems: Sequence[Problem],
) -> dict[str, Any]:
    """Write what was started and what is, as plain values. before: names of the jobs that were there."""
    every = [attempt.name for record in records for attempt in record.attempts]
    states = [
        {
            "number": record.trial.number,
            "name": record.last.name if record.last else record.trial.name,
            "state": record.state.value,
            "varies": dict(record.trial.varies),
            "reason": record.last.job.reason if record.last else "",
        }
        for record in records
    ]
    return {
        "sweep": sweep,
        "submitted": [{"name": name} for name in every if name not in before],
        "trials": states,
        "problems": [{"where": p.where, "what": p.what, "fix": p.fix} for p in problems],
    }
