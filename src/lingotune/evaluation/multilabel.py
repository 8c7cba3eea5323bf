"""Scores where a text may have several classes, or none: a decision for every class of every text (numpy).

Accuracy is that of whole texts (subset accuracy): all classes right, and none besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lingotune.evaluation.bootstrap import FEWEST, drawn, interval, macro_f1, ratio
from lingotune.runs.results import ClassScores, Interval, Intervals, Scores

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

BINS = 15
"""Bins of the calibration error, of equal width in probability (Guo et al. 2017, arXiv:1706.04599)."""
_CELLS = 4_000_000
"""Counts of drawn rows that are held at a time."""


def multilabel_scores(
    true: BoolArray,
    predicted: BoolArray,
    probabilities: FloatArray,
    names: Sequence[str],
    resamples: int,
    seed: int,
) -> Scores:
    """Score which classes rows were given; all arrays are (rows, classes).

    Ratios with a zero denominator are 0. majority: accuracy of always giving the most frequent set of
    classes. calibration_error: gap between the probability of a class and its share, over bins of it.
    """
    rows, support, said = len(true), true.sum(axis=0), predicted.sum(axis=0)
    hits = (true & predicted).sum(axis=0)
    precision, recall, f1 = ratio(hits, said), ratio(hits, support), ratio(2 * hits, said + support)
    most = np.unique(true, axis=0, return_counts=True)[1].max() if rows else 0
    return Scores(
        rows=rows,
        accuracy=float((true == predicted).all(axis=1).mean()) if rows else 0.0,
        micro_f1=float(ratio(2 * hits.sum(), said.sum() + support.sum())),
        macro_f1=float(f1.mean()),
        majority=float(most / rows) if rows else 0.0,
        absent=tuple(name for name, count in zip(names, support) if count == 0),
        calibration_error=calibration_gap(true, probabilities),
        mean_absolute_error=None,
        classes={
            name: ClassScores(
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                rows=int(support[i]),
                predicted=int(said[i]),
            )
            for i, name in enumerate(names)
        },
        confusion=(),
        intervals=_intervals(true, predicted, resamples, seed)
        if resamples and rows >= FEWEST
        else None,
    )


def macro_f1_of_sets(true: BoolArray, predicted: BoolArray) -> float:
    """Compute macro-F1 over the classes that have rows; 0 without rows."""
    rows, said, hits = (of.sum(axis=0) for of in (true, predicted, true & predicted))
    present = rows > 0
    return float(ratio(2 * hits, rows + said)[present].mean()) if present.any() else 0.0


def calibration_gap(true: BoolArray, probabilities: FloatArray) -> float:
    """Compute the mean gap between probabilities and how often they are right, over bins weighted by their
    counts; 0 without any. Both are of the same shape."""
    if not len(true):
        return 0.0
    said, found = probabilities.ravel(), true.ravel()
    bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    gaps = np.abs(np.bincount(bins, weights=said - found, minlength=BINS))
    return float(gaps.sum() / len(said))


def paired_loss_of_sets(
    true: BoolArray, first: BoolArray, second: BoolArray, resamples: int, seed: int
) -> tuple[float, Interval]:
    """Compute what macro-F1 loses from the first to the second predictions, and its interval over rows."""
    columns = (true, first, true & first, second, true & second)
    rows, *sums = (of.sum(axis=0) for of in columns)
    before, after = _f1(rows, *sums[:2]), _f1(rows, *sums[2:])
    lost = [
        macro_f1(_f1(drawn, said, hits), drawn, before)
        - macro_f1(_f1(drawn, other_said, other_hits), drawn, after)
        for drawn, said, hits, other_said, other_hits in _drawn_sums(columns, resamples, seed)
    ]
    return float(before.mean() - after.mean()), interval(np.concatenate(lost))


def _intervals(true: BoolArray, predicted: BoolArray, resamples: int, seed: int) -> Intervals:
    right = (true == predicted).all(axis=1)[:, None]
    accuracy, micro, macro = [], [], []
    whole = _f1(true.sum(axis=0), predicted.sum(axis=0), (true & predicted).sum(axis=0))
    for rows, said, hits, exact in _drawn_sums(
        (true, predicted, true & predicted, right), resamples, seed
    ):
        accuracy.append(exact[:, 0] / len(true))
        micro.append(_f1(rows.sum(axis=1), said.sum(axis=1), hits.sum(axis=1)))
        macro.append(macro_f1(_f1(rows, said, hits), rows, whole))
    return Intervals(
        accuracy=interval(np.concatenate(accuracy)),
        micro_f1=interval(np.concatenate(micro)),
        macro_f1=interval(np.concatenate(macro)),
    )


def _f1(rows: npt.ArrayLike, said: npt.ArrayLike, hits: npt.ArrayLike) -> FloatArray:
    return ratio(2 * np.asarray(hits), np.asarray(rows) + np.asarray(said))


def _drawn_sums(
    columns: Sequence[BoolArray], resamples: int, seed: int
) -> Iterator[list[npt.NDArray[np.float64]]]:
    """Draw rows anew and sum up each of some arrays, (rows, n), over them: (draws, n), draws at a time.

    Rows that are alike are counted together.
    """
    kinds, counts = np.unique(np.concatenate(columns, axis=1), axis=0, return_counts=True)
    ends = np.cumsum([column.shape[1] for column in columns])[:-1]
    values, at_once = kinds.astype(np.float64), max(1, _CELLS // len(counts))
    for begin in range(0, resamples, at_once):
        # A seed of its own for each part: they are the same whatever else is drawn.
        some = drawn(counts, min(at_once, resamples - begin), seed + begin)
        yield np.split(some @ values, ends, axis=1)
