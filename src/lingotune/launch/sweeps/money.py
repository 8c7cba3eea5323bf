"""Money and time of a whole sweep: the worst case, and what is expected with early ends. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lingotune.config.schema import SweepConfig
from lingotune.estimate.run_time import duration
from lingotune.launch.cost.prices import usd_text
from lingotune.launch.plan.planner import Plan
from lingotune.launch.sweeps.pruning import Rungs


@dataclass(frozen=True)
class Work:
    """Jobs and evaluations of a sweep.

    configurations: without their seeds. seeds: jobs of each. evaluations: of a job that runs to its end;
    None if unknown. trained: expected evaluations over all jobs. started: expected number of jobs.
    """

    configurations: int
    seeds: int
    evaluations: int | None
    trained: float | None
    started: float
    lines: tuple[str, ...] = ()

    @property
    def jobs(self) -> int:
        """Number of jobs, if each runs."""
        return self.configurations * self.seeds

    @property
    def share(self) -> float:
        """Share of all evaluations that is expected to be trained."""
        if self.trained is None or not self.evaluations:
            return 1.0
        return self.trained / (self.jobs * self.evaluations)


@dataclass(frozen=True)
class Money:
    """Cost in USD and seconds of a sweep; None = unknown, or on this machine.

    worst_usd: every job until SageMaker stops it. full_usd: expected for all jobs to their end.
    expected_usd: expected with early ends. seconds: expected wall time.
    """

    worst_usd: float | None
    full_usd: float | None
    expected_usd: float | None
    seconds: float | None
    lines: tuple[str, ...]


def work_of(configurations: int, seeds: int, rungs: Rungs | None) -> Work:
    """Count what is trained if one configuration in `rungs.reduction` goes on after each rung.

    The first seed of each configuration competes; the others of the last ones follow.
    """
    jobs = configurations * seeds
    if rungs is None or not rungs.steps or rungs.evaluations is None:
        end = rungs.evaluations if rungs else None
        return Work(configurations, seeds, end, end and float(jobs * end), jobs)
    left, before, trained, parts, goes_on = configurations, 0, 0, [], []
    for step in [*rungs.steps, rungs.evaluations]:
        trained += left * (step - before)
        parts.append(f"{left} x {step - before}")
        if step != rungs.evaluations:
            left, before = max(1, left // rungs.reduction), step
            goes_on.append(f"{left} after {step}")
    started = configurations + left * (seeds - 1)
    if seeds > 1:
        trained += left * (seeds - 1) * rungs.evaluations
        parts.append(f"{left * (seeds - 1)} further seeds x {rungs.evaluations}")
    total = jobs * rungs.evaluations
    lines = (
        f"of {configurations} configurations about {', '.join(goes_on)} evaluations go on",
        f"{' + '.join(parts)} = {trained} of {total} evaluations ({trained / total:.0%})",
    )
    return Work(configurations, seeds, rungs.evaluations, float(trained), started, lines)


def money_of(plans: Sequence[Plan], work: Work, settings: SweepConfig, slots: int | None) -> Money:
    """Add up the cost of a sweep.

    plans: its jobs, or the corners of a search, of which the dearest counts for the worst case and the
    mean for what is expected. slots: jobs at a time; None = as many as the account's quota allows.
    """
    paid = all(plan.training_job is not None for plan in plans)
    worst = _scaled([plan.cost.worst_usd if plan.cost else None for plan in plans], work.jobs, max)
    full = _scaled([p.cost.expected_usd if p.cost else None for p in plans], work.jobs, fmean)
    times = [plan.time.seconds if plan.time else None for plan in plans]
    share = _share_of_time(plans, work)
    expected = None if full is None else full * share
    whole = _scaled(times, work.jobs, fmean)
    seconds = None
    if whole is not None and slots is not None:
        longest = max(time for time in times if time is not None)
        seconds = max(longest, whole * share / min(slots, work.jobs))
    lines = [*_usd_lines(worst, full, expected, work, settings)] if paid else []
    lines += _time_lines(whole, share, seconds, slots, work)
    return Money(worst, full, expected, seconds, tuple(lines))


def _scaled(values: Sequence[float | None], jobs: int, of: object) -> float | None:
    """Sum the values of all jobs; those of a few corners stand for the others."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    if len(known) == jobs:
        return math.fsum(known)
    return jobs * (max(known) if of is max else fmean(known))


def _share_of_time(plans: Sequence[Plan], work: Work) -> float:
    """Compute the share of the time of all jobs; a job that ends early has its start and reading, too."""
    times = [plan.time for plan in plans if plan.time]
    if work.trained is None or not times or len(times) < len(plans):
        return 1.0
    other = fmean(time.other_seconds for time in times)
    training = fmean(time.train_seconds + time.eval_seconds for time in times)
    whole = work.jobs * (other + training)
    return (work.started * other + work.jobs * training * work.share) / whole if whole else 1.0


def _usd_lines(
    worst: float | None,
    full: float | None,
    expected: float | None,
    work: Work,
    settings: SweepConfig,
) -> list[str]:
    lines = [f"worst case of all {work.jobs} jobs: {usd_text(worst)}"]
    if worst is not None and settings.retries:
        again = usd_text(worst * (1 + settings.retries))
        lines.append(
            f"a fault of AWS starts a job again up to {settings.retries} times (sweep.retries), in the"
            f" worst case for {again}"
        )
    lines.append(f"expected cost of all {work.jobs} jobs to their end: {usd_text(full)}")
    if work.lines:
        known = "" if expected is None or full is None else f", {usd_text(full - expected)} saved"
        lines.append(f"expected with early ends: {usd_text(expected)}{known}")
    return lines


def _time_lines(
    whole: float | None, share: float, seconds: float | None, slots: int | None, work: Work
) -> list[str]:
    if whole is None:
        return ["expected time unknown: no finished run of this set-up is on record"]
    together = duration(whole * share)
    if seconds is None or slots is None:
        return [f"{together} of training together, over as many jobs at a time as the quota allows"]
    return [f"{duration(seconds)} = {together} of training, {min(slots, work.jobs)} at a time"]
