"""The leaderboard as text: for a terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lingotune.config.problems import ConfigError, Problem, printable
from lingotune.config.quoting import for_shell
from lingotune.estimate.run_time import duration
from lingotune.launch.results.compare import Comparison, Difference
from lingotune.launch.results.entries import Configuration, Entry, Leaderboard, languages_in
from lingotune.launch.sweeps.trial import REPEATED, State, ranges
from lingotune.runs.folder import write_whole
from lingotune.runs.results import Interval

CSV = "results.csv"
"""Name of the table in a sweep's folder: a line for each trial."""
_NONE = "-"
_LONGEST = 40
_NAMED = 3
"""Configurations that a sentence names."""
_EXPENDABLE = ("run", "lowest language", "to the best", "time")
"""Beginnings of the names of columns that a narrow terminal does without, in this order."""
Cells = list[list[str]]


# --- for people ---------------------------------------------------------------------------------


def for_terminal(board: Leaderboard, comparison: Comparison, width: int | None = None) -> str:
    """Format the leaderboard as aligned columns, followed by what is not in it and by notes.

    width: columns of the terminal; what matters least is left out, and named, where the table is wider.
    """
    cells, left_out = _narrowed(cells_of(board, comparison), width or sys.maxsize)
    lines = aligned(cells) if board.ranked else []
    if left_out:
        lines += ["", f"too wide for this terminal: {', '.join(left_out)} (in {CSV})"]
    rest = [*_others(board)]
    if rest:
        lines += ["", "not compared:", *aligned(rest, indent="  ")] if lines else aligned(rest)
    return "\n".join([*lines, "", *verdict(board, comparison), *board.notes]).strip("\n")


def as_markdown(board: Leaderboard, comparison: Comparison) -> str:
    """Format the leaderboard as tables of Markdown, followed by the notes."""
    tables = [_markdown(cells_of(board, comparison))] if board.ranked else []
    rest = [*_others(board)]
    if rest:
        tables.append(_markdown([["trial", "", "state", ""], *rest]))
    notes = "\n".join(
        f"- {_escaped(n.strip())}" for n in (*verdict(board, comparison), *board.notes)
    )
    return "\n\n".join([*tables, notes]).strip()


def cells_of(board: Leaderboard, comparison: Comparison) -> Cells:
    """Tabulate the configurations that have a score, under a row of names.

    Columns without any value are left out. An asterisk marks the best, if it is better than the second by
    more than the interval of their difference on validation. The score on test is that of the best alone.
    """
    columns = _columns(board, comparison)
    rows = [[text(place, of) for _, text in columns] for place, of in enumerate(board.ranked)]
    shown = [n for n in range(len(columns)) if n == 0 or any(row[n] != _NONE for row in rows)]
    names = [name for name, _ in columns]
    return [[row[n] for n in shown] for row in (names, *rows)]


def _columns(
    board: Leaderboard, comparison: Comparison
) -> list[tuple[str, Callable[[int, Configuration], str]]]:
    def key_column(key: str) -> Callable[[int, Configuration], str]:
        return lambda place, of: value_text(of.varies.get(key))

    seeds = any(len(of.entries) > 1 for of in board.ranked)
    return [
        ("", lambda place, of: "*" if place == 0 and comparison.clear else " "),
        *((key, key_column(key)) for key in board.keys if key != REPEATED),
        ("seeds", lambda place, of: seeds_text(of) if seeds else _NONE),
        (f"validation {board.metric.name}", lambda place, of: score_text(of)),
        (
            "test macro_f1",
            lambda place, of: _NONE if place else with_interval(of.test, comparison.test, of),
        ),
        ("lowest language", lambda place, of: worst_text(of)),
        ("to the best", lambda place, of: difference_text(comparison.differences.get(place))),
        ("time", lambda place, of: _NONE if of.seconds is None else duration(of.seconds)),
        ("USD", lambda place, of: _NONE if of.usd is None else f"{of.usd:.2f}"),
        ("run", lambda place, of: run_text(of)),
    ]


def value_text(value: str | None) -> str:
    """Format a swept value, cut if it is long."""
    return shortened(_NONE if value is None else printable(value), _LONGEST)


def shortened(text: str, most: int) -> str:
    """Cut a text in its first half if it is long: paths of a sweep differ at their ends."""
    if len(text) <= most:
        return text
    start = (most - 3) // 3
    return f"{text[:start]}...{text[start + 3 - most :]}"


def seeds_text(of: Configuration) -> str:
    """Format how many seeds have a score: `3`, or `2 of 3`."""
    done, planned = len(of.scored), len(of.entries)
    return str(done) if done == planned else f"{done} of {planned}"


def score_text(of: Configuration) -> str:
    """Format the mean on validation, with the standard deviation over the seeds."""
    if of.mean is None:
        return _NONE
    return f"{of.mean:.4g}" if of.deviation is None else f"{of.mean:.4g} ± {of.deviation:.2g}"


def with_interval(value: float | None, interval: Interval | None, of: Configuration) -> str:
    """Format a test score with the interval of the comparison, or that of its only run."""
    if value is None:
        return _NONE
    if interval is None and len(of.tests) == 1:
        interval = of.tests[0].interval
    return f"{value:.3f}" + (f" ({interval[0]:.3f}-{interval[1]:.3f})" if interval else "")


def worst_text(of: Configuration) -> str:
    """Format the language with the lowest mean; nothing to tell for a single one."""
    worst = of.worst_language
    if worst is None or len(of.languages) < 2:
        return _NONE
    return f"{printable(worst[0])} {worst[1]:.3f}"


def difference_text(of: Difference | None) -> str:
    """Format a difference with its interval."""
    if of is None:
        return _NONE
    return signed(of.value, of.interval)


def signed(value: float, interval: Interval) -> str:
    """Format a difference and its interval: `+0.012 (+0.006 to +0.018)`."""
    middle, low, high = (f"{round(number, 3) + 0.0:+.3f}" for number in (value, *interval))
    return f"{middle} ({low} to {high})"


def run_text(of: Configuration) -> str:
    """Name the run to take: that with the best validation score."""
    return str(of.best_entry.folder or of.best_entry.name)


def verdict(board: Leaderboard, comparison: Comparison) -> list[str]:
    """Tell who wins on validation, and whether its rows can tell it from the second."""
    if board.best is None:
        return ["nothing has a score yet"] if board.configurations else ["there is no trial"]
    better = "highest" if board.metric.greater_is_better else "lowest"
    mean = "mean " if len(board.best.scored) > 1 else ""
    lines = [f"best: {named(board.best)}, by the {better} {mean}{board.metric.name} on validation"]
    if not board.best.whole:
        lines[0] += f" ({seeds_text(board.best)} runs have a score)"
    if len(board.ranked) < 2:
        return lines
    second = comparison.differences.get(1)
    if second is None:
        lines.append(
            "  not compared with the second row by row: both have to predict the same validation rows"
        )
    else:
        lead = signed(-second.value, (-second.interval[1], -second.interval[0]))
        clear = "clear" if comparison.clear else "not clear"
        lines.append(
            f"  its lead over the second, {named(board.ranked[1])}, is {clear}: {lead} of"
            f" {comparison.score}"
        )
    return [*lines, *_elsewhere(board, comparison)]


def _elsewhere(board: Leaderboard, comparison: Comparison) -> Iterator[str]:
    """Tell of configurations that are ranked by their scores on other rows."""
    names = [named(board.ranked[place]) for place in comparison.elsewhere]
    if names:
        more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        told = "  validated on other rows or classes than the best, so that ranks say nothing"
        yield f"{told}: {', '.join(names[:_NAMED])}{more}"


def named(of: Configuration) -> str:
    """Format what varies as overrides; the run's name where nothing does."""
    texts = [f"{key}={value_text(value)}" for key, value in of.varies.items()]
    return " ".join(texts) or of.entries[0].name


def best_overrides(board: Leaderboard) -> str:
    """Return the overrides that make the winner, for a shell: those of its best repetition.

    What was typed about the sweep and its submit is left out, so that the line starts nothing that is
    billed. ConfigError if nothing has a score yet.
    """
    return " ".join(map(for_shell, _of_job(best_of(board).overrides)))


_OF_LAUNCH = {
    "action", "attempt", "budget", "job_file", "output", "rehearsal", "retry", "runs_dir", "sweep",
}  # fmt: skip


def _of_job(overrides: Sequence[str]) -> list[str]:
    """Select the overrides of the job itself."""
    keys = [one.partition("=")[0].lstrip("+") for one in overrides]
    return [
        one
        for one, key in zip(overrides, keys)
        if key.partition(".")[0] not in _OF_LAUNCH and key != "code"
    ]


def best_of(board: Leaderboard) -> Entry:
    """Return the winner's repetition with the best validation score; ConfigError if nothing has one."""
    if board.best is None:
        states = _counts(board.entries)
        raise ConfigError([Problem(board.name, f"nothing has a score yet: {states or 'no trial'}")])
    return board.best.best_entry


def _counts(entries: Sequence[Entry]) -> str:
    states = [entry.state.value for entry in entries]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


# --- what is not compared -----------------------------------------------------------------------


def _others(board: Leaderboard) -> Iterator[list[str]]:
    """Yield a row for each trial without a final score; one for all that wait."""
    scored = {entry.number for of in board.ranked for entry in of.scored}
    others = [entry for entry in board.entries if entry.number not in scored]
    for entry in others:
        if entry.state is not State.waiting:
            yield [str(entry.number), varies_text(entry), entry.state.value, so_far(entry, board)]
    waiting = [entry.number for entry in others if entry.state is State.waiting]
    if waiting:
        yield [ranges(waiting), "", State.waiting.value, ""]


def varies_text(entry: Entry) -> str:
    """Format what varies as overrides, seed included; the run's name where nothing does."""
    texts = (f"{key}={value_text(value)}" for key, value in entry.varies.items())
    return " ".join(texts) or entry.name


def so_far(entry: Entry, board: Leaderboard) -> str:
    """Tell why a trial has no score, or how far it has come."""
    told = [printable(entry.reason)] if entry.reason else []
    value = entry.value(board.metric)
    if entry.evaluations and value is not None:
        last = entry.evaluations[-1]
        told.append(f"{board.metric.name} {value:.4g} by step {last.step} of {last.total_steps}")
    return "; ".join(told)


# --- for programs -------------------------------------------------------------------------------


def as_csv(board: Leaderboard, comparison: Comparison) -> str:
    """Format a line for each trial, by number: its own scores, then those of its configuration."""
    out = io.StringIO()
    rows = [_flat(row) for row in trials_of(board, comparison)]
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["number"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    varies = row["varies"]
    rest = {key: value for key, value in row.items() if key not in ("varies", "languages")}
    rest = {key: _cell(value) for key, value in rest.items()}
    return {"number": rest.pop("number"), **varies, **rest}


def _cell(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def as_json(board: Leaderboard, comparison: Comparison) -> str:
    """Format the leaderboard as JSON: configurations by rank, each with its trials."""
    return json.dumps(
        {
            "name": board.name,
            "metric": board.metric.name,
            "greater_is_better": board.metric.greater_is_better,
            "best": _of_job(best_of(board).overrides) if board.best else None,
            "clear": comparison.clear,
            "configurations": [
                {
                    **_configuration(place, of, comparison),
                    "trials": [_trial(entry, board) for entry in of.entries],
                }
                for place, of in enumerate(board.configurations)
            ],
            "notes": [*map(str.strip, _elsewhere(board, comparison)), *board.notes],
        },
        indent=2,
        ensure_ascii=False,
    )


def trials_of(board: Leaderboard, comparison: Comparison) -> list[dict[str, Any]]:
    """Return a mapping for each trial, by number, with the figures of its configuration."""
    rows = []
    for place, of in enumerate(board.configurations):
        about = {f"configuration_{k}": v for k, v in _configuration(place, of, comparison).items()}
        about.pop("configuration_varies")
        rows += [{**_trial(entry, board), **about} for entry in of.entries]
    keys = dict.fromkeys(board.keys)
    for row in rows:
        row["varies"] = {**keys, **row["varies"]}
    return sorted(rows, key=lambda row: row["number"])


def _configuration(place: int, of: Configuration, comparison: Comparison) -> dict[str, Any]:
    is_best = place == 0
    low, high = comparison.test if is_best and comparison.test else (None, None)
    to_best = comparison.differences.get(place)
    return {
        "rank": place + 1 if of.scores else None,
        "varies": of.varies,
        "runs": len(of.scored),
        "validation_mean": of.mean,
        "validation_sd": of.deviation,
        "test_macro_f1": of.test if is_best else None,
        "test_low": low,
        "test_high": high,
        "difference": to_best.value if to_best else None,
        "difference_low": to_best.interval[0] if to_best else None,
        "difference_high": to_best.interval[1] if to_best else None,
    }


def _trial(entry: Entry, board: Leaderboard) -> dict[str, Any]:
    test = entry.test if board.best and entry in board.best.entries else None
    languages = languages_in(entry.validation)
    worst = min(languages.items(), key=lambda item: item[1]) if languages else ()
    return {
        "number": entry.number,
        "varies": dict(entry.varies),
        "state": entry.state.value,
        "reason": entry.reason,
        f"validation_{board.metric.name}": entry.value(board.metric),
        "test_macro_f1": test.macro_f1 if test else None,
        "test_low": test.interval[0] if test and test.interval else None,
        "test_high": test.interval[1] if test and test.interval else None,
        "languages": languages or None,
        "lowest_language": worst[0] if worst else None,
        "lowest_language_macro_f1": worst[1] if worst else None,
        "seconds": entry.seconds,
        "usd": entry.usd,
        "run": str(entry.folder or entry.name),
    }


def write_csv(board: Leaderboard, comparison: Comparison) -> Path | None:
    """Write results.csv to the sweep's folder; None for runs without one. ConfigError if it cannot be."""
    if board.folder is None:
        return None
    return write_whole(board.folder / CSV, as_csv(board, comparison))


FORMATS: dict[str, Callable[[Leaderboard, Comparison], str]] = {
    "table": for_terminal,
    "csv": as_csv,
    "json": as_json,
    "markdown": as_markdown,
}
"""Format by name."""


# --- layout -------------------------------------------------------------------------------------


def _narrowed(cells: Cells, width: int) -> tuple[Cells, list[str]]:
    """Leave out columns until the rest fits; also returns their names."""
    left_out = []
    for start in _EXPENDABLE:
        if max(map(len, aligned(cells))) <= width:
            break
        for name in [name for name in cells[0] if name.startswith(start)]:
            place = cells[0].index(name)
            cells = [[*row[:place], *row[place + 1 :]] for row in cells]
            left_out.append(name)
    return cells, left_out


def aligned(cells: Cells, indent: str = "") -> list[str]:
    """Write cells as lines of columns."""
    from lingotune.report.data_statistics import columns

    widths = [max(map(columns, column)) for column in zip(*cells)]
    return [
        (indent + "  ".join(c + " " * (w - columns(c)) for c, w in zip(row, widths))).rstrip()
        for row in cells
    ]


def _markdown(cells: Cells) -> str:
    head, *rows = [[_escaped(cell) for cell in row] for row in cells]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cell: str) -> str:
    for mark in "\\`*_{}[]<>|":
        cell = cell.replace(mark, f"\\{mark}")
    return cell
