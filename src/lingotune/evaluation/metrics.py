"""Scores of a classifier, overall and per language, from its probabilities (numpy).

The label set is fixed: a class that is absent from an evaluation set counts with F1 0 in the macro
mean, as it would for a model that never finds it. Averaging over present classes only would let a
perfect score on two of three classes read 1.0 where 0.667 is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

BINS = 15
"""Of the calibration error: equal widths of confidence (Guo et al. 2017, arXiv:1706.04599)."""
LEVEL = 0.95
"""Of the intervals."""
FEWEST = 10
"""Rows that an interval needs: three that are right would read as certainty, 1.000 to 1.000."""


@dataclass(frozen=True)
class Classes:
    """names: of the classes, by their ids. stars: the rating that each stands for, None where the
    classes are no ratings."""

    names: tuple[str, ...]
    stars: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Predictions:
    """What a model says of rows, and what is true of them; every array has an entry a row.

    true: class ids, int64. probabilities: float64, (rows, classes). languages: codes. stars: the
    rating, float64, NaN where the source has none.
    """

    true: IntArray
    probabilities: FloatArray
    languages: npt.NDArray[np.object_]
    stars: FloatArray

    @property
    def predicted(self) -> IntArray:
        """The likeliest class of each row; int64."""
        likeliest: IntArray = self.probabilities.argmax(axis=1).astype(np.int64)
        return likeliest

    def select(self, rows: npt.NDArray[Any]) -> Predictions:
        """Those of these rows."""
        return Predictions(
            self.true[rows], self.probabilities[rows], self.languages[rows], self.stars[rows]
        )


def probabilities_of(logits: npt.ArrayLike) -> FloatArray:
    """Softmax of each row; (rows, classes)."""
    values = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf
        powers = np.exp(values - values.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    # What a model that has diverged says is nothing.
    shares[~np.isfinite(shares).all(axis=1)] = 1 / values.shape[1]
    return shares


def scores_by_language(
    predictions: Predictions, classes: Classes, resamples: int = 0, seed: int = 0
) -> dict[str, Any]:
    """`{"overall": scores, "languages": {code: scores}, "worst_language": {"code", "macro_f1"}}`.

    resamples: bootstrap samples behind the intervals, which follow from the seed; 0 = no intervals.
    """
    codes = sorted(set(predictions.languages.tolist()))
    languages = {
        code: scores(predictions.select(predictions.languages == code), classes, resamples, seed)
        for code in codes
    }
    return {
        "overall": scores(predictions, classes, resamples, seed),
        "languages": languages,
        "worst_language": worst_language({c: s["macro_f1"] for c, s in languages.items()}),
    }


def worst_language(macro_f1: Mapping[str, float]) -> dict[str, Any] | None:
    """The language with the lowest score, the first by name of several; None where there is none."""
    if not macro_f1:
        return None
    code = min(macro_f1, key=lambda code: (macro_f1[code], code))
    return {"code": code, "macro_f1": macro_f1[code]}


def scores(
    predictions: Predictions, classes: Classes, resamples: int = 0, seed: int = 0
) -> dict[str, Any]:
    """Accuracy, macro-F1, calibration error, per-class precision, recall and F1, confusion matrix.

    Ratios over nothing are 0. `majority` is the accuracy of always naming the commonest class;
    `absent` names the classes without a row. `mean_absolute_error` is in stars, a class standing for
    the mean of its stars: None where rows or classes have none. Intervals are [low, high], of `FEWEST` rows
    or more.
    """
    confusion = confusion_matrix(predictions.true, predictions.predicted, len(classes.names))
    rows, support = int(confusion.sum()), confusion.sum(axis=1)
    precision = _ratio(np.diag(confusion), confusion.sum(axis=0))
    recall = _ratio(np.diag(confusion), support)
    accuracy, f1 = _accuracy(confusion), _f1(confusion)
    found: dict[str, Any] = {
        "rows": rows,
        "accuracy": float(accuracy),
        "macro_f1": float(f1.mean()),
        "majority": float(support.max() / rows) if rows else 0.0,
        "absent": [name for name, count in zip(classes.names, support) if count == 0],
        "calibration_error": calibration_error(predictions),
        "mean_absolute_error": None,
        "classes": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "rows": int(support[i]),
            }
            for i, name in enumerate(classes.names)
        },
        "confusion": confusion.tolist(),
    }
    errors = _errors(predictions, classes)
    if len(errors):
        found["mean_absolute_error"] = float(errors.mean())
    if resamples and rows >= FEWEST:
        drawn = _drawn(confusion.ravel(), resamples, seed).reshape(-1, *confusion.shape)
        found["intervals"] = {
            "accuracy": _interval(_accuracy(drawn)),
            "macro_f1": _interval(_f1(drawn).mean(axis=-1)),
        }
        if len(errors) >= FEWEST:
            sizes, counts = np.unique(errors, return_counts=True)
            means = _drawn(counts, resamples, seed) @ sizes / len(errors)
            found["intervals"]["mean_absolute_error"] = _interval(means)
    return found


def confusion_matrix(true: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Counts, shape (classes, classes): row = true class, column = predicted class."""
    flat = np.bincount(true * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def calibration_error(predictions: Predictions) -> float:
    """The expected calibration error of the likeliest class: how far confidence is from accuracy, as a
    mean over bins of confidence, weighted by their rows; 0 where there are no rows."""
    if not len(predictions.true):
        return 0.0
    confidence = predictions.probabilities.max(axis=1)
    surplus = confidence - (predictions.predicted == predictions.true)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.abs(np.bincount(bins, weights=surplus, minlength=BINS))
    return float(gaps.sum() / len(confidence))


def _accuracy(confusion: npt.NDArray[Any]) -> FloatArray:
    """Of one matrix, or of each; (..., classes, classes) -> (...)."""
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    return _ratio(hits, confusion.sum(axis=(-2, -1)))


def _f1(confusion: npt.NDArray[Any]) -> FloatArray:
    """Of each class: (..., classes, classes) -> (..., classes)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(2 * hits, confusion.sum(axis=-1) + confusion.sum(axis=-2))


def _errors(predictions: Predictions, classes: Classes) -> FloatArray:
    """How many stars a prediction is off, of the rows that have stars."""
    if classes.stars is None:
        return np.zeros(0)
    said = np.asarray(classes.stars)[predictions.predicted]
    off: FloatArray = np.abs(said - predictions.stars)
    return off[~np.isnan(off)]


def _drawn(counts: npt.NDArray[Any], resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Rows drawn with replacement, as many as there are: (resamples, kinds), how many of each kind.

    What is computed from counts of kinds needs no rows: the counts follow a multinomial distribution.
    """
    total = int(counts.sum())
    return np.random.default_rng(seed).multinomial(total, counts / total, size=resamples)


def _interval(values: FloatArray) -> list[float]:
    tail = (1 - LEVEL) / 2
    return [float(value) for value in np.quantile(values, [tail, 1 - tail])]


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> FloatArray:
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    out = np.zeros_like(top)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
