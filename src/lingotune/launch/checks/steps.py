"""Checks of the numbers that follow from the number of rows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lingotune.config.problems import Severity
from lingotune.config.schema import EvalStrategy, JobConfig
from lingotune.estimate.batch import BatchPlan, StepPlan
from lingotune.estimate.run_time import evaluations_of
from lingotune.preflight.registry import Found, Table


@dataclass(frozen=True)
class JobWithSteps:
    """A job with its planned numbers."""

    job: JobConfig
    batch: BatchPlan
    steps: StepPlan


STEPS: Table[JobWithSteps] = Table()


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


@STEPS.check("warmup-longer-than-training", "the learning rate would never reach its peak")
def _warmup(planned: JobWithSteps) -> Iterator[Found]:
    warmup, total = planned.job.training.warmup_steps, planned.steps.total_steps
    if warmup is not None and warmup >= total:
        what = f"is as long as the whole training of {_counted(total, 'step')}"
        fix = f"training.warmup_steps={max(0, total // 10)}, or training.warmup_ratio=0.1"
        yield f"training.warmup_steps={warmup}", what, f"{fix} training.warmup_steps=null"


@STEPS.check("no-evaluation", "without an evaluation no checkpoint is chosen")
def _evaluation(planned: JobWithSteps) -> Iterator[Found]:
    training, total = planned.job.training, planned.steps.total_steps
    by_steps = training.eval_strategy is EvalStrategy.steps
    if by_steps and training.eval_steps is not None and training.eval_steps > total:
        what = f"comes after the end: the training has {_counted(total, 'step')}"
        fix = f"training.eval_steps={max(1, total // 5)}"
        yield f"training.eval_steps={training.eval_steps}", what, fix


@STEPS.check("patience-too-long", "the training ends before it could", Severity.warning)
def _patience(planned: JobWithSteps) -> Iterator[Found]:
    training, steps = planned.job.training, planned.steps
    if training.patience is None or training.eval_strategy is EvalStrategy.none:
        return
    times = evaluations_of(training, steps)
    if training.patience >= times:
        what = f"never ends a training of {_counted(times, 'evaluation')}"
        fix = f"training.patience={times // 2}" if times > 1 else "training.patience=null"
        yield f"training.patience={training.patience}", what, fix


@STEPS.check("no-checkpoint", "what is not saved is lost with the machine", Severity.warning)
def _checkpoint(planned: JobWithSteps) -> Iterator[Found]:
    save, total = planned.job.training.save_steps, planned.steps.total_steps
    if save is not None and save > total:
        what = f"comes after the end: the training has {_counted(total, 'step')}"
        yield f"training.save_steps={save}", what, f"training.save_steps={max(1, total // 5)}"


@STEPS.check("batch-larger-than-data", "every step would see all rows", Severity.warning)
def _batch(planned: JobWithSteps) -> Iterator[Found]:
    batch, rows = planned.batch.global_batch, planned.steps.train_rows
    if batch > rows:
        what = f"the global batch of {batch} is larger than the training split of {rows} rows"
        smaller = max(1, planned.job.per_device_bs * rows // batch)
        yield f"per_device_bs={planned.job.per_device_bs}", what, f"per_device_bs={smaller}"


@STEPS.check("no-log-line", "a run without a line of loss cannot be followed", Severity.warning)
def _logging(planned: JobWithSteps) -> Iterator[Found]:
    every, total = planned.job.training.logging_steps, planned.steps.total_steps
    if every > total:
        what = f"comes after the end: the training has {_counted(total, 'step')}"
        fix = f"training.logging_steps={max(1, total // 10)}"
        yield f"training.logging_steps={every}", what, fix
