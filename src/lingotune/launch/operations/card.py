"""One job as a few lines of text, for any width: state, progress, scores and money."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from lingotune.estimate.run_time import duration
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.table import reason_of, state_text
from lingotune.launch.sweeps.trial import State

_GAP = "  "
_LONGEST_BAR = 40


def card_of(overview: Overview, width: int) -> list[str]:
    """Format the only row of an overview; its name is never cut."""
    (row,) = overview.rows
    lines = list(folded([row.name, state_text(row)], width))
    facts = list(facts_of(row, overview))
    if (part := _part(row)) is not None:
        lines += folded([_bar(part, width - len(_GAP) * 2), *facts[:1]], width, _GAP)
        facts = facts[1:]
    lines += folded(facts, width, _GAP)
    if reason := reason_of(row):
        lines += textwrap.wrap(
            reason, width, initial_indent=_GAP, subsequent_indent=_GAP, break_long_words=False
        )
    return lines


def facts_of(row: Row, overview: Overview) -> Iterator[str]:
    """Yield what is known of a job: step and percentage first, then loss, score, times and money."""
    progress, runs = row.progress, row.state in (State.running, State.stopping)
    if (part := _part(row)) is not None:
        yield f"{int(100 * part)} %  step {progress.step}/{progress.total_steps}"
    if progress.loss is not None:
        yield f"loss {progress.loss:.4g}"
    if (score := progress.scores.get(overview.metric)) is not None:
        yield f"val {overview.metric} {score:.4f}"
    left = progress.seconds_left(overview.at) if runs else None
    if left is not None:
        yield f"~{duration(left)} left"
    if (seconds := row.seconds(overview.at)) is not None:
        yield f"{duration(seconds)}{'' if row.state.over else ' so far'}"
    if row.is_second_choice:
        yield f"on {row.machine}"
    yield from _money(row)


def _money(row: Row) -> Iterator[str]:
    if row.spent_usd is None:
        yield "price unknown"
    elif row.state.over:
        yield f"{row.spent_usd:.2f} USD"
    else:
        most = "" if row.worst_usd is None else f", at most {row.worst_usd:.2f}"
        yield f"{row.spent_usd:.2f} USD so far{most}"


def _part(row: Row) -> float | None:
    """Return the part of the steps that is done, of a job that trains; None if unknown."""
    step, total = row.progress.step, row.progress.total_steps
    runs = row.state in (State.running, State.stopping)
    return step / total if runs and step is not None and total else None


def _bar(part: float, room: int) -> str:
    length = min(_LONGEST_BAR, room)
    done = int(part * length)
    return "━" * done + "╌" * (length - done)


def folded(items: list[str], width: int, indent: str = "") -> Iterator[str]:
    """Join items with gaps, on as many lines as it takes; no item is cut."""
    line = ""
    for item in items:
        if line and len(indent + line + _GAP + item) > width:
            yield indent + line
            line = ""
        line += f"{_GAP if line else ''}{item}"
    if line:
        yield indent + line
