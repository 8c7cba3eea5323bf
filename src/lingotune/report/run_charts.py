"""Charts of a run's page: curves over the steps, and accuracy against confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from lingotune.evaluation.metrics import Predictions
from lingotune.evaluation.multilabel import BINS
from lingotune.report.data_charts import COLOURS, Pen, frame, new_figure, svg

_BLUE, _RED, _GREEN = COLOURS[2], COLOURS[0], COLOURS[3]
Line = tuple[str, str, str]
"""Key in the history, name in the legend, colour."""


def course(history: Sequence[Mapping[str, float]], best_step: int | None) -> list[str]:
    """Draw SVGs of losses, scores, learning rate, speed and padding, as far as the history has them."""
    panels: dict[str, list[Line]] = {
        "Loss": [("loss", "training", _BLUE), ("eval_loss", "validation", _RED)],
        "Validation": [
            ("eval_macro_f1", "macro-F1", _BLUE),
            ("eval_worst_language_macro_f1", "macro-F1, lowest language", _RED),
            ("eval_unseen_macro_f1", "macro-F1, unseen languages", COLOURS[4]),
            ("eval_accuracy", "accuracy", _GREEN),
            ("eval_quadratic_kappa", "quadratic kappa", COLOURS[1]),
            ("eval_micro_f1", "micro-F1", COLOURS[4]),
        ],
        "Validation, mean absolute error": [("eval_mean_absolute_error", "", _BLUE)],
        "Learning rate": [("learning_rate", "", _BLUE)],
        "Training samples per second": [("samples_per_second", "", _BLUE)],
        "Share of padding": [("padding", "", _BLUE)],
    }
    drawn = []
    for title, lines in panels.items():
        known = [line for line in lines if any(line[0] in entry for entry in history)]
        if known:
            best = best_step if title in ("Loss", "Validation") else None
            drawn.append(svg(partial(_course, history, title, known, best), title))
    return drawn


def _course(
    history: Sequence[Mapping[str, float]],
    title: str,
    lines: Sequence[Line],
    best: int | None,
    pen: Pen,
) -> Any:
    figure, (axis,) = new_figure(1, 2.9)
    for key, name, colour in lines:
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        few = "o" if len(points) < 25 else ""
        axis.plot(
            *zip(*points), color=colour, linewidth=1.5, marker=few, markersize=3.5, label=name
        )
    if best is not None:
        axis.axvline(best, color=pen.ink, linewidth=0.8, linestyle=":", label="best checkpoint")
    if any(name for _, name, _ in lines):
        axis.legend(fontsize=8, frameon=False, labelcolor=pen.ink)
    if title not in ("Loss", "Validation", "Learning rate"):
        axis.set_ylim(bottom=0)
    axis.set_xlabel("step", fontsize=8, color=pen.ink)
    _finish(axis, title, pen)
    return figure


def reliability(predictions: Predictions) -> str:
    """Draw an SVG of the accuracy among predictions of similar confidence; where rows may have several
    classes, of how often a class is there among those of similar probability."""
    if predictions.several:
        said, true = predictions.probabilities.ravel(), predictions.true.ravel()
        bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        hits = np.bincount(bins, weights=true, minlength=BINS)
        names = ("Probability against share", "probability of a class", "share that has it")
        return svg(partial(_reliability, counts, hits, names), names[0])
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.likeliest_is_true
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    hits = np.bincount(bins, weights=right, minlength=BINS)
    names = ("Confidence against accuracy", "confidence", "accuracy")
    return svg(partial(_reliability, counts, hits, names), names[0])


def _reliability(counts: Any, hits: Any, names: tuple[str, str, str], pen: Pen) -> Any:
    title, across, upwards = names
    figure, (axis,) = new_figure(1, 3.3)
    places = (np.arange(BINS) + 0.5) / BINS
    seen = counts > 0
    axis.plot([0, 1], [0, 1], color=pen.ink, linewidth=0.8, linestyle=":")
    shares = hits[seen] / counts[seen]
    axis.bar(places[seen], shares, 0.9 / BINS, color=_BLUE, alpha=0.85)
    for place, share, count in zip(places[seen], shares, counts[seen]):
        axis.text(place, share + 0.02, f"{count}", ha="center", fontsize=6, color=pen.ink)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.08)
    axis.set_xlabel(f"{across} (number of rows above each bar)", fontsize=8, color=pen.ink)
    axis.set_ylabel(upwards, fontsize=8, color=pen.ink)
    _finish(axis, title, pen)
    return figure


def _finish(axis: Any, title: str, pen: Pen) -> None:
    frame(axis, title, pen)
    axis.tick_params(labelsize=8)
    axis.spines[["left"]].set_visible(True)
    axis.spines["left"].set_color(pen.ink)
