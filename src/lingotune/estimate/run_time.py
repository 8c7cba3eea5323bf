"""Expected time of a job, from measured runs of the same set-up. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from lingotune.config.problems import Problem
from lingotune.config.schema import (
    ClusterConfig,
    EvalStrategy,
    JobConfig,
    Precision,
    TrainingConfig,
)
from lingotune.estimate.batch import BatchPlan, StepPlan, plan_steps
from lingotune.estimate.throughput import Setup, Throughput, samples_trained, setup_of


@dataclass(frozen=True)
class TimeEstimate:
    """Expected seconds of a job's worker, or of the whole SageMaker job where runs have measured that.

    other_seconds: start-up, reading, tokenising, loading, saving. basis: the runs it is based on.
    save_seconds: for each checkpoint; None if no run has counted them.
    """

    seconds: float
    train_seconds: float
    eval_seconds: float
    other_seconds: float
    samples_per_second: float
    basis: str
    arithmetic: tuple[str, ...]
    save_seconds: float | None = None


def duration(seconds: float, *, exact: bool = False) -> str:
    """Format seconds as `3 h 05 min`, `12 min` or `40 s`; exact: as `3 h 05 min`, `2 min 05 s`, `7.1 s`."""
    if seconds < (60 if exact else 90):
        return f"{seconds:.1f} s" if exact else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60) if exact else (round(seconds / 60), 0)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if exact else f"{minutes} min"


def estimate_time(
    job: JobConfig,
    batch: BatchPlan,
    rows: Mapping[str, int] | None,
    precision: Precision,
    records: Sequence[Throughput],
    machine: str | None = None,
    languages: Sequence[str] | None = None,
) -> TimeEstimate | None:
    """Estimate the seconds of a job from the median of runs of the same set-up; None if there are none.

    rows: of train, validation and test; None = unknown. precision: the resolved one. machine: outside
    SageMaker, the one to run on (`machine.cpu_machine()`); None = any. languages: the codes that
    `data.languages` stands for; None = those that are typed. If some of the runs trained on the same data,
    only these count.
    """
    wanted = setup_of(job, batch, precision, machine)
    alike = [r for r in records if _is(_as_fitted(r.setup, wanted, job), wanted)]
    measured, note = _same_data(alike, job.data.name, languages or job.data.languages)
    if not measured or rows is None:
        return None
    steps = plan_steps(job, batch, rows["train"])
    samples = samples_trained(steps, batch.global_batch)
    scored = evaluations_of(job.training, steps) * rows["validation"]
    scored += rows["validation"] + rows["test"]
    speed = median(r.samples_per_second for r in measured)
    eval_speeds = [r.eval_samples_per_second for r in measured if r.eval_samples_per_second]
    if not eval_speeds:
        return None
    train, evaluate = samples / speed, scored / median(eval_speeds)
    other = median(r.overhead_seconds for r in measured)
    spent = (
        f"{train:.0f} s training ({samples} samples / {speed:.4g} a second)"
        f" + {evaluate:.0f} s evaluating ({scored} samples / {median(eval_speeds):.4g} a second)"
    )
    limit = (job.training.max_hours or math.inf) * 3600
    if train + evaluate > limit:
        whole, share = train + evaluate, limit / (train + evaluate)
        train, evaluate = share * train, share * evaluate
        spent = f"{limit:.0f} s (training.max_hours) of {whole:.0f} s training and evaluating"
    total = train + evaluate + other
    line = f"expected {total:.0f} s = {spent} + {other:.0f} s start-up, reading and saving"
    basis = f"{_runs(measured)}, {speed:.4g} samples/s{note}"
    lines = (line, f"from {basis}")
    return TimeEstimate(total, train, evaluate, other, speed, basis, lines, _each_save(measured))


def _each_save(records: Sequence[Throughput]) -> float | None:
    """Return the median seconds of a checkpoint; None where none was counted."""
    each = [r.phases.get("saving", 0.0) / r.checkpoints for r in records if r.checkpoints]
    return median(each) if each else None


def _as_fitted(setup: Setup, wanted: Setup, job: JobConfig) -> Setup:
    """Return the set-up of a run as that of a job which takes smaller micro-batches where it has to."""
    one, other = (s.per_device_bs * s.accumulation for s in (setup, wanted))
    if not job.training.fit_memory or one != other or setup.per_device_bs > wanted.per_device_bs:
        return setup
    return replace(setup, per_device_bs=wanted.per_device_bs, accumulation=wanted.accumulation)


def _is(setup: Setup, wanted: Setup) -> bool:
    return setup == wanted or (
        wanted.instance_type is None
        and wanted.machine is None
        and replace(setup, machine=None) == wanted
    )


def _same_data(
    records: Sequence[Throughput], name: str, languages: Sequence[str]
) -> tuple[Sequence[Throughput], str]:
    """Choose the runs on the same data, or else all; returns them and a remark for the basis."""
    same = [
        r
        for r in records
        if r.data == name and (not languages or set(languages) == set(r.languages))
    ]
    if same or not records:
        return same, ""
    names = sorted({f"{r.data} ({', '.join(r.languages)})" for r in records})
    return records, f", but on other data: {'; '.join(names)}"


def evaluations_of(training: TrainingConfig, steps: StepPlan) -> int:
    """Count how often the validation split is scored during training."""
    if training.eval_strategy is EvalStrategy.none:
        return 0
    if training.eval_strategy is EvalStrategy.epoch:
        return math.ceil(steps.total_steps / steps.steps_per_epoch)
    assert training.eval_steps is not None, "preflight requires it"
    return steps.total_steps // training.eval_steps


def _runs(records: Sequence[Throughput]) -> str:
    """Format `3 runs of 2026-11-20..23`."""
    days = sorted(record.date[:10] for record in records)
    first, last = days[0], days[-1]
    until = last[8:] if last[:8] == first[:8] else last
    count = "1 run" if len(records) == 1 else f"{len(records)} runs"
    return f"{count} of {first}" + ("" if first == last else f"..{until}")


def exceeds_max_run(estimate: TimeEstimate | None, cluster: ClusterConfig) -> Problem | None:
    """Return a finding if SageMaker would stop the job before it is finished."""
    if cluster.instance_type is None or estimate is None or estimate.seconds <= cluster.max_run:
        return None
    enough = math.ceil(estimate.seconds * 1.2 / 60) * 60
    return Problem(
        f"cluster.max_run={cluster.max_run}",
        f"the job is expected to take {estimate.seconds:.0f} s ({estimate.basis})",
        f"cluster.max_run={enough}",
        check="max-run-too-short",
        why="SageMaker stops a job after max_run seconds, finished or not, and bills them",
    )
