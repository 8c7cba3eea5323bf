"""A job's batches and precision on each machine that it may get, the same update on all of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from lingotune.catalog.hardware import instances_of, resolve_precision
from lingotune.config.machines import Job, on_machine
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.quoting import listing
from lingotune.config.schema import JobConfig, MachineConfig, Precision, ScalingRule
from lingotune.estimate.batch import plan_batches, world_size
from lingotune.estimate.memory import fits


def is_shared_out(job: JobConfig) -> bool:
    """Tell whether every machine of the job's list has its batch."""
    return all(row.per_device_bs for row in job.cluster.fallback)


def shared_out(job: Job) -> tuple[Job, list[Problem]]:
    """Give each machine of the job's list its share of the global batch, and all one precision.

    The first row is the job itself. A GPU gets at most as many examples at a time as the job says, and no
    more than fit into its memory; the rest is accumulated. Returns the job, and what cannot be split.
    """
    if not job.cluster.fallback:
        return job, []
    capabilities = [one.capability for one in instances_of(job.cluster) if one.capability]
    if job.training.precision is Precision.auto and capabilities:
        precision = resolve_precision(Precision.auto, min(capabilities))
        job = replace(job, training=replace(job.training, precision=precision))
    wanted = _global_batch(job)
    if wanted is None:
        return job, []
    first, *others = job.cluster.fallback
    rows, problems = [first], []
    uneven = [row for row in others if wanted % _gpus(row)]
    for row in others:
        if row not in uneven:
            shared, found = _shared(job, row, wanted)
            problems += found
            rows.append(shared)
    if uneven:
        problems.append(_uneven(job, uneven, wanted))
    if problems:
        return job, problems
    return replace(job, cluster=replace(job.cluster, fallback=rows)), []


def _global_batch(job: JobConfig) -> int | None:
    """Compute the job's global batch; None while its numbers are not valid, which other checks tell."""
    numbers = [job.per_device_bs, job.scaling.accumulation or 1, world_size(job.cluster)]
    numbers += [_gpus(row) for row in job.cluster.fallback]
    fixed = job.scaling.rule is ScalingRule.fixed_global
    numbers += [job.scaling.global_batch or 0] if fixed else [job.scaling.base_batch or 1]
    needs_base = job.scaling.rule in (ScalingRule.linear, ScalingRule.sqrt)
    if min(numbers) < 1 or (needs_base and job.scaling.base_batch is None):
        return None
    try:
        return plan_batches(job).global_batch
    except ConfigError:
        return None


def _gpus(row: MachineConfig) -> int:
    """Count the processes of a machine: one on each GPU, or the one of a machine without."""
    return (row.nodes or 0) * (row.gpus_per_node or 1)


def _shared(job: Job, row: MachineConfig, wanted: int) -> tuple[MachineConfig, list[Problem]]:
    """Split a GPU's share of the global batch into passes, for those numbers that are not given."""
    share = wanted // _gpus(row)
    given = row.per_device_bs
    sizes = [given] if given else range(min(job.per_device_bs, share), 0, -1)
    even = [size for size in sizes if size > 0 and share % size == 0]
    if not even or row.accumulation not in (None, share // even[0] if given else row.accumulation):
        name = row.name or row.instance_type or ""
        what = f"{name}: {share} examples for each GPU are not {row.accumulation or 'a whole number of'}"
        what += f" passes of {given}" if given else " passes"
        fix = f"'cluster.fallback=[{{name: {name}}}]' gives numbers that fit"
        return row, [Problem("cluster.fallback", what, fix, check="fallback-split")]
    if row.accumulation and not given:
        even = [size for size in even if share // size == row.accumulation]
        if not even:
            what = f"{row.name}: {share} examples for each GPU are not {row.accumulation} passes"
            fix = f"'cluster.fallback=[{row.name}]' gives numbers that fit"
            return row, [Problem("cluster.fallback", what, fix, check="fallback-split")]
    by_rule = job.scaling.rule is ScalingRule.fixed_global
    options = [
        replace(row, per_device_bs=size, accumulation=None if by_rule else share // size)
        for size in even
    ]
    return next((one for one in options if fits(on_machine(job, one))), options[0]), []


def _uneven(job: JobConfig, rows: Sequence[MachineConfig], wanted: int) -> Problem:
    """Say that a global batch cannot be split, with the nearest that can."""
    names = [row.name or row.instance_type or "" for row in job.cluster.fallback[1:]]
    cannot = ", ".join(f"{_gpus(row)} GPUs of {row.instance_type}" for row in rows)
    step = math.lcm(*map(_gpus, rows))
    if job.scaling.rule is ScalingRule.fixed_global:
        step = math.lcm(step, job.per_device_bs * world_size(job.cluster))
        key, now, unit = "scaling.global_batch", wanted, step
    else:
        one_example = wanted // job.per_device_bs
        key, now, unit = "per_device_bs", job.per_device_bs, step // math.gcd(step, one_example)
    near = [n for n in (now // unit * unit, math.ceil(now / unit) * unit) if n]
    what = f"the global batch {wanted} cannot be split evenly over {cannot}"
    fix = " or ".join(f"{key}={number}" for number in dict.fromkeys(near))
    return Problem(
        listing("cluster.fallback", names), what, fix, check="fallback-split",
        why="the update has to be the same on every machine",
    )  # fmt: skip
