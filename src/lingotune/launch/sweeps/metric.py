"""The validation metric by which configurations are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lingotune.launch.sweeps.trial import Evaluation

METRIC = "macro_f1"
"""Validation metric that is shown where no other chooses the checkpoints."""
LOSS = "loss"
"""Validation metric of which less is better."""


@dataclass(frozen=True)
class Metric:
    """Score on the validation split, by its name."""

    name: str
    greater_is_better: bool = True

    def better(self, values: Sequence[float]) -> float:
        """Return the best of some values."""
        return max(values) if self.greater_is_better else min(values)

    def rank(self, value: float | None) -> float:
        """Return a number that is the smaller, the better the value; None and nan come last."""
        if value is None or math.isnan(value):
            return math.inf
        return -value if self.greater_is_better else value

    def curve(self, evaluations: Sequence[Evaluation]) -> list[float]:
        """Select the score of each evaluation that has one, by step."""
        ordered = sorted(evaluations, key=lambda one: one.step)
        return [one.values[self.name] for one in ordered if self.name in one.values]

    def best(self, evaluations: Sequence[Evaluation]) -> float | None:
        """Select the best score; None without any."""
        scores = [score for score in self.curve(evaluations) if not math.isnan(score)]
        return self.better(scores) if scores else None
