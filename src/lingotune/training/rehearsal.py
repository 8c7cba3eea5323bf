"""Cutting a job down for its rehearsal: the same code on fewer ranks, steps and rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from lingotune.config.schema import (
    Baseline,
    EvalStrategy,
    HubConfig,
    JobConfig,
    ModelConfig,
    ScalingConfig,
    TrainingConfig,
)
from lingotune.contract.rehearsal_limits import Limits
from lingotune.estimate.batch import plan_batches, world_size


def limited(job: JobConfig, limits: Limits) -> JobConfig:
    """Limit a job to a few CPU ranks, steps and rows, without publishing or tracking.

    It accumulates gradients and evaluates if the job does, and the worker scales its learning rate by the
    same ratio as on the whole cluster.
    """
    small = replace(
        job,
        cluster=replace(
            job.cluster,
            nodes=limits.nodes,
            gpus_per_node=0,
            processes=limits.ranks,
            threads=1,
            fallback=[],  # it is the machine that it got, cut down
        ),
        model=ModelConfig(name="tiny", name_or_path=None) if limits.tiny else job.model,
        training=_shortened(_of_tiny(job.training) if limits.tiny else job.training, limits),
        hub=HubConfig(),
        # Nobody looks at it; one that was asked for is tried.
        baseline=Baseline.none if job.baseline is Baseline.auto else job.baseline,
    )
    return replace(small, scaling=_same_ratio(job, small))


def _of_tiny(training: TrainingConfig) -> TrainingConfig:
    """Put LoRA's adapters beside all layers of the tiny model, which have other names and are narrow."""
    lora = training.lora
    rank = None if lora.rank is None else min(lora.rank, 8)
    return replace(training, lora=replace(lora, rank=rank, targets=[]))


def _shortened(training: TrainingConfig, limits: Limits) -> TrainingConfig:
    """Limit the steps, with a few evaluations and checkpoints among them; without trackers in any case."""
    untracked = replace(training, report_to=[])
    if limits.steps is None:
        return untracked
    evaluates = training.eval_strategy is not EvalStrategy.none
    return replace(
        untracked,
        max_steps=limits.steps,
        warmup_steps=None if training.warmup_steps is None else min(1, training.warmup_steps),
        eval_strategy=EvalStrategy.steps if evaluates else EvalStrategy.none,
        eval_steps=limits.save_every if evaluates else None,
        save_steps=limits.save_every,
        logging_steps=1,
    )


def _same_ratio(job: JobConfig, small: JobConfig) -> ScalingConfig:
    planned = plan_batches(job)
    accumulation = min(planned.accumulation, 2)
    if job.scaling.base_batch is None:
        return ScalingConfig(accumulation=accumulation)
    batch = small.per_device_bs * world_size(small.cluster) * accumulation
    base, rest = divmod(job.scaling.base_batch * batch, planned.global_batch)
    if rest:  # no integer gives the ratio
        base += rest / planned.global_batch  # type: ignore[assignment]
    return replace(job.scaling, accumulation=accumulation, base_batch=base)


def spread(kinds: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Choose at most `count` rows, taking turns among kinds (language, class); returns sorted indices."""
    by_kind: dict[tuple[int, int], list[int]] = {}
    for place, kind in enumerate(kinds):
        by_kind.setdefault(kind, []).append(place)
    turns = (p for turn in zip_longest(*by_kind.values()) for p in turn if p is not None)
    return sorted(place for place, _ in zip(turns, range(count)))
