"""Taking up configurations that were ended early, and turn out to be among the best after all. Pure.

Asynchronous halving compares with those that have come so far: the second best may end because the best was
there before it. Once no others are left to start, it goes on from its checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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

    def choose(self, ended: Iterable[Key], curves: Mapping[Key, Sequence[float]]) -> Key | None:
        """Choose the ended configuration that came farthest, and of these the best.

        curves: scores of all configurations by evaluation. None if none is in the best share of those that
        have come to its rung.
        """
        found = [
            (-rung, place, key) for key in ended if (rung := self._rung(len(curves[key])))
            if (place := self._place(rung, curves[key], curves.values())) is not None
        ]  # fmt: skip
        return min(found, key=lambda one: one[:2])[2] if found else None

    def _rung(self, evaluations: int) -> int:
        """Return the last rung that so many evaluations have come to; 0 before the first."""
        if evaluations < self.first:
            return 0
        rung = self.first
        while rung * self.reduction <= evaluations:
            rung *= self.reduction
        return rung

    def _place(
        self, rung: int, curve: Sequence[float], curves: Iterable[Sequence[float]]
    ) -> int | None:
        """Count the better ones at a rung; None outside of the best share."""
        ranks = [self.metric.rank(one[rung - 1]) for one in curves if len(one) >= rung]
        rank = self.metric.rank(curve[rung - 1])
        better = sum(other < rank for other in ranks)
        is_good = math.isfinite(rank) and better < len(ranks) // self.reduction
        return better if is_good else None
