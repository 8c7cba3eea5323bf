"""Fitting a decision on the predictions of the validation split (numpy).

Offsets are kept only where they help on rows that they were not fitted on: they are fitted on four fifths
of the rows at a time, and scored on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lingotune.config.schema import Decide, EvaluationConfig
from lingotune.data.rows.scale import Scale
from lingotune.evaluation.decisions import chosen, decided, decision_scores, tempered
from lingotune.evaluation.macro_f1_offsets import macro_f1_of, macro_f1_offsets
from lingotune.evaluation.metrics import FloatArray, IntArray, Predictions
from lingotune.evaluation.multilabel import macro_f1_of_sets
from lingotune.evaluation.temperature import fit_temperature
from lingotune.evaluation.thresholds import threshold_offsets
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
    rows: npt.NDArray[np.bool_] | None = None,
    *,
    scale: Scale | None = None,
) -> FittedDecision:
    """Fit what `evaluation.decide` and `evaluation.calibrate` ask for.

    predictions: of the validation split, as the model was trained. seed: draws the folds. rows: which to
    fit on; None = all. scale: points of ordered classes, for decisions by them. Nothing is fitted on fewer
    than `FEWEST_FITTED` rows; to decide by the scale nothing has to be.
    """
    if rows is not None and not rows.all():
        fitted = fit_decision(predictions.select(rows), labels, wanted, seed, scale=scale)
        every = decided(predictions, fitted.decision, labels)
        classes = every.predicted.copy()
        classes[rows] = fitted.validation.predicted
        return FittedDecision(fitted.decision, replace(every, decided=classes))
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


def _class_rows(true: npt.NDArray[Any]) -> IntArray:
    """Count the rows of each class."""
    return true.sum(axis=0) if true.ndim == 2 else np.bincount(true)


def _named(offsets: FloatArray, labels: Sequence[str]) -> dict[str, float]:
    return dict(zip(labels, np.round(offsets, _DIGITS).tolist()))


def _languages_with_rows(predictions: Predictions) -> dict[str, npt.NDArray[np.bool_]]:
    """Map languages that have enough rows, of each class that they have, to their rows."""
    found = {}
    for code in sorted(set(predictions.languages.tolist())):
        rows = predictions.languages == code
        counts = _class_rows(predictions.true[rows])
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
        several=predictions.several or None,
    )
    return FittedDecision(found, decided(predictions, found, labels))


def _prior_offsets(true: npt.NDArray[Any], classes: int) -> FloatArray:
    """Return offsets that divide by the shares of the classes; 0 for one without rows.

    Where a row may have several classes, the threshold of each becomes its share.
    """
    if true.ndim == 2:
        shares = true.mean(axis=0)
        usual, offsets = (shares > 0) & (shares < 1), np.zeros(classes)
        offsets[usual] = np.log(1 / shares[usual] - 1)
        return offsets
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
    several = some.several
    scores = decision_scores(some.probabilities, several=several) / known.temperature
    folds = [_folds(some, seed + repeat) for repeat in range(_REPEATS)]
    start = _prior_offsets(some.true, len(labels))
    fitted = _cross_fitted(scores, some.true, folds, start)
    offsets, classes = fitted.offsets, fitted.classes
    likeliest = chosen(scores, several=several)
    # The mean of the offsets may do worse than each of them.
    reached = _macro_f1(some.true, chosen(scores + offsets, several=several), len(labels))
    helps = min(fitted.macro_f1, reached) > _macro_f1(some.true, likeliest, len(labels))
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
        several=several or None,
    )
    if some is not predictions:  # the rows that were not drawn are held out as they are
        return FittedDecision(found, decided(predictions, found, labels))
    probabilities = tempered(predictions.probabilities, found.temperature, several=several)
    held_out = replace(predictions, probabilities=probabilities, decided=classes)
    return FittedDecision(found, held_out)


def _folds(predictions: Predictions, seed: int) -> IntArray:
    """Assign rows to folds that are alike in languages and classes: (rows,)."""
    codes = np.unique(predictions.languages.astype(str), return_inverse=True)[1]
    drawn = np.random.default_rng(seed).random(len(codes))
    true, fold = predictions.true, np.empty(len(codes), np.int64)
    if predictions.several:
        true = np.unique(true, axis=0, return_inverse=True)[1].ravel()
    fold[np.lexsort((drawn, codes, true))] = np.arange(len(codes)) % _FOLDS
    return fold


@dataclass(frozen=True)
class _CrossFitted:
    """Offsets, each row's class by offsets that it was no part of, and the mean macro-F1 of these."""

    offsets: FloatArray
    classes: npt.NDArray[Any]
    macro_f1: float


def _cross_fitted(
    scores: FloatArray, true: npt.NDArray[Any], folds: Sequence[IntArray], start: FloatArray
) -> _CrossFitted:
    """Fit offsets without each fold, of each assignment to folds.

    Their mean varies less than any of them. The classes are those of the first assignment.
    """
    several = true.ndim == 2
    fit = threshold_offsets if several else macro_f1_offsets
    found, classes = [], np.empty((len(folds), *true.shape), true.dtype)
    for place, fold in enumerate(folds):
        for one in range(_FOLDS):
            out = fold == one
            offsets = fit(scores[~out], true[~out], start)
            classes[place, out] = chosen(scores[out] + offsets, several=several)
            found.append(offsets)
    reached = [_macro_f1(true, of, scores.shape[1]) for of in classes]
    mean: FloatArray = np.mean(np.array(found), axis=0).round(_DIGITS)
    return _CrossFitted(mean, classes[0], float(np.mean(reached)))


def _macro_f1(true: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: int) -> float:
    if true.ndim == 2:
        return macro_f1_of_sets(true, predicted)
    return macro_f1_of(true, predicted, classes)


def _gains(
    true: npt.NDArray[Any],
    before: npt.NDArray[Any],
    after: npt.NDArray[Any],
    classes: int,
    seed: int,
) -> bool:
    """Tell whether macro-F1 rises by more than `_SURE` standard errors of the paired difference."""
    gain = _macro_f1(true, after, classes) - _macro_f1(true, before, classes)
    draw = np.random.default_rng(seed)
    differences = []
    for _ in range(_RESAMPLES if gain > 0 else 0):
        rows = draw.integers(0, len(true), len(true))
        said = (_macro_f1(true[rows], of[rows], classes) for of in (after, before))
        differences.append(next(said) - next(said))
    return gain > 0 and bool(gain > _SURE * np.std(differences))
