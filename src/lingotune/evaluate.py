"""Scores of a classifier, overall and per language, from counts alone (numpy).

The label set is fixed: a class that is absent from an evaluation set counts with F1 0 in the macro
mean, as it would for a model that never finds it. Averaging over present classes only would let a
perfect score on two of three classes read 1.0 where 0.667 is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def confusion_matrix(true: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Counts, shape (classes, classes): row = true class, column = predicted class."""
    flat = np.bincount(true * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def scores(confusion: IntArray, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1, per-class precision, recall and F1 of a confusion matrix.

    Ratios over nothing are 0. `majority` is the accuracy of always naming the commonest class;
    `absent` names the classes without a row.
    """
    rows = int(confusion.sum())
    hits, support = np.diag(confusion), confusion.sum(axis=1)
    precision = _ratio(hits, confusion.sum(axis=0))
    recall = _ratio(hits, support)
    f1 = _ratio(2 * precision * recall, precision + recall)
    return {
        "rows": rows,
        "accuracy": float(hits.sum() / rows) if rows else 0.0,
        "macro_f1": float(f1.mean()),
        "majority": float(support.max() / rows) if rows else 0.0,
        "absent": [label for label, count in zip(labels, support) if count == 0],
        "classes": {
            label: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "rows": int(support[i]),
            }
            for i, label in enumerate(labels)
        },
        "confusion": confusion.tolist(),
    }


def scores_by_language(
    true: IntArray, predicted: IntArray, languages: Sequence[str], labels: Sequence[str]
) -> dict[str, Any]:
    """`{"overall": scores, "languages": {code: scores}}`; all three arrays are in row order."""
    codes = np.asarray(languages)
    return {
        "overall": scores(confusion_matrix(true, predicted, len(labels)), labels),
        "languages": {
            str(code): scores(
                confusion_matrix(true[codes == code], predicted[codes == code], len(labels)), labels
            )
            for code in np.unique(codes)
        },
    }


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> npt.NDArray[np.float64]:
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    out = np.zeros_like(top)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
