"""Charts of a run as PNG files: confusion, classes, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lingotune.evaluation.breakdown import similar_together
from lingotune.report.data_charts import (
    COLOURS,
    Pen,
    class_distribution,
    class_names,
    inches,
    new_figure,
    write_png,
)
from lingotune.report.data_statistics import RowsByClass, splits_of_rows
from lingotune.report.run_breakdown import MOST_COUNTED
from lingotune.runs.results import LanguageScores


def draw_confusion(scores: LanguageScores, labels: Sequence[str], path: Path) -> None:
    """Draw confusion matrices, overall and per language: counts, and shares of the true class."""
    write_png(partial(_confusion, scores, labels), "Confusion matrix of the test split", path)


def _confusion(scores: LanguageScores, labels: Sequence[str], pen: Pen) -> Any:
    import numpy as np

    counted = len(labels) <= MOST_COUNTED
    order = [*range(len(labels))] if counted else similar_together(scores.overall.confusion)
    names = class_names([labels[place] for place in order], pen)
    sections = [("all languages", scores.overall)]
    if (
        counted
    ):  # a matrix of many classes is for finding the pairs, which the report's table counts
        sections += [
            (pen.name(code, "a language"), of) for code, of in sorted(scores.languages.items())
        ]
    side = max((0.46 if counted else 0.17) * len(labels), 2.2)
    columns = min(4, len(sections))
    width, height = side + inches(names, 8) + 0.5, side + inches(names, 8) + 0.6
    figure, axes = new_figure(columns, height, -(-len(sections) // columns), width)
    for axis, (title, score) in zip(axes, sections):
        counts = np.asarray(score.confusion)[np.ix_(order, order)]
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        # The root makes errors visible that are a few per cent of a class.
        axis.imshow(shares if counted else shares**0.5, cmap="Blues", vmin=0, vmax=1)
        for (i, j), count in np.ndenumerate(counts) if counted else ():
            axis.text(
                j, i, f"{count}\n{shares[i, j]:.0%}", ha="center", va="center", fontsize=8,
                color="white" if shares[i, j] > 0.5 else "black",
            )  # fmt: skip
        axis.set_title(f"{title}: accuracy {score.accuracy:.2f}", fontsize=10)
        turn = {"rotation": 30, "ha": "right"} if counted else {"rotation": 90}
        axis.set_xticks(range(len(names)), names, fontsize=8, **turn)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_xlabel("predicted", fontsize=8)
        axis.set_ylabel("true", fontsize=8)
    for axis in axes[len(sections) :]:
        axis.remove()
    return figure


def draw_classes(
    rows: RowsByClass,
    labels: Sequence[str],
    path: Path,
    totals: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """Draw the share of each class per language, one panel per split, as on the data page.

    totals: rows by split and language, where a row may have several classes.
    """
    splits = splits_of_rows(rows, labels, totals)
    write_png(partial(class_distribution, splits, labels), "Class distribution", path)


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw training and validation loss, validation macro-F1 and the learning rate over the steps."""
    write_png(partial(_curves, history), "Learning curves", path)


def _curves(history: Sequence[Mapping[str, float]], pen: Pen) -> Any:
    panels = {
        "loss": {"loss": "training", "eval_loss": "validation"},
        "validation macro-F1": {
            "eval_macro_f1": "all languages", "eval_worst_language_macro_f1": "lowest language"
        },
        "learning rate": {"learning_rate": ""},
    }  # fmt: skip
    figure, axes = new_figure(len(panels), 3.2, width=4.2)
    for axis, (title, lines) in zip(axes, panels.items()):
        for place, (key, name) in enumerate(lines.items()):
            points = [(entry["step"], entry[key]) for entry in history if key in entry]
            style = {"color": COLOURS[2 - 2 * place], "label": name, "linewidth": 1.4}
            marked = "o" if key.startswith("eval_") or len(points) == 1 else ""
            steps, values = [step for step, _ in points], [value for _, value in points]
            axis.plot(steps, values, marker=marked, markersize=4, **style)
        if any(lines.values()):
            axis.legend(fontsize=8, frameon=False)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        if not axis.has_data():
            axis.remove()
    return figure
