"""Waiting for jobs to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lingotune.config.problems import CLOUD_FAILED, PREEMPTED, ConfigError
from lingotune.launch.operations.account import PATIENCE
from lingotune.launch.operations.live import event
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.table import state_text
from lingotune.launch.sweeps.trial import State

COMPLETED, FAILED, STOPPED, TIMED_OUT = 0, CLOUD_FAILED, PREEMPTED, 124
"""Exit codes: all completed, or ended by their sweep for their scores; one failed; one was stopped before
its end, or waits with nobody to start it; the time is over."""


def wait(
    look: Callable[[], Overview],
    every: float,
    timeout: float | None,
    tell: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Overview, int]:
    """Look at jobs until none of them runs; returns the last overview and the exit code.

    Of a sweep with trials that wait, two looks in a row have to find none that runs: a controller may be
    about to start the next. Each new state is told. ConfigError if AWS does not answer for minutes, or the
    credentials have expired.
    """
    begun = answered = clock()
    idle, states = 0, dict[str, str]()
    overview = look()
    while True:
        _tell_news(overview, states, tell)
        waits = any(row.state is State.waiting for row in overview.rows)
        idle = 0 if any(row.state.holds_slot for row in overview.rows) else idle + 1
        if idle > waits:
            return overview, exit_code_of(overview.rows)
        if timeout is not None and clock() - begun + every > timeout:
            return overview, TIMED_OUT
        sleep(every)
        try:
            overview, answered = look(), clock()
        except ConfigError as error:
            problem = error.problems[0]
            lasting = "Expired" in problem.what or clock() - answered > PATIENCE
            if problem.check != "aws-unanswered" or lasting:
                raise
            idle = 0
            tell(f"asked again: {problem.what}")


def _tell_news(overview: Overview, states: dict[str, str], tell: Callable[[str], None]) -> None:
    for row in overview.rows:
        text = state_text(row)
        if row.state is not State.waiting and states.get(row.name) != text:
            states[row.name] = text
            tell(event(row, overview))


def exit_code_of(rows: Sequence[Row]) -> int:
    """Return the exit code for how jobs have ended; a failed one counts before a stopped one."""
    states = {row.state for row in rows}
    if State.failed in states:
        return FAILED
    return STOPPED if states & {State.stopped, State.waiting} else COMPLETED
