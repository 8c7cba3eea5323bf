"""Fitting a decision on the predictions of the validation split (numpy).

Offsets are kept only where they help on rows that they were not fitted on: they are fitted on four fifths
of the rows at a time, and scored on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lingotune.config.schema import Decide, EvaluationConfig
from lingotune.data.rows.scale import Scale
from lingotune.evaluation.decisions import decided, log_probabilities, tempered
from lingotune.evaluation.macro_f1_offsets import macro_f1_of, macro_f1_offsets
from lingotune.evaluation.metrics import FloatArray, IntArray, Predictions
from lingotune.evaluation.temperature import fit_temperature
from lingotune.runs.decision import AS_TRAINED, Decision

FEWEST_FITTED = 50
"""Minimum number of validation rows for a decision to be fitted."""
FEWEST_OF_LANGUAGE = 200
"""Minimum number of a language's validation rows for offsets of its own."""
FEWEST_OF_CLASS = 20
"""Minimum number of validation rows of each class that a language has, for offsets of its own."""
MOST_FITTED = 1_500_000
"""Number of probabilities, rows times classes, that are fitted on at most; rows are drawn by the seed."""
_FOLDS, _REPEATS = 5, 4
"""Folds, and times that rows are assigned to folds anew: offsets and gains are means over all."""
_DIGITS = 4
"""Decimals of offsets, so that a decision is the same once it has been stored."""
_LEAST_SPREAD = 0.05
"""Standard deviation of log-probabilities below which a model knows nothing: rounding would decide."""
_RESAMPLES = 200
_SURE = 2.0
"""Standard errors by which a language's own offsets have to gain: of many, some gain by chance."""


@dataclass(frozen=True)
class FittedDecision:
    """A decision, and its validation predictions: each by offsets that were fitted on other rows."""

    decision: Decision
    validation: Predictions


def fit_decision(
    predictions: Predictions,
    labels: Sequence[str],
    wanted: EvaluationConfig,
    seed: int,
    *,
    scale: Scale | None = None,
) -> FittedDecision:
    """Fit what `evaluation.decide` and `evaluation.calibrate` ask for.

    predictions: of the validation split, as the model was trained. seed: draws the folds. scale: points of
    ordered classes, for decisions by them. Nothing is fitted on fewer than `FEWEST_FITTED` rows; to decide
    by the scale nothing has to be.
    """
    how = wanted.decide
    by_scale = how in (Decide.expected, Decide.median)
    if len(predictions.true) < FEWEST_FITTED:
        found = Decision(decide=how.value, scale=dict(scale or {})) if by_scale else AS_TRAINED
        return FittedDecision(found, decided(predictions, found, labels))
    some = _drawn(predictions, seed)
    temperature = fit_temperature(some) if wanted.calibrate else 1.0
    as_trained = Decision(decide=Decide.argmax.value, temperature=temperature, rows=len(some.true))
    if temperature == 1:
        as_trained = AS_TRAINED
    if by_scale:
        found = replace(as_trained, decide=how.value, scale=dict(scale or {}))
        return FittedDecision(found, decided(predictions, found, labels))
    if how is Decide.prior:
        return _by_prior(predictions, labels, as_trained)
    if how is Decide.macro_f1:
        return _by_macro_f1(predictions, some, labels, as_trained, seed)
    return FittedDecision(as_trained, decided(predictions, as_trained, labels))


def _drawn(predictions: Predictions, seed: int) -> Predictions:
    rows, classes = predictions.probabilities.shape
    most = MOST_FITTED // classes
    if rows <= most:
        return predictions
    chosen = np.random.default_rng(seed).choice(rows, most, replace=False)
    return predictions.select(np.sort(chosen))


def _named(offsets: FloatArray, labels: Sequence[str]) -> dict[str, float]:
    return dict(zip(labels, np.round(offsets, _DIGITS).tolist()))


def _languages_with_rows(predictions: Predictions) -> dict[str, npt.NDArray[np.bool_]]:
    """Map languages that have enough rows, of each class that they have, to their rows."""
    found = {}
    for code in sorted(set(predictions.languages.tolist())):
        rows = predictions.languages == code
        counts = np.bincount(predictions.true[rows])
        if rows.sum() >= FEWEST_OF_LANGUAGE and counts[counts > 0].min() >= FEWEST_OF_CLASS:
            found[code] = rows
    return found


# --- by the class shares --------------------------------------------------------------------------


def _by_prior(predictions: Predictions, labels: Sequence[str], known: Decision) -> FittedDecision:
    languages = {
        code: _named(_prior_offsets(predictions.true[rows], len(labels)), labels)
        for code, rows in _languages_with_rows(predictions).items()
    }
    found = replace(
        known,
        decide=Decide.prior.value,
        offsets=_named(_prior_offsets(predictions.true, len(labels)), labels),
        languages=languages,
        rows=len(predictions.true),
    )
    return FittedDecision(found, decided(predictions, found, labels))


def _prior_offsets(true: IntArray, classes: int) -> FloatArray:
    """Return offsets that divide by the shares of the classes; 0 for one without rows."""
    counts = np.bincount(true, minlength=classes)
    offsets = -np.log(np.maximum(counts, 1) / len(true))
    offsets -= offsets[counts > 0].mean()
    offsets[counts == 0] = 0
    return offsets


# --- by macro-F1 ----------------------------------------------------------------------------------


def _by_macro_f1(
    predictions: Predictions,
    some: Predictions,
    labels: Sequence[str],
    known: Decision,
    seed: int,
) -> FittedDecision:
    """Fit offsets for all rows, and for languages that gain by some of their own."""
    scores = log_probabilities(some.probabilities) / known.temperature
    folds = [_folds(some, seed + repeat) for repeat in range(_REPEATS)]
    start = _prior_offsets(some.true, len(labels))
    fitted = _cross_fitted(scores, some.true, folds, start)
    offsets, classes = fitted.offsets, fitted.classes
    likeliest = scores.argmax(axis=1)
    # The mean of the offsets may do worse than each of them.
    reached = macro_f1_of(some.true, (scores + offsets).argmax(axis=1), len(labels))
    helps = min(fitted.macro_f1, reached) > macro_f1_of(some.true, likeliest, len(labels))
    if not helps or scores.std(axis=0).max() < _LEAST_SPREAD:
        offsets, classes = np.zeros(len(labels)), likeliest
    languages = {}
    for code, rows in _languages_with_rows(some).items():
        own = _cross_fitted(scores[rows], some.true[rows], [of[rows] for of in folds], offsets)
        if _gains(some.true[rows], classes[rows], own.classes, len(labels), seed):
            languages[code] = _named(own.offsets, labels)
            classes[rows] = own.classes
    if not offsets.any() and not languages:
        return FittedDecision(known, decided(predictions, known, labels))
    found = replace(
        known,
        decide=Decide.macro_f1.value,
        offsets=_named(offsets, labels),
        languages=languages,
        rows=len(some.true),
    )
    if some is not predictions:  # the rows that were not drawn are held out as they are
        return FittedDecision(found, decided(predictions, found, labels))
    probabilities = tempered(predictions.probabilities, found.temperature)
    held_out = replace(predictions, probabilities=probabilities, decided=classes)
    return FittedDecision(found, held_out)


def _folds(predictions: Predictions, seed: int) -> IntArray:
    """Assign rows to folds that are alike in languages and classes: (rows,)."""
    codes = np.unique(predictions.languages.astype(str), return_inverse=True)[1]
    drawn = np.random.default_rng(seed).random(len(codes))
    fold = np.empty(len(codes), np.int64)
    fold[np.lexsort((drawn, codes, predictions.true))] = np.arange(len(codes)) % _FOLDS
    return fold


@dataclass(frozen=True)
class _CrossFitted:
    """Offsets, each row's class by offsets that it was no part of, and the mean macro-F1 of these."""

    offsets: FloatArray
    classes: IntArray
    macro_f1: float


def _cross_fitted(
    scores: FloatArray, true: IntArray, folds: Sequence[IntArray], start: FloatArray
) -> _CrossFitted:
    """Fit offsets without each fold, of each assignment to folds.

    Their mean varies less than any of them. The classes are those of the first assignment.
    """
    found, classes = [], np.empty((len(folds), len(true)), np.int64)
    for place, fold in enumerate(folds):
        for one in range(_FOLDS):
            out = fold == one
            offsets = macro_f1_offsets(scores[~out], true[~out], start)
            classes[place, out] = (scores[out] + offsets).argmax(axis=1)
            found.append(offsets)
    reached = [macro_f1_of(true, of, scores.shape[1]) for of in classes]
    mean: FloatArray = np.mean(np.array(found), axis=0).round(_DIGITS)
    return _CrossFitted(mean, classes[0], float(np.mean(reached)))


def _gains(true: IntArray, before: IntArray, after: IntArray, classes: int, seed: int) -> bool:
    """Tell whether macro-F1 rises by more than `_SURE` standard errors of the paired difference."""
    gain = macro_f1_of(true, after, classes) - macro_f1_of(true, before, classes)
    draw = np.random.default_rng(seed)
    differences = []
    for _ in range(_RESAMPLES if gain > 0 else 0):
        rows = draw.integers(0, len(true), len(true))
        said = (macro_f1_of(true[rows], of[rows], classes) for of in (after, before))
        differences.append(next(said) - next(said))
    return gain > 0 and bool(gain > _SURE * np.std(differences))
