"""The temperature that makes probabilities as sure as they are right (Guo et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lingotune.evaluation.decisions import decision_scores
from lingotune.evaluation.metrics import FloatArray, Predictions

_LOWEST, _HIGHEST = 0.1, 10.0
_STEPS = 40
"""Golden-section steps: each narrows the range to .618 of it."""
_LEAST_GAIN = 1e-4
"""A temperature that lowers the mean loss by less is left at 1."""


def fit_temperature(predictions: Predictions) -> float:
    """Find the temperature with the lowest mean negative log-likelihood of the true classes.

    Returns 1.0 where no other one is better, as for predictions that are all alike.
    """
    several = predictions.several
    logs, true = decision_scores(predictions.probabilities, several=several), predictions.true
    low, high = np.log(_LOWEST), np.log(_HIGHEST)
    golden = (5**0.5 - 1) / 2
    for _ in range(_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if _loss(logs, true, np.exp(left)) < _loss(logs, true, np.exp(right)):
            high = right
        else:
            low = left
    found = round(float(np.exp((low + high) / 2)), 4)
    return found if _loss(logs, true, found) < _loss(logs, true, 1.0) - _LEAST_GAIN else 1.0


def _loss(logs: FloatArray, true: npt.NDArray[Any], temperature: float) -> float:
    scaled = logs / temperature
    if true.ndim == 2:  # log-odds, of which each class has its own
        return float(np.logaddexp(0, np.where(true, -scaled, scaled)).mean())
    top = scaled.max(axis=1)
    total = np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top
    return float((total - scaled[np.arange(len(true)), true]).mean())
