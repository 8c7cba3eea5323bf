"""Classes and probabilities by a decision that was fitted on validation (numpy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lingotune.config.schema import Decide
from lingotune.evaluation.metrics import FloatArray, IntArray, Predictions, probabilities_of
from lingotune.runs.decision import AS_TRAINED, Decision

_ROUNDING = 1e-9
_LEAST = 1e-300
"""Probabilities below are raised to it: a logarithm is needed of each."""


def log_probabilities(probabilities: FloatArray) -> FloatArray:
    """Return finite logarithms of probabilities."""
    logs: FloatArray = np.log(np.maximum(probabilities, _LEAST))
    return logs


def decision_scores(probabilities: FloatArray, *, several: bool) -> FloatArray:
    """Return what offsets are added to: log-probabilities, or log-odds where rows may have several
    classes."""
    if not several:
        return log_probabilities(probabilities)
    odds: FloatArray = log_probabilities(probabilities) - log_probabilities(1 - probabilities)
    return odds


def tempered(probabilities: FloatArray, temperature: float, *, several: bool = False) -> FloatArray:
    """Rescale (rows, classes) probabilities: a temperature above 1 makes them less sure."""
    if temperature == 1:
        return probabilities
    scores = decision_scores(probabilities, several=several)
    return probabilities_of(scores / temperature, several=several)


def offsets_by_row(
    decision: Decision, languages: npt.NDArray[np.object_], labels: Sequence[str]
) -> FloatArray:
    """Return the offsets of each row by its language: (rows, classes)."""
    codes, places = np.unique(languages.astype(str), return_inverse=True)
    known = [decision.offsets_of(code, labels) for code in codes.tolist()]
    return np.array(known, np.float64).reshape(-1, len(labels))[places]


def chosen(scores: FloatArray, *, several: bool) -> npt.NDArray[Any]:
    """Return the class id with the highest score of each row, int64, or whether each score is above 0."""
    return scores > 0 if several else scores.argmax(axis=1).astype(np.int64)


def decide(
    probabilities: FloatArray,
    languages: npt.NDArray[np.object_],
    decision: Decision,
    labels: Sequence[str],
    *,
    several: bool = False,
) -> tuple[FloatArray, npt.NDArray[Any]]:
    """Apply a decision to the probabilities of a model as it was trained.

    languages: codes by row; those that the decision does not know, such as "", have the offsets of all.
    Returns the probabilities after the temperature, and the decided classes: ids, int64, or where a text
    may have several whether it has each, bool, (rows, classes).
    """
    scaled = tempered(probabilities, decision.temperature, several=several)
    if decision.scale is not None:
        points = np.array([decision.scale[label] for label in labels])
        return scaled, _BY_SCALE[decision.decide](scaled, points)
    if not decision.shifts:
        return scaled, chosen(scaled - 0.5, several=several)
    scores = decision_scores(probabilities, several=several) / decision.temperature
    offsets = offsets_by_row(decision, languages, labels)
    return scaled, chosen(scores + offsets, several=several)


def expected_values(probabilities: FloatArray, points: npt.ArrayLike) -> FloatArray:
    """Return the expected point of each row on the scale of its classes: (rows, classes) -> (rows,)."""
    means: FloatArray = probabilities @ np.asarray(points, np.float64)
    return means


def _nearest_to_expected(probabilities: FloatArray, points: FloatArray) -> IntArray:
    apart = np.abs(expected_values(probabilities, points)[:, None] - points)
    nearest: IntArray = apart.argmin(axis=1).astype(np.int64)
    return nearest


def _medians(probabilities: FloatArray, points: FloatArray) -> IntArray:
    """Return the first class of each row that half of the probability is at or below."""
    order = np.argsort(points)
    reached = probabilities[:, order].cumsum(axis=1) >= 0.5 - _ROUNDING
    medians: IntArray = order[reached.argmax(axis=1)].astype(np.int64)
    return medians


_BY_SCALE = {Decide.expected.value: _nearest_to_expected, Decide.median.value: _medians}


def decided(predictions: Predictions, decision: Decision, labels: Sequence[str]) -> Predictions:
    """Apply a decision to the predictions of a model as it was trained."""
    if decision == AS_TRAINED:
        return predictions
    given = predictions.probabilities, predictions.languages
    probabilities, classes = decide(*given, decision, labels, several=predictions.several)
    changed = classes if decision.shifts else None
    return replace(predictions, probabilities=probabilities, decided=changed)
