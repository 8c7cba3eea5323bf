"""Rungs of asynchronous successive halving: after which evaluations a job has to be among the best. Pure.

A rung must be worth more than the start of a job: whoever ends jobs after a minute of training pays mostly
for starts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lingotune.config.problems import Problem, Severity
from lingotune.config.schema import Prune, SweepConfig
from lingotune.estimate.run_time import TimeEstimate, evaluations_of
from lingotune.launch.plan.planner import Plan
from lingotune.launch.sweeps.start_times import Measured

COLD_START, WARM_START, LOCAL_START = 210.0, 30.0, 10.0
"""Seconds from the request of a job to its first update, where none was measured: on a machine that
SageMaker has to fetch, on one of a warm pool (cluster.keep_alive), and on this machine."""
WITHOUT_EFFECT = "prune-without-effect"
"""Name of the check that early ends have an effect."""
_LEAST_PAID = 2
"""Evaluations before the first rung on SageMaker, where a single one is mostly noise and start."""


@dataclass(frozen=True)
class Rungs:
    """Evaluations after which hopeless configurations end.

    first, reduction: the first rung, and how many times longer each is than the one before it.
    evaluations: of the longest job; None if unknown before the data is read. arithmetic: as lines of text.
    """

    first: int
    reduction: int
    evaluations: int | None
    arithmetic: tuple[str, ...]

    @property
    def steps(self) -> list[int]:
        """Rungs at which a job is judged, before its end."""
        if self.evaluations is None:
            return [self.first]
        found, step = [], self.first
        while step < self.evaluations:
            found.append(step)
            step *= self.reduction
        return found


def rungs_of(
    settings: SweepConfig,
    plans: Sequence[Plan],
    measured: Measured | None = None,
    before: int | None = None,
) -> Rungs | None:
    """Find the rungs of a sweep; None if nothing is ended early.

    measured: times of earlier jobs; None = none is on record. before: first rung that the sweep was begun
    with, which it keeps, as its configurations were judged there.
    """
    if settings.prune is Prune.none:
        return None
    counts = [evaluations_of(p.job.training, p.steps) for p in plans if p.steps is not None]
    most = max(counts) if len(counts) == len(plans) else None
    if settings.min_evaluations is not None:
        line = f"first rung after evaluation {settings.min_evaluations} (sweep.min_evaluations)"
        return Rungs(settings.min_evaluations, settings.reduction, most, (line,))
    if before is not None:
        line = f"first rung after evaluation {before}, as since this sweep was begun"
        return Rungs(before, settings.reduction, most, (line,))
    found = [_first(p, n, measured) for p, n in zip(plans, counts)] if most else []
    first, line = max(found, default=_unmeasured(plans[0]), key=lambda one: one[0])
    return Rungs(first, settings.reduction, most, (line,))


def first_rung(start: float, seconds: float, least: int) -> int:
    """Count the evaluations that take at least as long as a start, but `least` in any case.

    start: seconds of a job's start. seconds: of an evaluation and the training before it.
    """
    return max(least, math.ceil(start / seconds)) if seconds > 0 else least


def without_effect(rungs: Rungs | None) -> list[Problem]:
    """Warn of pruning that can end nothing, as no job is longer than the first rung."""
    if rungs is None or rungs.evaluations is None or rungs.steps:
        return []
    what = (
        f"ends nothing early: a job has {rungs.evaluations} evaluations, and the first rung is after"
        f" evaluation {rungs.first}"
    )
    fix = "training.eval_strategy=steps training.eval_steps=..., or sweep.min_evaluations=1"
    return [Problem("sweep.prune=asha", what, fix, Severity.warning, check=WITHOUT_EFFECT)]


def _first(plan: Plan, evaluations: int, measured: Measured | None) -> tuple[int, str]:
    time: TimeEstimate | None = plan.time
    seconds = measured.evaluation if measured else None
    if time is not None and evaluations:
        seconds = (time.train_seconds + time.eval_seconds) / evaluations
    if seconds is None or not evaluations:
        return _unmeasured(plan)
    start, why = _start(plan, measured)
    first = first_rung(start, seconds, _least(plan))
    line = (
        f"first rung after evaluation {first}: {first} x {seconds:.3g} s of training, and"
        f" {start:.3g} s is {why}"
    )
    return first, line


def _unmeasured(plan: Plan) -> tuple[int, str]:
    least = _least(plan)
    where = "on SageMaker" if plan.training_job else "on this machine"
    return least, f"first rung after evaluation {least}: no run of this set-up was measured {where}"


def _least(plan: Plan) -> int:
    return _LEAST_PAID if plan.training_job else 1


def _start(plan: Plan, measured: Measured | None) -> tuple[float, str]:
    """Choose the seconds of a start: measured, or else a usual figure; and say which it is."""
    kind, usual = "the start of a job on SageMaker", COLD_START
    if plan.training_job is None:
        kind, usual = "the start of a process", LOCAL_START
    elif plan.job.cluster.keep_alive:
        kind, usual = "a start in a warm pool (cluster.keep_alive)", WARM_START
    if measured is None:
        return usual, f"{kind}, taken as usual: none is on record"
    jobs = "1 job" if measured.jobs == 1 else f"{measured.jobs} jobs"
    return measured.start, f"{kind}, as measured on {jobs}"
