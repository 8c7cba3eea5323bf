"""Taking up configurations that were ended early, and turn out to be among the best after all. Pure.

Asynchronous halving compares with those that have come so far: the second best may end because the best was
there before it. Once no others are left to start, it goes on from its checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lingotune.launch.sweeps.metric import Metric

Key = TypeVar("Key")


@dataclass(frozen=True)
class TakingUp:
    """Rule by which they are chosen. first, reduction: of the rungs."""

    first: int
    reduction: int
    metric: Metric

    def choose(
        self, ended: Iterable[Key], curves: Mapping[Key, Sequence[float]], completed: Container[Key]
    ) -> Key | None:
        """Choose the ended configuration that came farthest, and of these the best.

        curves: scores of all configurations by evaluation. completed: those that came to their own end, and
        are compared by their last score where that was before the rung. None if no ended one is in the best
        share at its rung.
        """
        found = []
        for key in ended:
            if rung := self._rung(len(curves[key])):
                others = [
                    curve[:rung][-1] for other, curve in curves.items()
                    if len(curve) >= rung or (curve and other in completed)
                ]  # fmt: skip
                place = self._place(curves[key][rung - 1], others)
                found += [] if place is None else [(-rung, place, key)]
        return min(found, key=lambda one: one[:2])[2] if found else None

    def _rung(self, evaluations: int) -> int:
        """Return the last rung that so many evaluations have come to; 0 before the first."""
        if evaluations < self.first:
            return 0
        rung = self.first
        while rung * self.reduction <= evaluations:
            rung *= self.reduction
        return rung

    def _place(self, score: float, scores: Sequence[float]) -> int | None:
        """Count the better scores at a rung; None outside of the best share."""
        rank = self.metric.rank(score)
        better = sum(self.metric.rank(other) < rank for other in scores)
        is_good = math.isfinite(rank) and better < len(scores) // self.reduction
        return better if is_good else None
