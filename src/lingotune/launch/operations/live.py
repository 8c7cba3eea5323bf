"""An overview that stays on the terminal and is kept up to date; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from textwrap import wrap

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lingotune.launch.operations.card import card_of, facts_of
from lingotune.launch.operations.keys import Keys
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.table import lines_of, state_text, summary, table
from lingotune.launch.sweeps.trial import State

SHORTEST = 2.0
"""Fewest seconds between two looks: every look is a call to AWS."""
_HINT = "  l: log on, off"
_QUIET = 60.0
"""Seconds between two lines about the progress of a job whose state is the same."""
_MOST_OF_A_NOTE = 2
"""Lines of a note where there is little room."""
Log = Callable[[Callable[[str], None]], None]
"""Prints the lines of a log that are new, with the function that it is given."""
_ORDER = {State.running: 0, State.stopping: 0, State.starting: 1, State.failed: 2}


def watch(
    look: Callable[[], Overview],
    every: float,
    *,
    until_over: bool,
    log: Log | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Overview:
    """Show an overview anew every so many seconds, until Ctrl-C; returns the last one.

    until_over: end once all jobs have ended. log: prints the new lines of a log, which `l` asks for.
    """
    if not sys.stdout.isatty():
        return _as_lines(look, every, until_over, sleep)
    console = Console(highlight=False)
    overview, shows_log = look(), False
    with Keys(sleep) as keys, Live(console=console, auto_refresh=False, transient=True) as live:
        hint = _HINT if log and keys.work else ""

        def tell(line: str) -> None:
            live.console.print(Text(line), soft_wrap=True)

        try:
            while True:
                live.update(_fitting(overview, console.width, console.height, hint), refresh=True)
                if until_over and is_over(overview):
                    return overview
                shows_log ^= "l" in keys.typed(every)
                if log and shows_log:
                    log(tell)
                overview = look()
        except KeyboardInterrupt:
            return overview


def is_over(overview: Overview) -> bool:
    """Tell whether there are jobs and all have ended, so far as one can know here."""
    return bool(overview.rows) and all(row.state.over for row in overview.rows)


def _fitting(overview: Overview, width: int, height: int, hint: str = "") -> Text:
    """Format what fits on the terminal: those that run first, of the rest how many they are."""
    if is_one_job(overview):
        lines = [*card_of(overview, width - 1), *_notes(overview, width - 1)]
    else:
        lines = lines_of(overview, width - 1)
    if _height(lines, width) > height - 1:
        rest = [*_notes(overview, width - 1), *summary(overview, width - 1)]
        rows = sorted(overview.rows, key=lambda row: _ORDER.get(row.state, 3))
        shown = _most_that_fit(overview, rows, width - 1, height - 2 - _height(rest, width))
        left = Counter(row.state.value for row in rows[len(shown) :])
        told = ", ".join(f"{count} {state}" for state, count in left.items())
        chosen = replace(overview, rows=tuple(row for row in overview.rows if row in shown))
        lines = [*table(chosen, width - 1), f"... and {told}", *rest]
    at = time.strftime("%H:%M:%S", time.localtime(overview.at))
    go = "job goes" if is_one_job(overview) else "jobs go"
    return Text("\n".join([*lines, f"{at}  Ctrl-C leaves; the {go} on{hint}"]))


def is_one_job(overview: Overview) -> bool:
    """Tell whether an overview is that of a single job, of a sweep or of none."""
    return len(overview.rows) == 1 and (not overview.sweep or overview.rows[0].number is None)


def _most_that_fit(overview: Overview, rows: list[Row], width: int, height: int) -> list[Row]:
    count = min(len(rows), max(1, height))
    while count > 1 and len(table(replace(overview, rows=tuple(rows[:count])), width)) > height:
        count -= 1
    return rows[:count]


def _height(lines: Sequence[str], width: int) -> int:
    """Count the lines that a terminal makes of these: commands are longer than some are wide."""
    return sum(max(1, -(-len(line) // width)) for line in lines)


def _notes(overview: Overview, width: int) -> list[str]:
    return [
        line for note in overview.notes for line in wrap(f"note: {note}", width)[:_MOST_OF_A_NOTE]
    ]


def _as_lines(
    look: Callable[[], Overview], every: float, until_over: bool, sleep: Callable[[float], None]
) -> Overview:
    """Print a line for each job whose state has changed, of a single one now and then for its steps."""
    states: dict[str, str] = {}
    told_at = 0.0
    notes: tuple[str, ...] = ()
    overview = look()
    try:
        while True:
            for row in overview.rows:
                text = state_text(row)
                moves = is_one_job(overview) and overview.at - told_at >= _QUIET
                if row.state is not State.waiting and (moves or states.get(row.name) != text):
                    states[row.name], told_at = text, overview.at
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
    """Write the state of a job with the time of the look, as a line; of a single one its progress too."""
    at = time.strftime("%H:%M:%S", time.localtime(overview.at))
    number = "" if row.number is None else f"{row.number:3} "
    reason = f": {row.job.reason}" if row.job.reason else ""
    facts = "".join(f"  {fact}" for fact in facts_of(row, overview)) if is_one_job(overview) else ""
    return f"{at} {number}{row.name} {state_text(row)}{reason}{facts}"
