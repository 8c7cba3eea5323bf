"""An overview that stays on the terminal and is kept up to date; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.table import lines_of, state_text, summary, table
from lingotune.launch.sweeps.trial import State

SHORTEST = 2.0
"""Fewest seconds between two looks: every look is a call to AWS."""
_ORDER = {State.running: 0, State.stopping: 0, State.starting: 1, State.failed: 2}


def watch(
    look: Callable[[], Overview],
    every: float,
    *,
    until_over: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> Overview:
    """Show an overview anew every so many seconds, until Ctrl-C; returns the last one.

    until_over: end once all jobs have ended.
    """
    if not sys.stdout.isatty():
        return _as_lines(look, every, until_over, sleep)
    console = Console(highlight=False)
    overview = look()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            while True:
                live.update(_fitting(overview, console.width, console.height), refresh=True)
                if until_over and is_over(overview):
                    return overview
                sleep(every)
                overview = look()
        except KeyboardInterrupt:
            return overview


def is_over(overview: Overview) -> bool:
    """Tell whether there are jobs and all have ended, so far as one can know here."""
    return bool(overview.rows) and all(row.state.over for row in overview.rows)


def _fitting(overview: Overview, width: int, height: int) -> Text:
    """Format what fits on the terminal: those that run first, of the rest how many they are."""
    lines = lines_of(overview, width - 1)
    if len(lines) > height - 1:
        rest = [*_notes(overview), *summary(overview, width - 1)]
        rows = sorted(overview.rows, key=lambda row: _ORDER.get(row.state, 3))
        shown = _most_that_fit(overview, rows, width - 1, height - 2 - len(rest))
        left = Counter(row.state.value for row in rows[len(shown) :])
        told = ", ".join(f"{count} {state}" for state, count in left.items())
        chosen = replace(overview, rows=tuple(row for row in overview.rows if row in shown))
        lines = [*table(chosen, width - 1), f"... and {told}", *rest]
    at = time.strftime("%H:%M:%S", time.localtime(overview.at))
    return Text("\n".join([*lines, f"{at}  Ctrl-C leaves; the jobs go on"]))


def _most_that_fit(overview: Overview, rows: list[Row], width: int, height: int) -> list[Row]:
    count = min(len(rows), max(1, height))
    while count > 1 and len(table(replace(overview, rows=tuple(rows[:count])), width)) > height:
        count -= 1
    return rows[:count]


def _notes(overview: Overview) -> list[str]:
    return [f"note: {note}"[:200] for note in overview.notes]


def _as_lines(
    look: Callable[[], Overview], every: float, until_over: bool, sleep: Callable[[float], None]
) -> Overview:
    """Print a line for each job whose state has changed."""
    states: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    overview = look()
    try:
        while True:
            for row in overview.rows:
                text = state_text(row)
                if states.get(row.name) != text and row.state is not State.waiting:
                    states[row.name] = text
                    print(event(row, overview), flush=True)
            for note in set(overview.notes) - set(notes):
                print(f"note: {note}", flush=True)
            notes = overview.notes
            if until_over and is_over(overview):
                return overview
            sleep(every)
            overview = look()
    except KeyboardInterrupt:
        return overview


def event(row: Row, overview: Overview) -> str:
    """Write the state of a job with the time of the look, as a line."""
    at = time.strftime("%H:%M:%S", time.localtime(overview.at))
    number = "" if row.number is None else f"{row.number:3} "
    reason = f": {row.job.reason}" if row.job.reason else ""
    return f"{at} {number}{row.name} {state_text(row)}{reason}"
