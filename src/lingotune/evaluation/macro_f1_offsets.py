"""Offsets of log-probabilities per class that maximise macro-F1 (numpy)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lingotune.evaluation.metrics import FloatArray, IntArray

_ROUNDS = 12
"""Times that every class gets its best offset, given those of the others."""
_SMOOTHED = 40
"""A best offset is that of the best mean over this fraction of the rows: a peak of a few rows is chance."""
_LARGEST = 4.0
"""Offsets beyond it, in units of log-probability, are never needed; a class without rows would get them."""


def macro_f1_of(true: IntArray, predicted: IntArray, classes: int) -> float:
    """Compute macro-F1 over the classes that have rows; 0 without rows."""
    rows, said = (np.bincount(ids, minlength=classes) for ids in (true, predicted))
    hits = np.bincount(true[true == predicted], minlength=classes)
    present = rows > 0
    return float((2 * hits / np.maximum(rows + said, 1))[present].mean()) if present.any() else 0.0


def macro_f1_offsets(scores: FloatArray, true: IntArray, start: FloatArray) -> FloatArray:
    """Find offsets that maximise macro-F1 of `argmax(scores + offsets)`, class after class.

    scores: (rows, classes). start: offsets to begin with; classes without rows keep theirs.
    Returns offsets (classes,) with mean 0 over the classes that have rows.
    """
    classes = scores.shape[1]
    offsets = start.copy()
    present = np.flatnonzero(np.bincount(true, minlength=classes))
    for _ in range(_ROUNDS):
        before = offsets.copy()
        for one in present.tolist():
            offsets[one] = _best_offset(scores + offsets, true, one) + offsets[one]
        offsets[present] -= offsets[present].mean()
        if np.abs(offsets - before).max() < 1e-3:
            break
    clipped: FloatArray = np.clip(offsets, -_LARGEST, _LARGEST)
    return clipped


def _best_offset(scores: FloatArray, true: IntArray, one: int) -> float:
    """Find what to add to the scores of one class, given those of all others.

    Rows sorted by how much is needed to decide for the class: macro-F1 is known after each of them.
    """
    others = scores.copy()
    others[:, one] = -np.inf
    rival = others.argmax(axis=1)
    needed = others[np.arange(len(rival)), rival] - scores[:, one]
    order = np.argsort(needed, kind="stable")
    needed, rival, true = needed[order], rival[order], true[order]
    f1 = smoothed(_sums_of_f1(true, rival, one, scores.shape[1]), needed)
    # Any offset between lows[i] and highs[i] decides the first i rows for the class.
    ends = np.r_[-np.inf, needed, np.inf]
    lows, highs = ends[:-1], ends[1:]
    allowed = (lows < _LARGEST) & (highs > -_LARGEST)
    best = int(np.where(allowed, f1, -np.inf).argmax())
    low, high = max(lows[best], needed[0] - 1), min(highs[best], needed[-1] + 1)
    return float(np.clip((low + high) / 2, -_LARGEST, _LARGEST))


def _sums_of_f1(true: IntArray, rival: IntArray, one: int, classes: int) -> FloatArray:
    """Sum F1 of all classes once the first 0, 1, ... rows are decided for a class: (rows + 1,).

    The others are decided for their rivals. A row that changes sides changes the F1 of two classes only.
    """
    rows = np.bincount(true, minlength=classes)
    taken = np.arange(len(true) + 1)
    own = 2 * np.append(0, np.cumsum(true == one)) / np.maximum(taken + rows[one], 1)
    said = np.bincount(rival, minlength=classes)
    hits = np.bincount(rival[rival == true], minlength=classes)
    lost, lost_hits = (_counts_within(rival, what) for what in (None, rival == true))
    after = _f1(hits[rival] - lost_hits, said[rival] - lost, rows[rival])
    hit = (rival == true).astype(np.int64)
    before = _f1(hits[rival] - lost_hits + hit, said[rival] - lost + 1, rows[rival])
    begin = _f1(hits, said, rows)
    begin[one] = 0
    others = begin.sum() + np.append(0, np.cumsum(after - before))
    total: FloatArray = own + others
    return total


def _f1(hits: IntArray, said: IntArray, rows: IntArray) -> FloatArray:
    f1: FloatArray = 2 * hits / np.maximum(said + rows, 1)
    return f1


def _counts_within(group: IntArray, what: npt.NDArray[np.bool_] | None) -> IntArray:
    """Count, for each row, the rows up to it of the same group; only those of `what` if given."""
    order = np.argsort(group, kind="stable")
    counted = np.ones(len(group), np.int64) if what is None else what[order].astype(np.int64)
    sums = np.cumsum(counted)
    first = np.r_[True, group[order][1:] != group[order][:-1]]
    base = np.maximum.accumulate(np.where(first, np.arange(len(group)), 0))
    within = sums - (sums - counted)[base]
    out = np.empty(len(group), np.int64)
    out[order] = within
    return out


def smoothed(values: FloatArray, needed: FloatArray) -> FloatArray:
    """Average over neighbours; the ends, where fewer are, keep what they have."""
    half = len(needed) // (2 * _SMOOTHED)
    if not half:
        return values
    width = 2 * half + 1
    padded = np.concatenate([np.full(half, values[0]), values, np.full(half, values[-1])])
    means: FloatArray = np.convolve(padded, np.full(width, 1 / width), mode="valid")
    return means
