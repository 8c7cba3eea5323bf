"""Live view of a sweep: a line for each job on a terminal, lines of text elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from lingotune.contract.log_lines import Logged
from lingotune.estimate.run_time import duration
from lingotune.launch.cost.cost import HOUR
from lingotune.launch.cost.prices import usd_text
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import Attempt, TrialRecord
from lingotune.launch.sweeps.trial import JobState, Source, State, Unsure

MOST_LINES = 20
"""Jobs that are shown in a line each; of more the running ones are, and the others are counted."""
_WIDTH = 120
"""Characters of a line where no terminal tells."""
_SHORT, _SHORTEST = 30, 12
"""Characters to which what varies is cut before columns are left out, and after that."""
_BESIDE = 4
"""Lines of a terminal that are left to other things than jobs."""
_VARIES = "varies"
_COLUMNS = ("number", _VARIES, "state", "step", "share", "loss", "score", "time", "money")
_EXPENDABLE = ("loss", "time", "step", "share")
"""Columns that are left out, in this order, where the width does not hold all; the share of the steps
stands in place of the steps."""
_EVERY = 60.0
"""Seconds between two lines of text without news."""

Progress = Callable[[str], Logged | None]
"""Tells the last line of training in a job's log, by the job's name."""


def billed(attempt: Attempt, now: float) -> float:
    """Count the seconds that a job is billed for, as AWS tells them, or else as far as is known."""
    job = attempt.job
    if job.billable_seconds is not None:
        return job.billable_seconds
    if job.started is None:  # a listing does not tell it; what it takes to start is not billed
        return max(0.0, (job.ended or now) - (job.created or attempt.asked)) if job.created else 0.0
    return max(0.0, (job.ended or now) - job.started)


Rates = dict[Any, float | None]
"""USD per hour by number of the trial; of one that may get several machines also by (number, type)."""


def rate_of(rates: Mapping[Any, float | None], number: int, job: JobState) -> float | None:
    """Look up what a job of a trial costs an hour on the machine that it got."""
    return rates.get((number, job.instance_type), rates.get(number))


def spent(records: Sequence[TrialRecord], rates: Rates, now: float) -> float | None:
    """Sum up the money so far; None if a price is unknown. rates: USD per hour by number of the trial."""
    usd = 0.0
    for record in records:
        for attempt in record.attempts:
            seconds, rate = billed(attempt, now), rate_of(rates, record.trial.number, attempt.job)
            if seconds and rate is None:
                return None
            usd += seconds / HOUR * (rate or 0.0)
    return usd


def summary(records: Sequence[TrialRecord], rates: Rates, now: float, planned: int = 0) -> str:
    """Write the state of a sweep in a line: how many jobs are in which state, and the money so far.

    rates: as of `spent`; empty = nothing is said of money. planned: jobs in all, where more will be drawn.
    """
    counts = Counter(record.state for record in records)
    counts[State.waiting] += max(0, planned - len(records))
    parts = [f"{counts[state]} {state.value}" for state in State if counts[state]]
    usd = spent(records, rates, now) if rates else None
    parts += [f"{usd_text(usd)} so far"] if usd is not None else []
    return " | ".join(parts)


def terminal() -> object | None:
    """Return rich's console if a person looks on."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console()


class View:
    """Context manager that shows a sweep; `show` takes all records, `tell` a line about what happened.

    progress: asked for each running job that gets a line of its own; None = not asked. source: of trials
    that are still to be drawn, and of the name of the score. live: draw on a terminal, the console of rich;
    None prints lines.
    """

    def __init__(
        self,
        print_line: Callable[[str], None],
        rates: Rates,
        *,
        live: object = None,
        progress: Progress | None = None,
        source: Source | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._print, self._rates, self._clock = print_line, rates, clock
        self._console, self._progress = live, progress
        self._source = source or Grid()
        self._last, self._at = "", 0.0

    def __enter__(self) -> View:
        if self._console is not None:
            from rich.live import Live

            # The controller redraws after each round; a thread of its own would cost more than that.
            self._live = Live(console=self._console, auto_refresh=False)  # type: ignore[arg-type]
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._console is not None:
            self._live.__exit__(kind, error, at)

    def tell(self, line: str) -> None:
        """Print a line about what happened, above what is drawn."""
        if self._console is not None:
            self._live.console.print(line, markup=False, highlight=False)
        else:
            self._print(line)

    def show(self, records: Sequence[TrialRecord]) -> None:
        """Show the state: drawn anew, or as a line if it is another, at most one a minute otherwise."""
        now = self._clock()
        if self._console is not None:
            from rich.text import Text

            text = Text("\n".join(self.lines(records)), no_wrap=True, overflow="ellipsis")
            self._live.update(text, refresh=True)
            return
        states = self._summary(records, {}, now)
        if states != self._last or now - self._at >= _EVERY:
            line = self._summary(records, self._rates, now)
            self._print(f"{time.strftime('%H:%M', time.localtime(now))}  {line}")
            self._last, self._at = states, now

    def lines(self, records: Sequence[TrialRecord]) -> list[str]:
        """Write a line for each job, or of many for those alone that hold a machine, then the summary."""
        now = self._clock()
        width = getattr(self._console, "width", None) or _WIDTH
        most = min(MOST_LINES, max(1, (getattr(self._console, "height", None) or 100) - _BESIDE))
        shown = list(records)
        if len(shown) > most:
            shown = [record for record in records if record.state.holds_slot][:most]
        cells = [self._cells(record, now) for record in shown]
        return [*_aligned(cells, width), self._summary(records, self._rates, now)]

    def _summary(self, records: Sequence[TrialRecord], rates: Rates, now: float) -> str:
        return summary(records, rates, now, self._source.planned)

    def _cells(self, record: TrialRecord, now: float) -> dict[str, str]:
        """Write what is known of a job, by column; texts that are not known are left out."""
        varies = " ".join(f"{key}={value}" for key, value in record.trial.varies.items())
        cells = {"number": f"{record.trial.number:3}", _VARIES: varies, "state": "waiting"}
        last = record.last
        if last is None:
            return cells
        state = last.job.secondary if record.state is State.running else record.state.value
        cells["state"] = state or record.state.value
        if record.state is State.running:
            cells |= self._progress_of(last.name)
        if record.evaluations:
            values = record.evaluations[-1].values
            wanted = self._source.metric
            name = wanted if wanted in values else next(iter(values), "")
            cells |= {"score": f"{name} {values[name]:.4f}"} if name else {}
        seconds = billed(last, now)
        rate = rate_of(self._rates, record.trial.number, last.job)
        if seconds:
            cells["time"] = duration(seconds)
        if seconds and rate:
            cells["money"] = usd_text(seconds / HOUR * rate)
        return cells

    def _progress_of(self, name: str) -> dict[str, str]:
        if self._progress is None:
            return {}
        try:
            line = self._progress(name)
        except Unsure:
            return {}
        if line is None or line.step is None:
            return {}
        loss = {"loss": f"loss {line.values['loss']:.4g}"} if "loss" in line.values else {}
        share = f"{100 * line.step // line.total_steps} %" if line.total_steps else ""
        return {"step": f"step {line.step}/{line.total_steps}", "share": share, **loss}


def _aligned(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Align the columns of rows; where the width is small, some are left out, and what varies is cut."""
    widths = {name: max((len(row.get(name, "")) for row in rows), default=0) for name in _COLUMNS}
    shown = [name for name in _COLUMNS if widths[name] and name != "share"]

    def total() -> int:
        return sum(widths[name] + 2 for name in shown) - 2

    def cut(least: int) -> None:
        if total() > width and widths[_VARIES] > least:
            widths[_VARIES] = max(least, widths[_VARIES] - (total() - width))

    cut(_SHORT)
    for name in _EXPENDABLE:
        if name in shown and total() > width:
            shown[shown.index(name)] = "share" if name == "step" else ""
            shown = [one for one in shown if one]
    cut(_SHORTEST)
    return [
        "  ".join(
            _cut(row.get(name, ""), widths[name]).ljust(widths[name]) for name in shown
        ).rstrip()
        for row in rows
    ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
