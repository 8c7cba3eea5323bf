"""Scores of a classifier, overall and per language, from its probabilities (numpy).

The label set is fixed: a class that is absent from an evaluation set counts as F1 0 in the macro mean,
as for a model that never finds it. Averaging over present classes only would report 1.0 for a perfect
score on two of three classes, where 0.667 is right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lingotune.config.schema import DataConfig
from lingotune.data.rows.labels import class_stars
from lingotune.data.rows.scale import Scale, scale_of
from lingotune.evaluation.bootstrap import FEWEST, drawn, interval, macro_f1, ratio
from lingotune.evaluation.multilabel import (
    BINS,
    calibration_gap,
    multilabel_scores,
    paired_loss_of_sets,
)
from lingotune.runs.results import (
    ClassScores,
    Interval,
    Intervals,
    LanguageScores,
    Scores,
    WorstLanguage,
    ZeroShot,
)

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_KINDS = 20 * BINS
"""Confidences that are told apart where rows are drawn anew for the calibration error."""


@dataclass(frozen=True)
class Classes:
    """Class names in the order of their ids, and the rating that each class stands for.

    stars: None if the classes are not ratings. scale: points of ordered classes; None of others.
    """

    names: tuple[str, ...]
    stars: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None


def classes_of(
    data: DataConfig, names: Sequence[str] | None = None, scale: Scale | None = None
) -> Classes:
    """Describe the classes of some data.

    names: those of a model, in the order of `data.labels`. scale: points by name. None = those of the data.
    """
    known = tuple(names or (label.name for label in data.labels))
    points = scale or scale_of(data)
    scaled = tuple(points[name] for name in known) if points else None
    return Classes(known, class_stars(data.labels), scaled)


@dataclass(frozen=True)
class Predictions:
    """Predictions and true classes of rows; every array has one entry per row.

    true: class ids, int64; where a row may have several classes, whether it has each, bool, (rows,
    classes). probabilities: float64, (rows, classes). languages: codes, object. stars: ratings, float64,
    NaN for rows without one. decided: as true, where a decision chose others than the likeliest; None = the
    likeliest, or those above 0.5 where there may be several. sources: where rows come from, object, None in
    it for rows without one; None where nothing is known of it.
    """

    true: npt.NDArray[Any]
    probabilities: FloatArray
    languages: npt.NDArray[np.object_]
    stars: FloatArray
    decided: npt.NDArray[Any] | None = None
    sources: npt.NDArray[np.object_] | None = None

    @property
    def several(self) -> bool:
        """Whether a row may have several classes."""
        return self.true.ndim == 2

    @property
    def predicted(self) -> npt.NDArray[Any]:
        """Ids of the predicted class of each row, int64, or whether it is given each, bool."""
        if self.decided is not None:
            return self.decided
        if self.several:
            return self.probabilities > 0.5
        likeliest: IntArray = self.probabilities.argmax(axis=1).astype(np.int64)
        return likeliest

    @property
    def likeliest_is_true(self) -> npt.NDArray[np.bool_]:
        """Whether the likeliest class of each row, which need not be the predicted one, is the true one."""
        found: npt.NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.true
        return found

    @property
    def confidence(self) -> FloatArray:
        """Probability of the predicted class of each row."""
        said: FloatArray = np.take_along_axis(self.probabilities, self.predicted[:, None], axis=1)
        return said[:, 0]

    def select(self, rows: npt.NDArray[Any]) -> Predictions:
        """Return the predictions of these rows, given by index or mask."""
        return Predictions(
            self.true[rows],
            self.probabilities[rows],
            self.languages[rows],
            self.stars[rows],
            None if self.decided is None else self.decided[rows],
            None if self.sources is None else self.sources[rows],
        )


def probabilities_of(logits: npt.ArrayLike, *, several: bool = False) -> FloatArray:
    """Apply softmax to each row of (rows, classes); rows that are not finite become uniform.

    several: a row may have several classes, so that each has a probability of its own, the sigmoid.
    """
    values = np.asarray(logits, np.float64)
    if several:
        own: FloatArray = 0.5 * (1 + np.tanh(0.5 * np.nan_to_num(values)))
        return own
    with np.errstate(invalid="ignore"):  # inf - inf
        powers = np.exp(values - values.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    # A model that has diverged knows nothing, so all classes are equally likely.
    shares[~np.isfinite(shares).all(axis=1)] = 1 / values.shape[1]
    return shares


def scores_by_language(
    predictions: Predictions,
    classes: Classes,
    resamples: int = 0,
    seed: int = 0,
    trained: Collection[str] | None = None,
) -> LanguageScores:
    """Score all rows, the rows of each language, and together those of languages that were not trained on.

    resamples: number of bootstrap samples for the intervals, drawn with the seed; 0 = no intervals.
    trained: codes of the languages that were trained on; None = all.
    """
    codes = sorted(set(predictions.languages.tolist()))
    languages = {
        code: scores(predictions.select(predictions.languages == code), classes, resamples, seed)
        for code in codes
    }
    return LanguageScores(
        overall=scores(predictions, classes, resamples, seed),
        languages=languages,
        worst_language=_worst_language({code: of.macro_f1 for code, of in languages.items()}),
        zero_shot=_zero_shot(predictions, classes, resamples, seed, trained),
    )


def _zero_shot(
    predictions: Predictions,
    classes: Classes,
    resamples: int,
    seed: int,
    trained: Collection[str] | None,
) -> ZeroShot | None:
    """Score the rows in languages that were trained on, and the others; None if there are no others."""
    if trained is None or (seen := in_languages(predictions, trained)).all():
        return None
    return ZeroShot(
        languages=tuple(sorted(set(predictions.languages[~seen].tolist()))),
        seen=scores(predictions.select(seen), classes, resamples, seed) if seen.any() else None,
        unseen=scores(predictions.select(~seen), classes, resamples, seed),
    )


def in_languages(predictions: Predictions, codes: Collection[str]) -> npt.NDArray[np.bool_]:
    """Tell of each row whether it is in one of the languages."""
    return np.isin(predictions.languages.astype(str), [*codes])


def _worst_language(macro_f1: Mapping[str, float]) -> WorstLanguage | None:
    """Find the language with the lowest score; among equals the first by code."""
    if not macro_f1:
        return None
    code = min(macro_f1, key=lambda code: (macro_f1[code], code))
    return WorstLanguage(code=code, macro_f1=macro_f1[code])


def scores(predictions: Predictions, classes: Classes, resamples: int = 0, seed: int = 0) -> Scores:
    """Score predictions: accuracy, macro-F1, calibration, each class, the confusion matrix.

    Ratios with a zero denominator are 0. `mean_absolute_error` is in stars, a class counts as the mean of
    its stars; of ordered classes it is the distance on their scale. Intervals need at least `FEWEST` rows.
    Rows that may have several classes: see `multilabel_scores`.
    """
    if predictions.several:
        found = predictions.true, predictions.predicted, predictions.probabilities
        return multilabel_scores(*found, classes.names, resamples, seed)
    confusion = confusion_matrix(predictions.true, predictions.predicted, len(classes.names))
    rows, support = int(confusion.sum()), confusion.sum(axis=1)
    precision = ratio(np.diag(confusion), confusion.sum(axis=0))
    recall = ratio(np.diag(confusion), support)
    f1 = _f1(confusion)
    errors = _errors(predictions, classes)
    return Scores(
        rows=rows,
        accuracy=float(_accuracy(confusion)),
        macro_f1=float(f1.mean()),
        majority=float(support.max() / rows) if rows else 0.0,
        absent=tuple(name for name, count in zip(classes.names, support) if count == 0),
        calibration_error=calibration_error(predictions),
        mean_absolute_error=float(errors.mean()) if len(errors) else None,
        quadratic_kappa=float(quadratic_kappa(confusion)) if classes.scale else None,
        classes={
            name: ClassScores(
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                rows=int(support[i]),
            )
            for i, name in enumerate(classes.names)
        },
        confusion=tuple(map(tuple, confusion.tolist())),
        intervals=_intervals(predictions, classes, confusion, errors, resamples, seed)
        if rows >= FEWEST
        else None,
    )


def _intervals(
    predictions: Predictions,
    classes: Classes,
    confusion: IntArray,
    errors: FloatArray,
    resamples: int,
    seed: int,
) -> Intervals | None:
    """Bootstrap the scores that have intervals."""
    if not resamples:
        return None
    number = len(confusion)
    cells, counts = _kinds(predictions.true * number + predictions.predicted, number**2)
    sample, pairs = drawn(counts, resamples, seed), np.divmod(cells, number)
    mean_error = None
    if len(errors) >= FEWEST:
        sizes, counts = np.unique(errors, return_counts=True)
        mean_error = interval(drawn(counts, resamples, seed) @ sizes / len(errors))
    return Intervals(
        accuracy=interval(ratio(sample[:, pairs[0] == pairs[1]].sum(axis=1), confusion.sum())),
        macro_f1=interval(_drawn_macro_f1(sample, *pairs, _f1(confusion))),
        mean_absolute_error=mean_error,
        calibration_error=_calibration_interval(predictions, resamples, seed),
        quadratic_kappa=interval(_drawn_kappa(sample, cells, number)) if classes.scale else None,
    )


def _kinds(of_rows: IntArray, number: int) -> tuple[IntArray, IntArray]:
    """Find which of so many kinds of rows there are, and how many of each: of many classes few pairs occur.

    The last kind is among them even without rows, so that a seed draws what it draws of all kinds.
    """
    kinds, counts = np.unique(np.append(of_rows, number - 1), return_counts=True)
    counts[-1] -= 1
    return kinds, counts


def _drawn_macro_f1(
    sample: IntArray, true: IntArray, said: IntArray, whole: FloatArray
) -> FloatArray:
    """Compute macro-F1 of each draw: (draws, kinds) -> (draws).

    true, said: classes of each kind of rows. whole: F1 of each class on all rows, (classes,).
    """
    rows, f1 = _rows_and_f1(sample, true, said, len(whole))
    return macro_f1(f1, rows, whole)


def _rows_and_f1(
    sample: IntArray, true: IntArray, said: IntArray, classes: int
) -> tuple[FloatArray, FloatArray]:
    """Compute the rows of each class, and its F1: (draws, kinds) -> twice (draws, classes)."""
    members = np.eye(classes)
    rows, named = sample @ members[true], sample @ members[said]
    hits = (sample * (true == said)) @ members[true]
    return rows, ratio(2 * hits, rows + named)


def _drawn_kappa(sample: IntArray, cells: IntArray, classes: int) -> FloatArray:
    """Compute the kappa of each draw: (draws, cells of the confusion matrix) -> (draws)."""
    confusion = np.zeros((len(sample), classes * classes), np.int64)
    confusion[:, cells] = sample
    return quadratic_kappa(confusion.reshape(-1, classes, classes))


def paired_loss(
    first: Predictions, second: Predictions, classes: int, resamples: int = 1000, seed: int = 0
) -> tuple[float, Interval]:
    """Compute what macro-F1 loses from the first to the second predictions of the same rows.

    Returns the loss and its interval, which covers the rows: each sample draws them for both.
    """
    if first.several:
        found = first.true, first.predicted, second.predicted
        return paired_loss_of_sets(*found, resamples, seed)
    flat = (first.true * classes + first.predicted) * classes + second.predicted
    kinds, counts = _kinds(flat, classes**3)
    pairs, after = np.divmod(kinds, classes)
    true, before = np.divmod(pairs, classes)
    whole = [_rows_and_f1(counts[None], true, said, classes)[1][0] for said in (before, after)]
    sample = drawn(counts, resamples, seed)
    ours, theirs = (
        _drawn_macro_f1(sample, true, said, of) for said, of in zip((before, after), whole)
    )
    return float(whole[0].mean() - whole[1].mean()), interval(ours - theirs)


def _calibration_interval(predictions: Predictions, resamples: int, seed: int) -> Interval:
    """Bootstrap the calibration error, without the part that chance adds to it.

    Even the error of perfect probabilities is above 0 on a finite number of rows, and that of rows drawn
    anew is higher by as much again. So the interval is the basic one, which the excess is taken out of: it
    may lie below the error itself.
    """
    surest = predictions.probabilities.max(axis=1)
    kinds = (surest * _KINDS).astype(np.int64).clip(0, _KINDS - 1)
    counts = np.bincount(kinds, minlength=_KINDS)
    hits = np.bincount(kinds[predictions.likeliest_is_true], minlength=_KINDS)
    confidence = ratio(np.bincount(kinds, surest, _KINDS), counts)
    sample = drawn(np.concatenate([hits, counts - hits]), resamples, seed)
    right, wrong = sample[:, :_KINDS], sample[:, _KINDS:]
    surplus = confidence * (right + wrong) - right
    gaps = np.abs(surplus.reshape(resamples, BINS, -1).sum(axis=2)).sum(axis=1)
    error = calibration_error(predictions)
    low, high = interval(gaps / len(kinds))
    # A saved model gives the same probabilities up to rounding; its interval is the same.
    return max(0.0, round(2 * error - high, 4)), max(0.0, round(2 * error - low, 4))


def confusion_matrix(true: IntArray, predicted: IntArray, classes: int) -> IntArray:
    """Count pairs of classes, (classes, classes): row = true class, column = predicted class."""
    flat = np.bincount(true * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def calibration_error(predictions: Predictions) -> float:
    """Compute the expected calibration error of the likeliest class; 0 without rows.

    It is the gap between confidence and accuracy, averaged over bins of confidence weighted by their rows.
    """
    if not len(predictions.true):
        return 0.0
    return calibration_gap(predictions.likeliest_is_true, predictions.probabilities.max(axis=1))


def _accuracy(confusion: npt.NDArray[Any]) -> FloatArray:
    """Compute the accuracy of each matrix: (..., classes, classes) -> (...)."""
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    return ratio(hits, confusion.sum(axis=(-2, -1)))


def _f1(confusion: npt.NDArray[Any]) -> FloatArray:
    """Compute F1 of each class: (..., classes, classes) -> (..., classes)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return ratio(2 * hits, confusion.sum(axis=-1) + confusion.sum(axis=-2))


def quadratic_kappa(confusion: npt.NDArray[Any]) -> FloatArray:
    """Compute Cohen's kappa with quadratic weights of each matrix: (..., classes, classes) -> (...).

    Classes are apart by their places (Cohen 1968). 0 where all rows are of one class, and named so.
    """
    place = np.arange(confusion.shape[-1])
    weights = np.square(place[:, None] - place)
    rows = confusion.sum(axis=(-2, -1))
    by_chance = confusion.sum(axis=-1)[..., :, None] * confusion.sum(axis=-2)[..., None, :]
    observed = rows * (weights * confusion).sum(axis=(-2, -1))
    expected = (weights * by_chance).sum(axis=(-2, -1))
    return np.asarray(np.where(expected > 0, 1 - ratio(observed, expected), 0.0))


def _errors(predictions: Predictions, classes: Classes) -> FloatArray:
    """Compute the distances between predicted and true points of ordered classes, or between predicted and
    true stars, for the rows that have stars."""
    if classes.scale is not None:
        points = np.asarray(classes.scale)
        apart: FloatArray = np.abs(points[predictions.predicted] - points[predictions.true])
        return apart
    if classes.stars is None:
        return np.zeros(0)
    said = np.asarray(classes.stars)[predictions.predicted]
    off: FloatArray = np.abs(said - predictions.stars)
    return off[~np.isnan(off)]
