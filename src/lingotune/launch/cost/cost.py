"""Expected and worst-case cost of a job that has not run. Pure.

The expected time comes from measured runs of the same set-up; without any it is unknown, and only the
worst case remains. Every figure comes with its arithmetic as a line of text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from lingotune.config.problems import Problem
from lingotune.config.program import program
from lingotune.config.schema import BudgetConfig, ClusterConfig
from lingotune.estimate.run_time import TimeEstimate
from lingotune.estimate.throughput import Throughput
from lingotune.launch.cost.prices import Price, rate_text, usd_text

HOUR = 3600
"""Seconds in an hour."""


@dataclass(frozen=True)
class CostEstimate:
    """Cost of one job in USD; None = unknown. worst_usd: the most that SageMaker can bill."""

    expected_usd: float | None
    worst_usd: float | None
    arithmetic: tuple[str, ...]


# --- time ---------------------------------------------------------------------------------------


# --- money --------------------------------------------------------------------------------------


def spot_share(cluster: ClusterConfig, records: Sequence[Throughput]) -> float | None:
    """Compute the median share of their time that spot runs on this instance type were billed for.

    None if there are no such runs.
    """
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
    """Estimate the expected and the worst-case cost of a job; None on this machine, which bills nothing.

    share: see `spot_share`. Retries add nothing, as AWS counts max_run over all attempts together.
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


def of_the_dearest(
    costs: Mapping[str, CostEstimate | None],
) -> tuple[CostEstimate | None, tuple[str, ...]]:
    """Combine the costs of a job on each machine that it may get, by instance type, the first foremost.

    It is expected to get the first; in the worst case it runs on the dearest until it is stopped. Returns
    the cost, and a line about that.
    """
    first, *_ = costs.values()
    if first is None:
        return None, ()
    worst = {name: cost.worst_usd if cost else None for name, cost in costs.items()}
    unknown = [name for name, usd in worst.items() if usd is None]
    if unknown:
        line = f"worst case unknown: the price of {', '.join(unknown)} is"
        return replace(first, worst_usd=None), (line,)
    usd, dearest = max((usd or 0.0, name) for name, usd in worst.items())
    line = f"worst case {usd_text(usd)}, that of the dearest: {dearest}"
    return replace(first, worst_usd=usd), (line,)


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
    return usd, f"{name} {usd_text(usd)} = {time} x {rate_text(price, cluster.nodes)}"


def check_budget_settings(budget: BudgetConfig) -> list[Problem]:
    """Find limits and prices that are not valid amounts."""
    given = {"budget.max_usd": budget.max_usd, "budget.usd_per_hour": budget.usd_per_hour}
    confirm = budget.confirm_usd
    if confirm is not None and not 0 <= confirm < math.inf:
        wrong = Problem(
            f"budget.confirm_usd={confirm:g}", "is out of range", "budget.confirm_usd=50",
            check="budget-range", why="an amount in USD, or 0 to be asked before every submit",
        )  # fmt: skip
        return [wrong, *check_budget_settings(replace(budget, confirm_usd=None))]
    return [
        Problem(f"{key}={value:g}", "is out of range", f"{key}=10", check="budget-range",
                why="an amount above 0 in USD")
        for key, value in given.items()
        if value is not None and not 0 < value < math.inf
    ]  # fmt: skip


def check_budget(budget: BudgetConfig, worst: Sequence[float | None]) -> list[Problem]:
    """Compare the worst cases of a job, or of all jobs of a sweep together, with the budget.

    worst: USD of each job on SageMaker; None = its price is unknown.
    """
    if not worst:
        return []
    jobs = "the job" if len(worst) == 1 else f"the {len(worst)} jobs together"
    unknown = sum(usd is None for usd in worst)
    which = "the job" if len(worst) == 1 else f"{unknown} of {len(worst)} jobs"
    problems = _unknown_price(budget, which) if unknown else []
    total = sum(usd for usd in worst if usd is not None)
    return [*problems, *check_budget_total(budget, total, jobs)]


def check_budget_total(budget: BudgetConfig, total: float | None, jobs: str) -> list[Problem]:
    """Compare the worst case of jobs with the budget. total: in USD; None = unknown. jobs: in words."""
    if budget.max_usd is None:
        return []
    if total is None:
        return _unknown_price(budget, jobs)
    if total <= budget.max_usd:
        return []
    what = f"the worst case of {jobs} is {usd_text(total)}"
    fix = f"budget.max_usd={math.ceil(total)}, a shorter cluster.max_run or fewer jobs"
    why = "SageMaker may bill every second up to cluster.max_run, on every node"
    where = f"budget.max_usd={budget.max_usd:g}"
    return [Problem(where, what, fix, check="budget-exceeded", why=why)]


def _unknown_price(budget: BudgetConfig, jobs: str) -> list[Problem]:
    if budget.max_usd is None:
        return []
    fix = (
        f"budget.usd_per_hour=..., or {program('prices')} --region REGION > prices.json"
        " and budget.prices=prices.json"
    )
    what = f"cannot be checked: the price of {jobs} is unknown"
    where = f"budget.max_usd={budget.max_usd:g}"
    return [Problem(where, what, fix, check="budget-unknown-price")]
