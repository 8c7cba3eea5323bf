"""Intervals of scores by drawing rows anew, from counts of the kinds of rows (numpy)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lingotune.runs.results import Interval

LEVEL = 0.95
"""Confidence level of the intervals."""
FEWEST = 50
"""Minimum number of rows for an interval: three correct rows would give 1.000 to 1.000."""


def drawn(counts: npt.NDArray[Any], resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Resample rows with replacement, as counts of each kind of row: (resamples, kinds).

    Scores that depend only on counts need no rows, as the counts follow a multinomial distribution.
    """
    total = int(counts.sum())
    return np.random.default_rng(seed).multinomial(total, counts / total, size=resamples)


def macro_f1(
    f1: npt.ArrayLike, rows: npt.ArrayLike, whole: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Average F1 over the classes for each draw: (draws, classes) -> (draws).

    rows: rows of each class that were drawn. whole: F1 of each class on all rows, (classes,). A class that
    a draw leaves out by chance keeps that, as the draw tells nothing of it: as 0 it would shift the
    intervals of many small classes below the score itself.
    """
    return np.asarray(np.where(np.asarray(rows) > 0, f1, whole).mean(axis=-1))


def interval(values: npt.NDArray[np.float64]) -> Interval:
    """Return the interval that holds `LEVEL` of the values."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Divide elementwise, 0 where the denominator is."""
    top, bottom = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    out = np.zeros_like(top)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out
