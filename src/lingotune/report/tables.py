"""Score tables for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from lingotune.evaluation.score_rows import (
    BASELINE_NOTE,
    INTERVALS_NOTE,
    NONE,
    ON_SCALE_NOTE,
    SETS_NOTE,
    ZERO_SHOT_NOTE,
    error_name,
    own_rows,
    score_rows,
)
from lingotune.runs.results import BaselineScores, Intervals, LanguageScores

_WIDEST = 100
_EXPENDABLE = ("calibration", "majority", "stars off")
"""Columns that are left out, in this order, where the width does not hold all."""


def score_table(
    scores: LanguageScores, width: int | None = None, baseline: BaselineScores | None = None
) -> str:
    """Format the scores overall and per language, with intervals, the majority and a trained baseline.

    Columns without any value are left out, and some where the width in characters does not hold all; notes
    below explain the others. width: None = any.
    """
    header = [
        "", "rows", "accuracy", "micro-F1", "macro-F1", "majority", "calibration", error_name(scores),
        "kappa", "",
    ]  # fmt: skip
    rows = [
        [
            row.name,
            str(row.rows),
            row.accuracy,
            "" if row.micro_f1 == NONE else row.micro_f1,
            row.macro_f1,
            row.majority,
            row.calibration_error.partition(" ")[0],
            *("" if text == NONE else text for text in (row.stars_off, row.kappa)),
            row.remark,
        ]
        for row in score_rows(scores, baseline)
    ]
    last = len(header) - 1
    shown = [n for n in range(last + 1) if n in (0, last) or any(row[n] for row in rows)]
    cells = [header, *rows]
    widths = {n: max(len(row[n]) for row in cells) for n in shown}
    shown, dropped = _fitting(header, shown, widths, width)
    lines = [
        "  ".join(
            row[n].ljust(widths[n]) if n in (0, last) else row[n].rjust(widths[n]) for n in shown
        ).rstrip()
        for row in cells
    ]
    notes = [note for note in _notes(scores, baseline) if note.partition(":")[0] not in dropped]
    if dropped:
        notes.append(f"{', '.join(dropped)}: in the report, and on a wider terminal")
    folded = [piece for note in notes for piece in textwrap.wrap(note, min(width or 999, 999))]
    return "\n".join([*lines, *_own(scores), *(folded if width else notes)])


def _fitting(
    header: list[str], shown: list[int], widths: dict[int, int], width: int | None
) -> tuple[list[int], list[str]]:
    """Leave out columns until the others fit; returns those that stay, and the names of those left out."""
    dropped: list[str] = []
    for name in _EXPENDABLE:
        needed = sum(widths[n] for n in shown) + 2 * (len(shown) - 1)
        if width is not None and needed > width and name in [header[n] for n in shown]:
            shown = [n for n in shown if header[n] != name]
            dropped.append(name)
    return shown, dropped


def _own(scores: LanguageScores) -> list[str]:
    """A line for each of the user's metrics, wrapped: its value on all rows, and of each language."""
    lines = []
    for name, values in own_rows(scores).items():
        line = f"{name}: {', '.join(f'{code} {value}' for code, value in values.items())}"
        lines += textwrap.wrap(line, _WIDEST, subsequent_indent="  ", break_long_words=False)
    return lines


def _notes(scores: LanguageScores, baseline: BaselineScores | None) -> list[str]:
    intervals = scores.overall.intervals
    gap = "confidence and accuracy"
    if scores.overall.several:
        gap = "the probability of a class and its share"
    notes = [f"calibration: mean gap between {gap}{_without_chance(intervals)}"]
    if scores.overall.several:
        notes.insert(0, SETS_NOTE)
    if intervals:
        notes.insert(0, INTERVALS_NOTE)
    if scores.overall.on_scale:
        notes.append(ON_SCALE_NOTE)
    elif scores.overall.mean_absolute_error is not None:
        notes.append(
            "stars off: mean distance from the rating; a class stands for the mean of its stars"
        )
    if scores.zero_shot:
        notes.append(ZERO_SHOT_NOTE)
    if baseline:
        notes.append(f"{baseline.name}: {BASELINE_NOTE}")
    return notes


def _without_chance(intervals: Intervals | None) -> str:
    if intervals is None or intervals.calibration_error is None:
        return ""
    low, high = intervals.calibration_error
    return f"; of all rows, without what chance adds, {low:.3f}-{high:.3f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of texts as columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    )
