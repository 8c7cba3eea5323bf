"""An overview of jobs as lines of text, for any width, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from lingotune.config.problems import printable
from lingotune.config.program import program
from lingotune.estimate.run_time import duration
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.sweeps.trial import State

_GAP = "  "
_LONGEST_VALUE = 40
_REASON = 24
"""Narrowest column for reasons; in less room they follow below the table."""
_RIGHT = {"#", "step", "left", "time", "USD"}
_EXPENDABLE = ("job", "left", "time", "instance")
"""Columns of a sweep that are left out, in this order, where the width does not hold all."""

Line = dict[str, str]
"""Name of a column -> text; empty texts are left out."""


def lines_of(overview: Overview, width: int) -> list[str]:
    """Format the table, reasons, the summary and the next command."""
    lines = table(overview, width)
    notes = [f"note: {note}" for note in overview.notes]
    folded = [piece for note in notes for piece in textwrap.wrap(note, width, **_WHOLE)]
    return [*lines, *folded, *summary(overview, width)]


_WHOLE: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


# --- table --------------------------------------------------------------------------------------


def table(overview: Overview, width: int) -> list[str]:
    """Format a line for each job; of trials that wait one for all that follow each other.

    Names are never cut: where a line does not hold one, it has a line of its own.
    """
    if not overview.rows:
        return []
    by_number = bool(overview.sweep)
    rows = _collapsed(overview)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = _ordered([n for n in names if n != "reason"], by_number)
    if not _shows_machines(overview.rows):
        columns = [name for name in columns if name != "instance"]
    reasons = any("reason" in row for row in rows)
    if by_number:
        columns = _narrowed(rows, columns, width, len(_GAP) + _REASON if reasons else 0)
    elif _width(rows, columns) > width:
        columns = [name for name in columns if name != "instance"]
        if _width(rows, columns) > width:
            return _stacked(rows, columns, width)
    room = width - _width(rows, columns) - len(_GAP)
    longest = max((len(row.get("reason", "")) for row in rows), default=0)
    if reasons and room >= min(longest, _REASON * 2):
        return _aligned(rows, columns, room)
    return [*_aligned(rows, columns), *_reasons(rows, columns[0], width)]


def _shows_machines(rows: Sequence[Row]) -> bool:
    """Tell whether the machines are worth a column: they vary, or are not the ones asked for first."""
    got = {row.machine for row in rows if row.machine}
    return len(got) > 1 or any(row.is_second_choice for row in rows)


def _narrowed(
    rows: Sequence[Line], columns: Sequence[str], width: int, beside: int = 0
) -> list[str]:
    """Leave out columns until the rest fits; that of names already where `beside` does not fit, too."""
    left = list(columns)
    for name in _EXPENDABLE:
        needed = _width(rows, left) + (beside if name == "job" else 0)
        if name in left and needed > width:
            left.remove(name)
    return left


def _ordered(names: Sequence[str], by_number: bool) -> list[str]:
    tail = ["state", "step", "left", "time", "USD", "instance"]
    head = ["#"] if by_number else ["job", "sweep"]
    keys = [
        name for name in names if name not in {"#", "job", "sweep", *tail} and name[:4] != "val "
    ]
    score = [name for name in names if name.startswith("val ")]
    order = [*head, *keys, "state", *score, *tail[1:], *(["job"] if by_number else [])]
    return [name for name in order if name in names]


def _line(row: Row, overview: Overview) -> Line:
    """Make the texts of a row; columns that have none are left out."""
    progress = row.progress
    score = progress.scores.get(overview.metric)
    step, total = progress.step, progress.total_steps
    runs = row.state in (State.running, State.stopping)
    left = progress.seconds_left(overview.at) if runs else None
    seconds = row.seconds(overview.at)
    spent = None if row.state is State.waiting or not row.spent_usd else row.spent_usd
    texts = {
        "#": "" if row.number is None else str(row.number),
        "sweep": f"{row.sweep} {row.number}" if row.sweep else "",
        **({key: _short(value) for key, value in row.varies.items()} if overview.sweep else {}),
        "state": state_text(row),
        f"val {overview.metric}": "" if score is None else f"{score:.4f}",
        "step": f"{100 * step // total} %" if runs and step is not None and total else "",
        "left": "" if left is None else f"~{duration(left)}",
        "time": "" if seconds is None else duration(seconds),
        "USD": "" if spent is None else f"{spent:.2f}",
        "instance": row.machine,
        "job": row.name,
        "reason": reason_of(row),
    }
    return {name: text for name, text in texts.items() if text}


def state_text(row: Row) -> str:
    """Format the state: of a job that runs what it is doing, as SageMaker calls it."""
    if row.state is State.running and row.job.secondary:
        return row.job.secondary.lower()
    return row.state.value


def reason_of(row: Row) -> str:
    """Format why a job is in its state, spot interruptions and further attempts; '' if nothing is known."""
    parts = [printable(row.job.reason)] if row.job.reason else []
    interruptions = row.remote.interruptions if row.remote else 0
    if interruptions:
        parts.append(f"{interruptions} spot interruption{'' if interruptions == 1 else 's'}")
    if row.attempts > 1:
        parts.append(f"attempt {row.attempts}")
    return "; ".join(parts)


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _collapsed(overview: Overview) -> list[Line]:
    """Make the lines of all rows; trials of a sweep that wait and follow each other share one."""
    lines = []
    for waits, group in groupby(overview.rows, _waiting_in):
        rows = list(group)
        if waits is None:
            lines += [_line(row, overview) for row in rows]
            continue
        numbers = _range([row.number or 0 for row in rows])
        line = {"#": numbers, "sweep": f"{waits} {numbers}", "state": State.waiting.value}
        lines.append({**line, "job": "-"})
    return lines


def _waiting_in(row: Row) -> str | None:
    """Name the sweep in which a trial waits; None if it does not."""
    return row.sweep if row.state is State.waiting else None


def _range(numbers: Sequence[int]) -> str:
    """Format `5-12`, or `5,7,9` where not all follow each other."""
    if len(numbers) < 3 or any(b != a + 1 for a, b in pairwise(numbers)):
        return ",".join(map(str, numbers))
    return f"{numbers[0]}-{numbers[-1]}"


def _widths(rows: Sequence[Line], columns: Sequence[str]) -> dict[str, int]:
    return {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in columns}


def _width(rows: Sequence[Line], columns: Sequence[str]) -> int:
    return sum(_widths(rows, columns).values()) + len(_GAP) * (len(columns) - 1)


def _aligned(rows: Sequence[Line], columns: Sequence[str], room: int = 0) -> list[str]:
    """Align the columns; room: characters for the reasons beside them, which are folded there."""
    widths = _widths(rows, columns)
    lines = []
    for row in [{name: name for name in columns}, *rows]:
        cells = [
            row.get(name, "").rjust(widths[name])
            if name in _RIGHT or name.startswith("val ")
            else row.get(name, "").ljust(widths[name])
            for name in columns
        ]
        text = _GAP.join(cells)
        folded = textwrap.wrap(row.get("reason", ""), room, **_WHOLE) if room else []
        lines.append(f"{text}{_GAP}{folded[0]}" if folded else text.rstrip())
        lines += [f"{'':{len(text)}}{_GAP}{piece}" for piece in folded[1:]]
    return lines


def _reasons(rows: Sequence[Line], named: str, width: int) -> list[str]:
    lines = []
    for row in rows:
        if "reason" in row:
            text = f"{row.get(named, '')}: {row['reason']}"
            lines += textwrap.wrap(text, width, subsequent_indent="   ", **_WHOLE)
    return lines


def _stacked(rows: Sequence[Line], columns: Sequence[str], width: int) -> list[str]:
    """Format each row as its name, and below it the rest."""
    rest = _narrowed(rows, [name for name in columns if name != "job"], width - 2)
    lines = _aligned(rows, rest)
    made = [f"  {lines[0]}"]
    for row, text in zip(rows, lines[1:]):
        made += [row["job"], f"  {text}"]
        if "reason" in row:
            folded = textwrap.wrap(row["reason"], width - 4, **_WHOLE)
            made += [f"    {piece}" for piece in folded]
    return made


# --- summary ------------------------------------------------------------------------------------


def summary(overview: Overview, width: int) -> list[str]:
    """Format how many jobs are known in which state, their money, and the next command."""
    rows = overview.rows
    if not rows:
        return [_nothing(overview)]
    started = [row for row in rows if row.state is not State.waiting]
    counts = Counter(row.state.value for row in rows)
    states = ", ".join(f"{n} {s.value}" for s in State if (n := counts[s.value]))
    if overview.planned is not None:
        head = f"{len(started)} of {overview.planned} known: {states}"
    else:
        head = f"{len(rows)} job{'' if len(rows) == 1 else 's'}: {states}"
    text = "; ".join(filter(None, [head, _money(overview)]))
    lines = textwrap.wrap(text, width, subsequent_indent="  ", **_WHOLE)
    return [*lines, *(f"next: {command}" for command in next_commands(overview))]


def _nothing(overview: Overview) -> str:
    where = f"sweep {overview.sweep}" if overview.sweep else "lingotune"
    place = f" in {overview.region}" if overview.region else ""
    return f"no jobs of {where}{place}, and none in a ledger here"


def totals(overview: Overview) -> tuple[float | None, float | None]:
    """Add up what was spent and the worst case; None if a part is unknown, or nothing is billed."""
    billed = [row for row in overview.rows if not row.free]
    if not billed:
        return None, None
    spent = [row.spent_usd for row in billed]
    worst = [row.worst_usd for row in billed]
    return (
        sum(usd or 0.0 for usd in spent) if None not in spent else None,
        sum(usd or 0.0 for usd in worst) if None not in worst else None,
    )


def _money(overview: Overview) -> str:
    """Format the money; nothing where nothing is billed."""
    billed = [row for row in overview.rows if not row.free]
    if not billed:
        return ""
    spent, worst = totals(overview)
    if spent is None:
        known = sum(row.spent_usd or 0.0 for row in billed)
        unknown = sum(row.spent_usd is None for row in billed)
        return f"{known:.2f} USD and {unknown} of unknown price"
    if overview.max_usd is not None:
        return f"{spent:.2f} of {overview.max_usd:g} USD"
    if all(row.state.over for row in billed):
        return f"{spent:.2f} USD"
    return f"{spent:.2f} USD so far" + ("" if worst is None else f", at most {worst:.2f}")


def next_commands(overview: Overview) -> list[str]:
    """Choose the command that comes next, one for a sweep that waits and one for what has ended."""
    rows = overview.rows
    name = overview.sweep or (rows[0].name if len(rows) == 1 else "")
    failed = [row for row in rows if row.state is State.failed]
    waits = overview.sweep and any(row.state is State.waiting for row in rows)
    own = [overview.command] if waits and overview.command else []
    commands = []
    if waits and not overview.of_application:
        commands.append(f"{program('resume')} {name}")
    if failed and name:
        number = f" {failed[0].number}" if overview.sweep else ""
        commands.append(f"{program('logs')} {name}{number}")
    if name and any(row.state is State.running for row in rows) and not (own or commands):
        commands.append(f"{program('status')} {name} --watch")
    if name and not (own or commands) and any(row.state is State.completed for row in rows):
        commands.append(f"{program('fetch')} {name}")
    if name and not overview.of_application and _are_stopped(rows):
        retry = " --retry stopped" if overview.sweep else ""
        commands.append(f"{program('resume')} {name}{retry}")
    return [*own, *(f"{command}{overview.options}" for command in commands)][:2]


def _are_stopped(rows: Sequence[Row]) -> bool:
    """Tell whether jobs were stopped, and none that runs or waits is in the way of going on."""
    billed = [row for row in rows if not row.free]
    return all(row.state.over for row in rows) and any(r.state is State.stopped for r in billed)


# --- JSON ---------------------------------------------------------------------------------------


def as_dict(overview: Overview) -> dict[str, Any]:
    """Convert an overview to plain values; times are seconds since 1970, money is in USD."""
    spent, worst = totals(overview)
    return {
        "sweep": overview.sweep or None,
        "region": overview.region,
        "planned": overview.planned,
        "metric": overview.metric,
        "spent_usd": spent,
        "worst_usd": worst,
        "max_usd": overview.max_usd,
        "notes": list(overview.notes),
        "next": next_commands(overview),
        "jobs": [_row_as_dict(row, overview) for row in overview.rows],
    }


def _row_as_dict(row: Row, overview: Overview) -> Mapping[str, Any]:
    job, progress = row.job, row.progress
    left = None if row.state.over else progress.seconds_left(overview.at)
    return {
        "name": row.name,
        "sweep": row.sweep or None,
        "number": row.number,
        "varies": dict(row.varies),
        "attempts": row.attempts,
        "state": row.state.value,
        "secondary": job.secondary or None,
        "reason": job.reason or None,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "seconds": row.seconds(overview.at),
        "billable_seconds": job.billable_seconds,
        "instance_type": job.instance_type,
        "instances": row.remote.nodes if row.remote else None,
        "asked_for": [list(one) for one in row.remote.candidates] if row.remote else None,
        "interruptions": row.remote.interruptions if row.remote else None,
        "step": progress.step,
        "total_steps": progress.total_steps,
        "seconds_left": left,
        "validation": dict(progress.scores),
        "spent_usd": row.spent_usd,
        "worst_usd": row.worst_usd,
    }


def to_json(values: Any) -> str:
    """Write values as JSON; numbers that are none become null."""
    return json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    is_number = not isinstance(value, float) or abs(value) < float("inf")
    return value if is_number else None
