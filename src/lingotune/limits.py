"""A job cut down for its rehearsal: the same code on fewer ranks, steps and rows. Pure.

The job file, the request and its environment stay those that would be sent. The limits come in a
variable that only a rehearsal sets, and that `cluster.environment` may not hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest

from lingotune.scaling import plan_batches, world_size
from lingotune.schema import EvalStrategy, HubConfig, JobConfig, ModelConfig, ScalingConfig

VARIABLE = "LINGOTUNE_REHEARSAL"
"""Environment variable that holds the limits as JSON."""


@dataclass(frozen=True)
class Limits:
    """nodes; ranks: CPU processes of each. steps: updates. rows: of a split. tiny: a small model
    from scratch in place of the job's."""

    nodes: int
    ranks: int
    steps: int
    rows: int
    tiny: bool

    def __str__(self) -> str:
        model = "a tiny model" if self.tiny else "the job's model"
        nodes = "" if self.nodes == 1 else f"{self.nodes} nodes x "
        ranks = f"{nodes}{self.ranks} CPU rank{'' if self.ranks == 1 else 's'}"
        return f"{ranks}, {self.steps} steps, {self.rows} rows a split, {model}"

    @property
    def save_every(self) -> int:
        """Updates between two checkpoints: the first comes early, and work is left after it."""
        return max(1, self.steps // 3)


def write_limits(limits: Limits) -> dict[str, str]:
    """The variable, for a worker's environment."""
    return {VARIABLE: json.dumps(asdict(limits))}


def read_limits(environment: Mapping[str, str]) -> Limits | None:
    """What `write_limits` wrote; None for a job that is meant."""
    text = environment.get(VARIABLE)
    return Limits(**json.loads(text)) if text else None


def limited(job: JobConfig, limits: Limits) -> JobConfig:
    """The job on CPU ranks: accumulating where it does, evaluated where it is, published and tracked never.

    The learning rate is scaled by the worker itself, by the ratio that the whole cluster has.
    """
    training = job.training
    evaluates = training.eval_strategy is not EvalStrategy.none
    small = replace(
        job,
        cluster=replace(
            job.cluster, nodes=limits.nodes, gpus_per_node=0, processes=limits.ranks, threads=1
        ),
        model=ModelConfig(name="tiny", name_or_path=None) if limits.tiny else job.model,
        training=replace(
            training,
            max_steps=limits.steps,
            warmup_steps=None if training.warmup_steps is None else min(1, training.warmup_steps),
            eval_strategy=EvalStrategy.steps if evaluates else EvalStrategy.none,
            eval_steps=limits.save_every if evaluates else None,
            save_steps=limits.save_every,
            logging_steps=1,
            report_to=[],
        ),
        hub=HubConfig(),
    )
    return replace(small, scaling=_same_ratio(job, small))


def _same_ratio(job: JobConfig, small: JobConfig) -> ScalingConfig:
    planned = plan_batches(job)
    accumulation = min(planned.accumulation, 2)
    if job.scaling.base_batch is None:
        return ScalingConfig(accumulation=accumulation)
    batch = small.per_device_bs * world_size(small.cluster) * accumulation
    base, rest = divmod(job.scaling.base_batch * batch, planned.global_batch)
    if rest:  # no whole number has the ratio; the job is told as it runs
        base += rest / planned.global_batch  # type: ignore[assignment]
    return replace(job.scaling, accumulation=accumulation, base_batch=base)


def spread(kinds: Sequence[tuple[int, int]], count: int) -> list[int]:
    """At most `count` places of rows, of all kinds (languages and classes) in turn, in their order."""
    by_kind: dict[tuple[int, int], list[int]] = {}
    for place, kind in enumerate(kinds):
        by_kind.setdefault(kind, []).append(place)
    turns = (p for turn in zip_longest(*by_kind.values()) for p in turn if p is not None)
    return sorted(place for place, _ in zip(turns, range(count)))
