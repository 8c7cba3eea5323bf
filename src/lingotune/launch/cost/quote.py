"""Expected time and cost of the jobs of a command; reads the price list and the measured runs once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path

from lingotune.catalog.hardware import (
    Instance,
    instance_of,
    option_name,
    precision_on,
    resolve_precision,
)
from lingotune.catalog.neighbours import nearest_sold
from lingotune.config.problems import Problem
from lingotune.config.schema import BudgetConfig, LaunchConfig, Precision
from lingotune.data.sources.languages import wanted_languages
from lingotune.estimate.batch import BatchPlan
from lingotune.estimate.run_time import TimeEstimate, estimate_time, exceeds_max_run
from lingotune.estimate.throughput import FILE, Throughput, read_records
from lingotune.launch.cost.cost import (
    CostEstimate,
    check_budget,
    check_budget_settings,
    estimate_cost,
    spot_share,
)
from lingotune.launch.cost.prices import (
    Price,
    find_price,
    load_prices,
    price_text,
    unknown_text,
    usd_text,
)
from lingotune.system.machine import cpu_has_bf16, cpu_machine


@dataclass(frozen=True)
class Quote:
    """Expected time and cost of one job, as figures and as lines of text."""

    time: TimeEstimate | None
    cost: CostEstimate | None
    lines: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Total:
    """Sums over the jobs of a sweep; None if one of them is unknown."""

    expected_usd: float | None
    worst_usd: float | None
    lines: tuple[str, ...]


class CostEstimator:
    """Estimator of jobs' time and cost; ConfigError if the user's price file cannot be read."""

    def __init__(self, today: date) -> None:
        self._today = today
        self._prices = cache(load_prices)
        self._runs = cache(_read_runs)

    def quote(
        self, config: LaunchConfig, batch: BatchPlan, rows: Mapping[str, int] | None
    ) -> Quote:
        """Estimate time and cost of a job that the preflight has accepted, on the machine that it names."""
        cluster, budget = config.cluster, config.budget
        records, problems = self._runs(config.runs_dir)
        instance = instance_of(cluster)
        machine = None if instance or cluster.gpus_per_node else cpu_machine()
        precision = _precision(config, instance, machine)
        languages = wanted_languages(config.data)
        time = estimate_time(config, batch, rows, precision, records, machine, languages)
        if instance is None:
            return Quote(time, None, time.arithmetic if time else (), problems)
        prices = self._prices(budget.prices)
        price = find_price(prices, instance.instance_type, config.aws.region, budget.usd_per_hour)
        cost = estimate_cost(cluster, time, price, spot_share(cluster, records))
        stopped = exceeds_max_run(time, cluster)
        lines = (*self._time_lines(time), *self._price_lines(config, price), *cost_lines(cost))
        return Quote(
            time,
            cost,
            (*lines, *self._on_sale(config, batch, rows, lines)),
            (*problems, *check_budget_settings(budget), *([stopped] if stopped else [])),
        )

    def _on_sale(
        self,
        config: LaunchConfig,
        batch: BatchPlan,
        rows: Mapping[str, int] | None,
        told: Sequence[str],
    ) -> tuple[str, ...]:
        """Quote the job on a machine that is sold, beside one that is not: the lines not told already."""
        other = nearest_sold(config.cluster)
        if other is None or config.cluster.fallback:
            return ()
        name = option_name(other.instance_type)
        cluster = replace(config.cluster, name=name, instance_type=other.instance_type)
        there = self.quote(replace(config, cluster=cluster), batch, rows)
        return tuple(
            f"cluster={name}, which is sold: {line}" for line in there.lines if line not in told
        )

    def _time_lines(self, time: TimeEstimate | None) -> tuple[str, ...]:
        if time:
            return time.arithmetic
        return ("expected time unknown: no finished run of this set-up is on record",)

    def _price_lines(self, config: LaunchConfig, price: Price | None) -> tuple[str, ...]:
        region, instance = config.aws.region, config.cluster.instance_type
        if price:
            return (price_text(price, region, self._today),)
        return (unknown_text(instance or "", region),)


def _precision(config: LaunchConfig, instance: Instance | None, machine: str | None) -> Precision:
    """Resolve the precision on the job's instance, or on this machine."""
    if instance is not None:
        return precision_on(instance, config.training.precision)
    with_bf16 = machine is not None and cpu_has_bf16()
    return resolve_precision(config.training.precision, None, cpu_has_bf16=with_bf16)


def cost_lines(cost: CostEstimate | None) -> tuple[str, ...]:
    """Return the arithmetic of a cost, if there is one."""
    return cost.arithmetic if cost else ()


def sum_up(costs: Sequence[CostEstimate]) -> Total:
    """Add up the costs of all jobs."""
    if not costs:
        return Total(None, None, ())
    expected = _sum([cost.expected_usd for cost in costs])
    worst = _sum([cost.worst_usd for cost in costs])
    lines = (
        f"expected cost of all {len(costs)} jobs: {usd_text(expected)}",
        f"worst case of all {len(costs)} jobs: {usd_text(worst)}",
    )
    return Total(expected, worst, lines)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def over_budget(budget: BudgetConfig, costs: Sequence[CostEstimate]) -> list[Problem]:
    """Compare the worst case of all jobs together with the budget."""
    return check_budget(budget, [cost.worst_usd for cost in costs])


def _read_runs(runs_dir: str) -> tuple[Sequence[Throughput], tuple[Problem, ...]]:
    records, problems = read_records(Path(runs_dir) / FILE)
    return records, tuple(problems)
