"""Stopping jobs: what is to be stopped, what it has cost, what stays, and how to go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.aws.account.calls import Unanswered
from lingotune.launch.aws.stop import Stop, stop_job
from lingotune.launch.operations.applications import again_command
from lingotune.launch.operations.checkpoints import newest_step
from lingotune.launch.operations.rows import Row
from lingotune.launch.operations.selection import Selection
from lingotune.launch.operations.table import state_text
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import State

_OWNER = "stopped by its owner"
"""Reason in the ledger."""


@dataclass
class Stopped:
    """What has become of a stop. rows by outcome: asked to stop now, stopping before, ended before."""

    asked: list[Row] = field(default_factory=list)
    before: list[Row] = field(default_factory=list)
    over: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def running(rows: Sequence[Row]) -> list[Row]:
    """Select the jobs that a stop would end."""
    return [row for row in rows if row.state in (State.running, State.starting)]


def describe(row: Row, at: float) -> str:
    """Tell a job in a line: its number, name, how far it is, and what was spent."""
    number = "" if row.number is None else f"{row.number:3}  "
    step, total = row.progress.step, row.progress.total_steps
    far = f", {100 * step // total} %" if step is not None and total else ""
    usd = "" if row.spent_usd is None else f", {row.spent_usd:.2f} USD so far"
    return f"{number}{row.name}  {state_text(row)}{far}{usd}"


def stop_all(chosen: Selection, tell: Callable[[str], None]) -> Stopped:
    """Stop the jobs that run; the ledger is written before each call. A problem of one stops no other."""
    found = Stopped()
    for row in chosen.rows:
        if row.state.over:
            found.over.append(row)
        elif row.state is State.stopping:
            found.before.append(row)
    for row in running(chosen.rows):
        try:
            _intend(chosen, row)
            became = stop_job(chosen.account.calls, row.name)
        except ConfigError as error:
            found.problems += error.problems
            continue
        (found.asked if became is Stop.asked else found.over).append(row)
        if became is Stop.asked:
            tell(f"stopping {describe(row, chosen.overview.at)}")
    return found


def hold(chosen: Selection) -> bool:
    """Let no further trials of a whole sweep be started, by whichever controller.

    Returns whether any wait.
    """
    known, target = chosen.target.known, chosen.target
    waiting = any(row.state is State.waiting for row in chosen.rows)
    if known is None or not target.sweep or target.numbers or not waiting:
        return False
    with Ledger(known.folder) as ledger:
        again = known.command or f"{program('resume')} {known.name}"
        ledger.hold(f"stopped by its owner; {again} goes on")
    return True


def _intend(chosen: Selection, row: Row) -> None:
    known = chosen.target.known
    if known is not None and row.name in known.attempts():
        with Ledger(known.folder) as ledger:
            ledger.intend_stop(row.name, time.time(), _OWNER)


def after(chosen: Selection, found: Stopped, *, held: bool) -> Iterator[str]:
    """Tell what had ended, what stays, and how to go on."""
    for row in found.over:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.job.ended)) if row.job.ended else ""
        how = row.state.value if row.state.over else "ended meanwhile"
        yield f"nothing to stop: {row.name} {how}{f' {at}' if at else ''}"
    for row in found.before:
        yield f"stopping already: {row.name}"
    if found.asked:
        yield "they bill until they have stopped (SageMaker gives them 120 s), and hold their quota"
    for row in found.asked:
        yield from _checkpoints(chosen, row)
    if held:
        waiting = [row.number for row in chosen.rows if row.state is State.waiting]
        wait = (
            "1 trial waits and is" if len(waiting) == 1 else f"{len(waiting)} trials wait and are"
        )
        yield f"{wait} not started"
    elif chosen.target.sweep and any(row.state is State.waiting for row in chosen.rows):
        yield "trials wait: where the sweep's controller runs, it starts them; Ctrl-C there ends it"
    if (found.asked or held) and chosen.overview.of_application:
        yield f"next: {again_command(chosen.overview.command, State.stopped)}"
    elif found.asked or held:
        whole = bool(chosen.target.sweep) and not chosen.target.numbers
        again = " --retry stopped" if found.asked and whole else ""
        yield f"next: {program('resume')} {chosen.target.text}{again}{chosen.overview.options}"


def _checkpoints(chosen: Selection, row: Row) -> Iterator[str]:
    """Tell the checkpoint that stays, from which the same job goes on."""
    uri = row.remote.checkpoint_uri if row.remote else None
    if uri is None:
        launcher = row.remote is not None and row.remote.of_application
        setting = f"{'hydra.launcher' if launcher else 'cluster'}.checkpoints=false"
        yield f"{row.name} keeps no checkpoint ({setting}): it would begin anew"
        return
    try:
        step = newest_step(chosen.account.calls, uri)
    except Unanswered as reason:
        yield f"checkpoints of {row.name}: {uri} (not looked at: {reason})"
        return
    what = "none yet: it would begin anew" if step is None else f"step {step}, {uri}"
    yield f"checkpoint of {row.name}: {what}"
