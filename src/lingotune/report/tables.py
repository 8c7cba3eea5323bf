"""What a run looks like: the table in the terminal and the pictures in the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lingotune.evaluation.metrics import FEWEST


def score_table(evaluation: Mapping[str, Any]) -> str:
    """The scores overall and per language, with their intervals, beside the majority baseline."""
    sections = [("all", evaluation["overall"]), *sorted(evaluation["languages"].items())]
    columns = ["", "rows", "accuracy", "macro-F1", "majority", "calibration", "stars off", ""]
    cells = [columns, *(_score_cells(name, score) for name, score in sections)]
    worst = evaluation["worst_language"]
    if worst and len(sections) > 2:
        marked = cells[1 + [name for name, _ in sections].index(worst["code"], 1)]
        marked[-1] = ", ".join(filter(None, ["lowest", marked[-1]]))
    shown = [n for n in range(len(columns)) if n in (0, len(columns) - 1) or _has(cells, n)]
    widths = [max(len(row[n]) for row in cells) for n in shown]
    lines = [
        "  ".join(
            row[n].ljust(width) if n in (0, len(columns) - 1) else row[n].rjust(width)
            for n, width in zip(shown, widths)
        ).rstrip()
        for row in cells
    ]
    notes = ["calibration: how far confidence is from accuracy, on average"]
    if "intervals" in evaluation["overall"]:
        notes.insert(0, f"in brackets: 95 % intervals, from rows drawn anew, of {FEWEST} or more")
    if evaluation["overall"]["mean_absolute_error"] is not None:
        notes.append("stars off: from the rating, a class standing for the mean of its stars")
    return "\n".join([*lines, *notes])


def _score_cells(name: str, score: Mapping[str, Any]) -> list[str]:
    intervals = score.get("intervals", {})

    def told(key: str) -> str:
        value, between = score[key], intervals.get(key)
        if value is None:
            return ""
        return f"{value:.3f}" + (f" ({between[0]:.3f}-{between[1]:.3f})" if between else "")

    absent = f"no {', '.join(score['absent'])}" if score["absent"] else ""
    return [
        name,
        str(score["rows"]),
        told("accuracy"),
        told("macro_f1"),
        f"{score['majority']:.3f}",
        f"{score['calibration_error']:.3f}",
        told("mean_absolute_error"),
        absent,
    ]


def _has(cells: Sequence[Sequence[str]], column: int) -> bool:
    return any(row[column] for row in cells[1:])


def sweep_table(results: Sequence[tuple[str, Mapping[str, Any], Path]]) -> str:
    """One line a run: its overrides, its scores, its folder; the best macro-F1 is marked."""
    best = max(result["test"]["overall"]["macro_f1"] for _, result, _ in results)
    width = max(len("overrides"), *(len(overrides) for overrides, _, _ in results))
    lines = [f"{'overrides':{width}}  accuracy  macro-F1    run"]
    for overrides, result, folder in results:
        score = result["test"]["overall"]
        mark = "*" if score["macro_f1"] == best else " "
        lines.append(
            f"{overrides:{width}}  {score['accuracy']:8.3f}  {score['macro_f1']:8.3f} {mark}  {folder}"
        )
    return "\n".join(lines)
