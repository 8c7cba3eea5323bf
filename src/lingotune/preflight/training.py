"""Checks of how weights are trained: schedule, optimizer, frozen layers, checkpointing, hours. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lingotune.catalog.architectures import architecture_of
from lingotune.catalog.head_dropout import head_dropout_name, no_head_dropout
from lingotune.catalog.models import config_of, model_size
from lingotune.config.problems import Severity
from lingotune.config.schema import JobConfig, Optimizer, Precision, Schedule, TrainingConfig
from lingotune.data.prepared.foreign_code import own_classes
from lingotune.preflight.job import LONGEST_RUN
from lingotune.preflight.registry import Found, Table

TRAINING: Table[JobConfig] = Table()
_HOUR = 3600


# --- schedule -----------------------------------------------------------------------------------


@TRAINING.check("schedule-shape-unused", "each shape belongs to one schedule")
def _shape(job: JobConfig) -> Iterator[Found]:
    training, usual = job.training, TrainingConfig()
    shapes = {
        "schedule_power": Schedule.polynomial,
        "schedule_cycles": Schedule.cosine_with_restarts,
    }
    for name, schedule in shapes.items():
        value = getattr(training, name)
        if value != getattr(usual, name) and training.schedule is not schedule:
            what = f"has no effect with training.schedule={training.schedule.value}"
            yield f"training.{name}={value:g}", what, f"training.schedule={schedule.value}"


# --- optimizer ----------------------------------------------------------------------------------


@TRAINING.check("adafactor-compact", "its update of a row depends on all rows of the matrix")
def _adafactor_compact(job: JobConfig) -> Iterator[Found]:
    training = job.training
    if training.optimizer is Optimizer.adafactor and training.compact_vocabulary:
        what = "would change the result with training.optimizer=adafactor"
        fix = "training.compact_vocabulary=null, or training.optimizer=adamw"
        yield "training.compact_vocabulary=true", what, fix


@TRAINING.check(
    "optimizer-shard", "a shard holds a part of a matrix, and only AdamW was tried on it"
)
def _optimizer_shard(job: JobConfig) -> Iterator[Found]:
    optimizer = job.training.optimizer
    if job.training.shard and optimizer is not Optimizer.adamw:
        where = f"training.optimizer={optimizer.value}"
        what = "does not work with training.shard=true"
        yield where, what, "training.optimizer=adamw, or training.shard=false"


@TRAINING.check(
    "lion-library", "transformers has Lion from bitsandbytes alone, which has it for GPUs"
)
def _lion(job: JobConfig) -> Iterator[Found]:
    if job.training.optimizer is not Optimizer.lion:
        return
    where = "training.optimizer=lion"
    if not job.cluster.gpus_per_node:
        yield where, "is not computed on CPUs", "training.optimizer=adamw, or a cluster with GPUs"
    elif job.cluster.instance_type and job.cluster.image.uri is None:
        what = "needs bitsandbytes, which the listed images do not have"
        fix = "training.optimizer=adamw, or cluster.image.uri= of an image that has it"
        yield where, what, fix


# --- layers -------------------------------------------------------------------------------------


@TRAINING.check(
    "freeze-layers", "frozen layers must leave something to train, and be known by name"
)
def _freeze(job: JobConfig) -> Iterator[Found]:
    wanted, size = job.training.freeze_layers, model_size(job.model)
    where = f"training.freeze_layers={wanted}"
    if not wanted:
        return
    if job.training.lora.rank is not None:
        what = (
            f"has no effect with training.lora.rank={job.training.lora.rank}: all layers are frozen"
        )
        yield where, what, "training.freeze_layers=0"
    if job.code.builder:
        what = f"does not work with code.builder={job.code.builder}, which may freeze layers itself"
        yield where, what, "training.freeze_layers=0"
    if size is not None and wanted >= size.layers:
        what = f"the model has {size.layers} layers, of which one at least has to learn"
        yield where, what, f"training.freeze_layers={size.layers - 1}"


@TRAINING.check("checkpointing-alone", "a layer that is computed again must find what it was given")
def _checkpointing(job: JobConfig) -> Iterator[Found]:
    if not job.training.gradient_checkpointing:
        return
    where = "training.gradient_checkpointing=true"
    if job.batching.padding_free:
        what = (
            "does not work with batching.padding_free=true: the second pass does not know the texts"
        )
        yield where, what, "training.gradient_checkpointing=false, or batching.padding_free=false"
    if job.training.compile:
        what = "was not tried with training.compile=true, whose program keeps what it needs"
        yield where, what, "training.gradient_checkpointing=false, or training.compile=false"


@TRAINING.check(
    "head-dropout-unknown", "each architecture calls the dropout of its head in its own way"
)
def _head_dropout(job: JobConfig) -> Iterator[Found]:
    wanted, architecture = job.model.head_dropout, architecture_of(job.model)
    if wanted is None:
        return
    if job.code.builder:
        what = f"does not work with code.builder={job.code.builder}, whose head is its own"
        yield f"model.head_dropout={wanted:g}", what, "model.head_dropout=null"
    elif architecture is None or own_classes(config_of(job.model)):
        return
    elif head_dropout_name(architecture) is None:
        yield no_head_dropout(wanted, architecture)


# --- precision ----------------------------------------------------------------------------------


@TRAINING.check("skipped-unused", "only the loss scale of fp16 skips updates", Severity.warning)
def _skipped(job: JobConfig) -> Iterator[Found]:
    wanted, usual = job.training.max_skipped, TrainingConfig().max_skipped
    precision, on_gpus = job.training.precision, job.cluster.gpus_per_node
    if wanted == usual or precision is Precision.fp16 or (precision is Precision.auto and on_gpus):
        return
    what = (
        "has no effect on CPUs"
        if precision is Precision.auto
        else f"has no effect with training.precision={precision.value}"
    )
    yield f"training.max_skipped={wanted}", what, f"training.max_skipped={usual}"


# --- time ---------------------------------------------------------------------------------------


@TRAINING.check(
    "hours-beyond-max-run", "SageMaker stops a job after cluster.max_run, finished or not"
)
def _hours(job: JobConfig) -> Iterator[Found]:
    hours, most = job.training.max_hours, job.cluster.max_run
    if hours is None or job.cluster.instance_type is None or hours * _HOUR < most:
        return
    what = f"is not reached: the job is stopped after cluster.max_run={most} s"
    fix = f"training.max_hours={0.8 * most / _HOUR:.3g}"
    if (enough := 1.2 * hours * _HOUR) <= LONGEST_RUN:
        fix = f"cluster.max_run={math.ceil(enough / 60) * 60}, or {fix}"
    yield f"training.max_hours={hours:g}", what, fix
