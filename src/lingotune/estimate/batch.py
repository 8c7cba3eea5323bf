"""Global batch, learning rate and steps of a job. Pure; nothing else computes them.

Every number comes with its arithmetic as a line of text, so that a plan can show where it comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lingotune.catalog.models import epochs_for, kind_for
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import (
    ClusterConfig,
    JobConfig,
    Optimizer,
    ScalingConfig,
    ScalingRule,
    TrainingConfig,
)


@dataclass(frozen=True)
class BatchPlan:
    """Batch and learning rate of an update. Batches count examples; the learning rate is AdamW's peak."""

    world_size: int
    per_device_batch: int
    accumulation: int
    global_batch: int
    learning_rate: float
    arithmetic: tuple[str, ...]


@dataclass(frozen=True)
class StepPlan:
    """Number of updates in the training, and of those over which the learning rate warms up."""

    train_rows: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    arithmetic: tuple[str, ...]


def trains_used_rows(training: TrainingConfig) -> bool:
    """Tell whether to train only the embedding rows that occur in the data.

    True if asked for, and by default if the result is exact, which it is without weight decay. Sharded
    models train all rows, and so does Adafactor, whose update of a row depends on all others; LoRA none.
    """
    if training.optimizer is Optimizer.adafactor:
        return False
    if trains_no_rows(training) or training.compact_vocabulary is False or training.shard:
        return False
    return bool(training.compact_vocabulary) or not training.weight_decay


def trains_no_rows(training: TrainingConfig) -> bool:
    """Tell whether the word embeddings stay as they are."""
    return training.freeze_embeddings or training.lora.rank is not None


def processes_per_node(cluster: ClusterConfig) -> int:
    """Count the processes of a node: one per GPU, or the given number of CPU processes."""
    return cluster.gpus_per_node or cluster.processes


def world_size(cluster: ClusterConfig) -> int:
    """Count the processes of the whole job."""
    return cluster.nodes * processes_per_node(cluster)


def plan_batches(job: JobConfig) -> BatchPlan:
    """Plan global batch, accumulation and learning rate; ConfigError if the batch cannot be split."""
    world = world_size(job.cluster)
    accumulation = _accumulation(job.scaling, job.per_device_bs, job.cluster)
    global_batch = job.per_device_bs * world * accumulation
    rate, rate_text = _scaled_rate(job, global_batch)
    batch_text = (
        f"global batch {global_batch} = {job.per_device_bs} per {_unit(job.cluster)}"
        f" x {_processes_text(job.cluster)} x {accumulation} accumulation"
    )
    return BatchPlan(
        world, job.per_device_bs, accumulation, global_batch, rate, (batch_text, rate_text)
    )


def plan_steps(job: JobConfig, batch: BatchPlan, train_rows: int) -> StepPlan:
    """Plan the updates of the whole training. The last batch of an epoch may be smaller."""
    per_epoch = math.ceil(train_rows / batch.global_batch)
    epoch_text = f"{per_epoch} an epoch = {train_rows} rows / {batch.global_batch}, rounded up"
    if job.training.max_steps is None:
        exact = round(per_epoch * job.epochs, 6)  # 30 x 0.1 is 3, not a bit more
        total = math.ceil(exact)
        rounded = "" if total == exact else ", rounded up"
        steps_text = (
            f"steps {total} = {per_epoch} an epoch x {_epochs_text(job, train_rows)}{rounded}"
        )
    else:
        total = job.training.max_steps
        steps_text = f"steps {total} (training.max_steps; {total / per_epoch:.2f} epochs)"
    if job.training.patience is not None:
        steps_text += f"; at most: it may end before (training.patience={job.training.patience})"
    if job.training.max_hours is not None:
        steps_text += f"; at most: it ends after {job.training.max_hours:g} h (training.max_hours)"
    if job.training.warmup_steps is None:
        warmup = round(job.training.warmup_ratio * total)
        warmup_text = f"warm-up {warmup} = {job.training.warmup_ratio:g} x {total} steps, rounded"
    else:
        warmup = job.training.warmup_steps
        warmup_text = f"warm-up {warmup} steps (training.warmup_steps)"
    return StepPlan(train_rows, per_epoch, total, warmup, (steps_text, epoch_text, warmup_text))


def _epochs_text(job: JobConfig, rows: int) -> str:
    """Format the epochs; of a pretrained model with the reason, where they are those of the table."""
    text = f"{job.epochs:g} epoch{'s' * (job.epochs != 1)}"
    if job.model.name_or_path is None or job.epochs != epochs_for(job.model, rows):
        return text
    return f"{text} (suits {rows} rows)"


def _accumulation(scaling: ScalingConfig, per_device: int, cluster: ClusterConfig) -> int:
    if scaling.rule is not ScalingRule.fixed_global:
        return scaling.accumulation or 1
    wanted = scaling.global_batch
    assert wanted is not None, "preflight requires it"
    world = world_size(cluster)
    if wanted % (per_device * world) == 0:
        return wanted // (per_device * world)
    raise ConfigError([_impossible_split(wanted, per_device, cluster)])


def _impossible_split(wanted: int, per_device: int, cluster: ClusterConfig) -> Problem:
    world = world_size(cluster)
    one_pass = per_device * world
    below, above = wanted // one_pass * one_pass, math.ceil(wanted / one_pass) * one_pass
    globals_text = " or ".join(f"scaling.global_batch={n}" for n in (below, above) if n)
    fix = [globals_text]
    if wanted % world == 0:
        share = wanted // world
        divisors = [d for d in range(1, share + 1) if share % d == 0]
        near = sorted(divisors, key=lambda d: (abs(d - per_device), -d))[:2]
        fix.append(" or ".join(f"per_device_bs={d}" for d in sorted(near)))
    return Problem(
        f"scaling.global_batch={wanted}",
        f"cannot be split evenly: one pass is {per_device} per {_unit(cluster)}"
        f" x {_processes_text(cluster)} = {one_pass} examples",
        ", or ".join(fix),
        check="batch-split",
        why="every process takes the same number of examples in every pass",
    )


def _scaled_rate(job: JobConfig, global_batch: int) -> tuple[float, str]:
    lr, scaling, kind = job.lr, job.scaling, kind_for(job)
    if scaling.rule in (ScalingRule.none, ScalingRule.fixed_global):
        why = f"suits {kind.said.rstrip(',')}" if lr == kind.lr else "as typed"
        return lr, f"lr {lr:g} ({why}; scaling={scaling.rule.value})"
    assert scaling.base_batch is not None, "preflight requires it"
    ratio = global_batch / scaling.base_batch
    if scaling.rule is ScalingRule.linear:
        rate = lr * ratio
        factor = f"{global_batch}/{scaling.base_batch} (linear)"
    else:
        rate = lr * math.sqrt(ratio)
        factor = f"sqrt({global_batch}/{scaling.base_batch}) (sqrt)"
    return rate, f"lr {lr:g} x {factor} = {rate:.4g}"


def _unit(cluster: ClusterConfig) -> str:
    return "GPU" if cluster.gpus_per_node else "process"


def _processes_text(cluster: ClusterConfig) -> str:
    count = processes_per_node(cluster)
    if cluster.gpus_per_node:
        text = "1 GPU" if count == 1 else f"{count} GPUs"
    else:
        text = "1 process" if count == 1 else f"{count} processes"
    return text if cluster.nodes == 1 else f"{text} x {cluster.nodes} nodes"
