"""Offsets of log-odds per class that maximise each class's F1, where a text may have several (numpy)."""

from __future__ import annotations

import numpy as np

from lingotune.evaluation.bootstrap import ratio
from lingotune.evaluation.macro_f1_offsets import smoothed
from lingotune.evaluation.multilabel import BoolArray, FloatArray

_LARGEST = 8.0
"""Offsets beyond it, in units of log-odds, are thresholds of chance."""


def threshold_offsets(scores: FloatArray, true: BoolArray, start: FloatArray) -> FloatArray:
    """Find the offset of each class by which `score + offset > 0` has the highest F1.

    The F1 of a class depends on its own threshold alone, so the best ones maximise macro-F1. scores:
    log-odds, (rows, classes). start: offsets of classes that no row has. Returns offsets, (classes,).
    """
    found = [
        _best_offset(scores[:, one], true[:, one]) if true[:, one].any() else start[one]
        for one in range(scores.shape[1])
    ]
    clipped: FloatArray = np.clip(np.array(found), -_LARGEST, _LARGEST)
    return clipped


def _best_offset(scores: FloatArray, true: BoolArray) -> float:
    """Find the offset for one class: rows sorted by score, F1 is known after each of them."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.append(0, np.cumsum(true[order]))
    f1 = ratio(2 * hits, np.arange(len(true) + 1) + true.sum())
    best = int(smoothed(f1, ranked).argmax())
    high = ranked[best - 1] if best else ranked[0] + 1
    low = ranked[best] if best < len(ranked) else ranked[-1] - 1
    return -float((low + high) / 2)
