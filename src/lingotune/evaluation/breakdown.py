"""Where a model fails: scores by groups of rows, and the classes that it takes for each other (numpy)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lingotune.evaluation.metrics import Classes, IntArray, Predictions, scores
from lingotune.runs.results import Interval, Scores

_QUARTERS = (0.25, 0.5, 0.75)
_Z = 1.96
"""Standard deviations of a normal distribution within which 95 % lie."""
Groups = dict[str, Scores]
"""Name of a group of rows -> its scores."""


def by_value(predictions: Predictions, values: Sequence[str], classes: Classes) -> Groups:
    """Score the rows by a value of each, in the order of the values; rows without one ("") are left out."""
    found = np.asarray(values, object)
    return {
        value: scores(predictions.select(found == value), classes)
        for value in sorted(set(values) - {""}, key=_numbers_first)
    }


def _numbers_first(value: str) -> tuple[float, str]:
    return (float(value) if value.isdecimal() else math.inf, value)


def by_length(predictions: Predictions, lengths: IntArray, classes: Classes) -> Groups:
    """Score the quarters of the rows by length, named by their shortest and longest; (rows,) lengths.

    Rows of one length stay together, so that there may be fewer than four groups.
    """
    edges = np.unique(np.quantile(lengths, _QUARTERS, method="lower"))
    quarters = np.searchsorted(edges, lengths)
    found = {}
    for quarter in np.unique(quarters):
        rows = quarters == quarter
        low, high = int(lengths[rows].min()), int(lengths[rows].max())
        found[f"{low}" if low == high else f"{low}-{high}"] = scores(
            predictions.select(rows), classes
        )
    return found


def wilson(hits: float, rows: int) -> Interval:
    """Compute the 95 % interval of a share of rows (Wilson 1927); (0, 1) without rows."""
    if not rows:
        return 0.0, 1.0
    share, extra = hits / rows, _Z**2 / rows
    half = _Z * math.sqrt(share * (1 - share) / rows + extra / (4 * rows))
    middle = share + extra / 2
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes by id, with the rows of the first that were predicted as the second, and the reverse.

    share: of all errors, from 0 to 1.
    """

    first: int
    second: int
    as_second: int
    as_first: int
    share: float


def hardest_pairs(confusion: npt.ArrayLike, most: int) -> list[ConfusedPair]:
    """List the pairs of classes with the most errors between them; (classes, classes) counts."""
    counts = np.asarray(confusion)
    errors = np.triu(counts + counts.T, 1)
    total = max(int(errors.sum()), 1)
    flat = np.argsort(-errors, axis=None, kind="stable")[:most]
    places = np.column_stack(np.unravel_index(flat, errors.shape)).tolist()
    return [
        ConfusedPair(a, b, int(counts[a, b]), int(counts[b, a]), float(errors[a, b] / total))
        for a, b in places
        if errors[a, b]
    ]


def similar_together(confusion: npt.ArrayLike) -> list[int]:
    """Order classes so that those confused with each other are neighbours; (classes, classes) counts.

    The most confused pairs are joined first, each class to two others at most (greedy edge matching).
    """
    counts = np.asarray(confusion, np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    alike = np.triu(shares + shares.T, 1)
    chains = {place: [place] for place in range(len(counts))}
    for flat in np.argsort(-alike, axis=None, kind="stable")[: int((alike > 0).sum())].tolist():
        a, b = divmod(flat, len(counts))
        left, right = chains[a], chains[b]
        if left is right or a not in (left[0], left[-1]) or b not in (right[0], right[-1]):
            continue
        before = left if left[-1] == a else left[::-1]
        joined = before + (right if right[0] == b else right[::-1])
        chains.update(dict.fromkeys(joined, joined))
    return [place for chain in {id(of): of for of in chains.values()}.values() for place in chain]
