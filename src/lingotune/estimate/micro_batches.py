"""The same update in smaller micro-batches, which need less memory. Pure.

Global batch, learning rate and gradient stay as they are: fewer examples in a pass, more passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lingotune.config.machines import Job
from lingotune.config.schema import ScalingRule
from lingotune.estimate.batch import plan_batches


def with_micro_batch(job: Job, size: int) -> Job:
    """Return the job with so many examples in a pass of a process, which divide its share of the update."""
    batch = plan_batches(job)
    passes = batch.global_batch // (batch.world_size * size)
    by_rule = job.scaling.rule is ScalingRule.fixed_global
    scaling = replace(job.scaling, accumulation=None if by_rule else passes)
    return replace(job, per_device_bs=size, scaling=scaling)


def smaller_micro_batches(job: Job) -> Iterator[Job]:
    """Yield the job with about half the examples in a pass, again and again, down to one.

    The number has to divide a process's share of the update: of 12 examples 6, 3 and 1 are taken at a time.
    """
    batch = plan_batches(job)
    share, size = batch.per_device_batch * batch.accumulation, batch.per_device_batch
    while size > 1:
        size = next(n for n in range(size // 2, 0, -1) if share % n == 0)
        yield with_micro_batch(job, size)


def overrides_of(job: Job) -> str:
    """Format the overrides that give a job its micro-batch: `per_device_bs=16 scaling.accumulation=2`."""
    size = f"per_device_bs={job.per_device_bs}"
    if job.scaling.rule is ScalingRule.fixed_global:
        return size
    return f"{size} scaling.accumulation={job.scaling.accumulation}"
