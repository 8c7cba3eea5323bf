"""Time and money of a job that has not run: what it may take, what it may cost at worst. Pure.

An expected time comes from measured runs of the same set-up; without one it is unknown, and the
worst case stands. Every figure comes with its arithmetic as a line of text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from lingotune.prices import Price, rate_text
from lingotune.scaling import BatchPlan, StepPlan, plan_steps
from lingotune.schema import (
    BudgetConfig,
    ClusterConfig,
    EvalStrategy,
    JobConfig,
    Precision,
    Problem,
    TrainingConfig,
)
from lingotune.throughput import Setup, Throughput, samples_trained, setup_of

HOUR = 3600
"""Seconds."""


@dataclass(frozen=True)
class TimeEstimate:
    """Expected seconds of a job's worker, and of the whole SageMaker job where runs measured that.

    `other_seconds`: start-up, reading, tokenising, loading, saving. `basis`: the runs it is from.
    """

    seconds: float
    train_seconds: float
    eval_seconds: float
    other_seconds: float
    samples_per_second: float
    basis: str
    arithmetic: tuple[str, ...]


@dataclass(frozen=True)
class CostEstimate:
    """USD of one job; None = unknown. `worst_usd` is the most that SageMaker can bill."""

    expected_usd: float | None
    worst_usd: float | None
    arithmetic: tuple[str, ...]


# --- time ---------------------------------------------------------------------------------------


def estimate_time(
    job: JobConfig,
    batch: BatchPlan,
    rows: Mapping[str, int] | None,
    precision: Precision,
    records: Sequence[Throughput],
    machine: str | None = None,
) -> TimeEstimate | None:
    """Expected seconds, from the median of the runs of the same set-up; None = unknown.

    rows: of train, validation and test; None = not known. precision: the resolved one. machine: off
    SageMaker, which one (`throughput.cpu_machine()`); None = any. Runs on the same data count alone
    where there are some.
    """
    wanted = setup_of(job, batch, precision, machine)
    measured, note = _same_data([r for r in records if _is(r.setup, wanted)], job)
    if not measured or rows is None:
        return None
    steps = plan_steps(job, batch, rows["train"])
    samples = samples_trained(steps, batch.global_batch)
    scored = _evaluations(job.training, steps) * rows["validation"]
    scored += rows["validation"] + rows["test"]
    speed = median(r.samples_per_second for r in measured)
    eval_speeds = [r.eval_samples_per_second for r in measured if r.eval_samples_per_second]
    if not eval_speeds:
        return None
    train, evaluate = samples / speed, scored / median(eval_speeds)
    other = median(r.overhead_seconds for r in measured)
    total = train + evaluate + other
    line = (
        f"expected {total:.0f} s = {train:.0f} s training ({samples} samples / {speed:.4g} a second)"
        f" + {evaluate:.0f} s evaluating ({scored} samples / {median(eval_speeds):.4g} a second)"
        f" + {other:.0f} s start-up, reading and saving"
    )
    basis = f"{_runs(measured)}, {speed:.4g} samples/s{note}"
    return TimeEstimate(total, train, evaluate, other, speed, basis, (line, f"from {basis}"))


def _is(setup: Setup, wanted: Setup) -> bool:
    return setup == wanted or (
        wanted.instance_type is None
        and wanted.machine is None
        and replace(setup, machine=None) == wanted
    )


def _same_data(records: Sequence[Throughput], job: JobConfig) -> tuple[Sequence[Throughput], str]:
    """The runs on the job's data, or else all, and what is to be said about that."""
    languages = set(job.data.languages)
    same = [
        r
        for r in records
        if r.data == job.data.name and (not languages or languages == set(r.languages))
    ]
    if same or not records:
        return same, ""
    names = sorted({f"{r.data} ({', '.join(r.languages)})" for r in records})
    return records, f", but on other data: {'; '.join(names)}"


def _evaluations(training: TrainingConfig, steps: StepPlan) -> int:
    """How often the validation split is scored during the training."""
    if training.eval_strategy is EvalStrategy.none:
        return 0
    if training.eval_strategy is EvalStrategy.epoch:
        return math.ceil(steps.total_steps / steps.steps_per_epoch)
    assert training.eval_steps is not None, "preflight requires it"
    return steps.total_steps // training.eval_steps


def _runs(records: Sequence[Throughput]) -> str:
    """`3 runs of 2026-11-20..23`."""
    days = sorted(record.date[:10] for record in records)
    first, last = days[0], days[-1]
    until = last[8:] if last[:8] == first[:8] else last
    count = "1 run" if len(records) == 1 else f"{len(records)} runs"
    return f"{count} of {first}" + ("" if first == last else f"..{until}")


def exceeds_max_run(estimate: TimeEstimate | None, cluster: ClusterConfig) -> Problem | None:
    """The finding that SageMaker would stop the job unfinished, if it would."""
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


# --- money --------------------------------------------------------------------------------------


def spot_share(cluster: ClusterConfig, records: Sequence[Throughput]) -> float | None:
    """Median share of the time that spot runs on this instance type were billed; None = unknown."""
    shares = [
        r.spot_billable_share
        for r in records
        if r.setup.instance_type == cluster.instance_type and r.spot_billable_share is not None
    ]
    return median(shares) if shares else None


def estimate_cost(
    cluster: ClusterConfig,
    estimate: TimeEstimate | None,
    price: Price | None,
    share: float | None = None,
) -> CostEstimate | None:
    """What a job costs: expected and at worst. None on this machine, which bills nothing.

    `share`: of the time that spot runs were billed (`spot_share`). Retries add nothing: AWS counts
    max_run over all attempts together.
    """
    if cluster.instance_type is None:
        return None
    if price is None:
        return CostEstimate(None, None, ("cost unknown: the price is unknown",))
    worst, worst_line = _amount("worst case", cluster.max_run, "cluster.max_run", cluster, price)
    lines = [worst_line]
    expected = None
    if estimate is None:
        lines.append("expected cost unknown: no run of this set-up was measured")
    else:
        seconds, note = _billed(estimate, cluster, share)
        expected, line = _amount("expected", seconds, note, cluster, price)
        lines.insert(0, line)
    if cluster.spot and share is None:
        lines.append("spot discount unknown: no measured run")
    if cluster.training_plan:
        lines.append("a training plan is paid in advance: this is the same time on demand")
    return CostEstimate(expected, worst, tuple(lines))


def _billed(
    estimate: TimeEstimate, cluster: ClusterConfig, share: float | None
) -> tuple[float, str]:
    if cluster.spot and share is not None:
        note = f"{estimate.seconds:.0f} s x {share:.2f}, the billed share of measured spot runs"
        return estimate.seconds * share, note
    return estimate.seconds, estimate.basis


def _amount(
    name: str, seconds: float, note: str, cluster: ClusterConfig, price: Price
) -> tuple[float, str]:
    warm = cluster.keep_alive or 0
    usd = (seconds + warm) * cluster.nodes * price.usd_per_hour / HOUR
    time = f"{seconds:.0f} s ({note})"
    if warm:
        time = f"({time} + {warm} s (cluster.keep_alive, warm pool))"
    return usd, f"{name} {usd:.2f} USD = {time} x {rate_text(price, cluster.nodes)}"


def check_budget_settings(budget: BudgetConfig) -> list[Problem]:
    """Limits and prices that are no amounts."""
    given = {"budget.max_usd": budget.max_usd, "budget.usd_per_hour": budget.usd_per_hour}
    return [
        Problem(f"{key}={value:g}", "is out of range", f"{key}=10", check="budget-range",
                why="an amount above 0 in USD")
        for key, value in given.items()
        if value is not None and not 0 < value < math.inf
    ]  # fmt: skip


def check_budget(budget: BudgetConfig, worst: Sequence[float | None]) -> list[Problem]:
    """Whether the worst cases of a job, or of a sweep's jobs together, stay within the budget.

    worst: USD of each job on SageMaker; None = its price is unknown.
    """
    if budget.max_usd is None or not worst:
        return []
    where = f"budget.max_usd={budget.max_usd:g}"
    jobs = "the job" if len(worst) == 1 else f"the {len(worst)} jobs together"
    unknown = sum(usd is None for usd in worst)
    total = sum(usd for usd in worst if usd is not None)
    problems = []
    if unknown:
        which = "the job" if len(worst) == 1 else f"{unknown} of {len(worst)} jobs"
        what = f"cannot be checked: the price of {which} is unknown"
        works = (
            "budget.usd_per_hour=..., or python -m lingotune prices --region REGION > prices.json"
            " and budget.prices=prices.json"
        )
        problems.append(Problem(where, what, works, check="budget-unknown-price"))
    if total > budget.max_usd:
        what = f"the worst case of {jobs} is {total:.2f} USD"
        works = f"budget.max_usd={math.ceil(total)}, a shorter cluster.max_run or fewer jobs"
        why = "SageMaker may bill every second up to cluster.max_run, on every node"
        problems.append(Problem(where, what, works, check="budget-exceeded", why=why))
    return problems
