"""Rows whose label is likely wrong, by confident learning (cleanlab; arXiv:1911.00068)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from lingotune.evaluation.metrics import Predictions


@dataclass(frozen=True)
class LabelError:
    """A row whose label is likely wrong. place: its index among the predictions. likely: class id.

    probability, likely_probability: of the class that the label names, and of the likely one.
    """

    place: int
    likely: int
    probability: float
    likely_probability: float


def is_installed() -> bool:
    """Tell whether cleanlab, and scikit-learn that it needs, can be imported."""
    return find_spec("cleanlab") is not None and find_spec("sklearn") is not None


def version() -> str:
    """Return the version of cleanlab."""
    import cleanlab

    return str(cleanlab.__version__)


def find_label_errors(predictions: Predictions) -> list[LabelError]:
    """Find rows whose label is likely wrong, the most suspicious first.

    predictions: of rows that the model was not trained on. Empty where all rows have one class.
    """
    from cleanlab.filter import find_label_issues

    true, given = predictions.true, predictions.probabilities
    present = np.unique(true)
    if len(present) < 2:
        return []
    # It estimates how often each class is given in place of another: those without rows have no part in it.
    shares = given[:, present]
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    found = find_label_issues(
        np.searchsorted(present, true),
        shares,
        return_indices_ranked_by="self_confidence",
        n_jobs=1,  # processes would be forked from a training
    )
    likely = given.argmax(axis=1)
    return [
        LabelError(place, int(likely[place]), float(given[place, true[place]]),
                   float(given[place, likely[place]]))
        for place in np.asarray(found).tolist()
        if likely[place] != true[place]
    ]  # fmt: skip
