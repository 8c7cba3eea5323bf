"""Limits that cut a job down for its rehearsal: fewer ranks, steps and rows for the same code. Pure.

Job file, request and environment stay those that would be sent. The limits are passed in a variable that
only a rehearsal sets, and that is not allowed in `cluster.environment`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

VARIABLE = "LINGOTUNE_REHEARSAL"
"""Environment variable that holds the limits as JSON."""


@dataclass(frozen=True)
class Limits:
    """Size of a rehearsal.

    ranks: CPU processes per node. steps: updates; None = the job's. rows: per split; None = all. tiny:
    replace the job's model by a small one from scratch."""

    nodes: int
    ranks: int
    steps: int | None
    rows: int | None
    tiny: bool

    def __str__(self) -> str:
        model = "a tiny model" if self.tiny else "the job's model"
        nodes = "" if self.nodes == 1 else f"{self.nodes} nodes x "
        ranks = f"{nodes}{self.ranks} CPU rank{'' if self.ranks == 1 else 's'}"
        steps = "all" if self.steps is None else self.steps
        rows = "all" if self.rows is None else self.rows
        return f"{ranks}, {steps} steps, {rows} rows a split, {model}"

    @property
    def save_every(self) -> int | None:
        """Updates between two checkpoints, so few that work is left after the first; None = the job's."""
        return None if self.steps is None else max(1, self.steps // 3)


def write_limits(limits: Limits) -> dict[str, str]:
    """Return the variable for a worker's environment."""
    return {VARIABLE: json.dumps(asdict(limits))}


def read_limits(environment: Mapping[str, str]) -> Limits | None:
    """Read what `write_limits` wrote; None outside a rehearsal."""
    text = environment.get(VARIABLE)
    return Limits(**json.loads(text)) if text else None
