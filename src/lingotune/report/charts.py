"""Pictures of a run: confusion, classes, curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lingotune.data.loader.store import Split

# Distinguishable with any colour vision; the order goes from negative to positive.
_COLOURS = ("#d55e00", "#999999", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def draw_confusion(evaluation: Mapping[str, Any], labels: Sequence[str], path: Path) -> None:
    """Confusion matrices as shares of the true class, overall and per language, with counts."""
    import numpy as np

    sections = [("all languages", evaluation["overall"]), *sorted(evaluation["languages"].items())]
    columns = min(4, len(sections))
    rows = -(-len(sections) // columns)
    figure, axes = _figure(rows, columns, (3.1 * columns, 3.2 * rows))
    for axis, (title, score) in zip(axes, sections):
        counts = np.asarray(score["confusion"])
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (i, j), count in np.ndenumerate(counts):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axis.text(
                j,
                i,
                f"{count}\n{shares[i, j]:.0%}",
                ha="center",
                va="center",
                color=colour,
                fontsize=8,
            )
        axis.set_title(f"{title}: accuracy {score['accuracy']:.2f}", fontsize=10)
        axis.set_xticks(range(len(labels)), labels, fontsize=8, rotation=30, ha="right")
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
        axis.set_xlabel("predicted", fontsize=8)
        axis.set_ylabel("true", fontsize=8)
    _save(figure, path, "Confusion matrix of the test split")


def draw_classes(splits: Mapping[str, Split], labels: Sequence[str], path: Path) -> None:
    """Rows of each class per language, one panel a split."""
    figure, axes = _figure(1, len(splits), (4.2 * len(splits), 3.6))
    for axis, (split, rows) in zip(axes, splits.items()):
        languages = list(rows.languages)
        counts = Counter(zip(rows.codes, rows.label.tolist()))
        left = [0] * len(languages)
        for index, label in enumerate(labels):
            values = [counts[language, index] for language in languages]
            axis.barh(
                languages, values, left=left, label=label, color=_COLOURS[index % len(_COLOURS)]
            )
            left = [a + b for a, b in zip(left, values)]
        axis.invert_yaxis()
        axis.set_title(f"{split}: {len(rows)} rows", fontsize=10)
        axis.set_xlabel("rows", fontsize=8)
        axis.tick_params(labelsize=8)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=len(labels))
    _save(figure, path, "Class distribution")


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The loss of training and validation, macro-F1 of validation, the learning rate; along the steps."""
    panels = {
        "loss": {"loss": "training", "eval_loss": "validation"},
        "macro-F1 of validation": {
            "eval_macro_f1": "all languages", "eval_worst_language_macro_f1": "lowest language"
        },
        "learning rate": {"learning_rate": ""},
    }  # fmt: skip
    figure, axes = _figure(1, len(panels), (4.2 * len(panels), 3.2))
    for axis, (title, lines) in zip(axes, panels.items()):
        for place, (key, name) in enumerate(lines.items()):
            points = [(entry["step"], entry[key]) for entry in history if key in entry]
            style = {"color": _COLOURS[2 - 2 * place], "label": name, "linewidth": 1.4}
            marked = "o" if key.startswith("eval_") or len(points) == 1 else ""
            axis.plot(*zip(*points or [((), ())]), marker=marked, markersize=4, **style)
        if any(lines.values()):
            axis.legend(fontsize=8, frameon=False)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
    _save(figure, path, "Learning curves")


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.08)
    return figure, list(axes.flat)


def _save(figure: Any, path: Path, title: str) -> None:
    from matplotlib import pyplot

    for axis in figure.axes:
        if not axis.has_data():
            axis.remove()
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
