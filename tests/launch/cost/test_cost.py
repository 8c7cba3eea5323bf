"""Time and cost before and after a run, compared with figures worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from typing import Any

import pytest
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.jobfile import job_of
from lingotune.config.schema import BudgetConfig, ClusterConfig, JobConfig, Precision
from lingotune.data.sources.languages import wanted_languages
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.run_time import TimeEstimate, estimate_time, exceeds_max_run
from lingotune.estimate.throughput import Throughput, setup_of
from lingotune.launch.cost.bill import Bill, after_run, single_gpu_speed
from lingotune.launch.cost.cost import (
    CostEstimate,
    check_budget,
    check_budget_settings,
    estimate_cost,
    spot_share,
)
from lingotune.launch.cost.prices import Price

PRICE = Price("ml.p3.16xlarge", "us-east-1", 28.152, "a page", "2021-11-29")
ROWS = {"train": 1000, "validation": 100, "test": 50}


@cache
def composed(*overrides: str) -> JobConfig:
    return job_of(compose(*overrides))


def job(*overrides: str) -> JobConfig:
    return composed("cluster=p3_16xl", *overrides)


def record(of: JobConfig, precision: Precision = Precision.fp16, **changes: Any) -> Throughput:
    """A run of this job: 200 samples/s in training, 500 in evaluating, 60 s of the rest."""
    batch = plan_batches(of)
    sound = Throughput(
        schema=1,
        date="2026-11-20T10:00:00Z",
        lingotune="0.1.0",
        job_sha256="ab" * 32,
        setup=setup_of(of, batch, precision, "this one"),
        world_size=batch.world_size,
        parameters=1,
        data=of.data.name,
        languages=("de", "en"),
        rows=ROWS,
        tokens_mean=40.0,
        tokens_p95=100.0,
        padding=None,
        train_samples=3000,
        eval_samples=450,
        train_seconds=15.0,
        eval_seconds=0.9,
        other_seconds=60.0,
        samples_per_second=200.0,
        eval_samples_per_second=500.0,
    )
    return dataclasses.replace(sound, **changes)


@pytest.mark.parametrize("typed", ["[de,en]", "[EN,de_DE]", "[English,German]"])
def test_records_are_found_however_languages_are_typed(typed: str) -> None:
    of = job("data=files", "data.path=a.jsonl", f"data.languages={typed}")
    same = record(
        of, data="files", languages=("de", "en") if "de_DE" not in typed else ("de-DE", "en")
    )
    other = record(of, data="files", languages=("fr",), samples_per_second=1.0)
    wanted = wanted_languages(of.data)
    found = estimate_time(
        of, plan_batches(of), ROWS, Precision.fp16, [same, other], languages=wanted
    )
    assert found is not None and found.samples_per_second == 200.0


def estimate(of: JobConfig, *records: Throughput, rows: Any = ROWS) -> TimeEstimate | None:
    return estimate_time(of, plan_batches(of), rows, Precision.fp16, records)


# --- time ---------------------------------------------------------------------------------------


def test_the_arithmetic_of_the_expected_time() -> None:
    of = job("epochs=3")
    found = estimate(of, record(of))
    assert found
    # 3 epochs of 1000 rows; 3 evaluations of 100 rows, then 100 + 50 once more
    assert found.train_seconds == 3000 / 200
    assert found.eval_seconds == (3 * 100 + 150) / 500
    assert found.other_seconds == 60
    assert found.seconds == pytest.approx(75.9)
    assert found.basis == "1 run of 2026-11-20, 200 samples/s"
    assert found.arithmetic[0] == (
        "expected 76 s = 15 s training (3000 samples / 200 a second)"
        " + 1 s evaluating (450 samples / 500 a second) + 60 s start-up, reading and saving"
    )


@pytest.mark.parametrize(
    ("overrides", "trained", "scored"),
    [
        (["training.eval_strategy=none", "epochs=2"], 2000, 150),
        # 1000 rows in batches of 128 are 8 steps an epoch
        (["training.eval_strategy=steps", "training.eval_steps=5", "epochs=2"], 2000, 450),
        (["training.max_steps=12"], 1000 + 4 * 128, 350),
        (["training.max_steps=8"], 1000, 250),
    ],
)
def test_evaluations_are_counted_as_they_come(
    overrides: list[str], trained: int, scored: int
) -> None:
    of = job("per_device_bs=16", *overrides)
    found = estimate(of, record(of))
    assert found
    assert (found.train_seconds, found.eval_seconds) == (trained / 200, scored / 500)


def test_the_median_of_several_runs_counts() -> None:
    of = job()
    runs = [
        record(of, samples_per_second=speed, date=f"2026-11-{day}T10:00:00Z")
        for speed, day in ((100.0, 23), (800.0, 20), (250.0, 21))
    ]
    found = estimate(of, *runs)
    assert found and found.samples_per_second == 250
    assert found.basis == "3 runs of 2026-11-20..23, 250 samples/s"
    found = estimate(of, runs[0], dataclasses.replace(runs[1], date="2026-09-01T00:00:00Z"))
    assert found and found.basis.startswith("2 runs of 2026-09-01..2026-11-23, 450 samples/s")


def test_the_whole_jobs_overhead_counts_where_aws_has_told_it() -> None:
    of = job()
    found = estimate(of, record(of, job_seconds=400.0))
    assert found and found.other_seconds == pytest.approx(400 - 15 - 0.9)


@pytest.mark.parametrize(
    "override",
    [
        "model=xlmr_base",
        "cluster=p3_2xl",
        "cluster.nodes=2",
        "per_device_bs=8",
        "scaling.accumulation=2",
        "training.precision=fp32",
        "data.max_length=99",
        "cluster.distribution=smdistributed",
    ],
)
def test_another_setup_is_no_basis(override: str) -> None:
    other = job("per_device_bs=16", override)
    precision = Precision.fp32 if "fp32" in override else Precision.fp16
    assert estimate(job("per_device_bs=16"), record(other, precision)) is None
    assert estimate(job("per_device_bs=16"), record(job("per_device_bs=16"))) is not None


def test_unknown_is_none() -> None:
    of = job()
    assert estimate(of) is None
    assert estimate(of, record(of), rows=None) is None
    assert estimate(of, record(of, eval_samples_per_second=None)) is None


def test_other_data_is_a_basis_only_without_the_same_and_says_so() -> None:
    of = job()
    other = record(of, data="amazon", samples_per_second=999.0)
    found = estimate(of, other)
    assert found and found.basis.endswith("999 samples/s, but on other data: amazon (de, en)")
    found = estimate(of, other, record(of))
    assert found and found.basis == "1 run of 2026-11-20, 200 samples/s"


def test_fewer_languages_are_other_data() -> None:
    of = job("data.languages=[de]")
    found = estimate(of, record(of))
    assert found and "other data: sample (de, en)" in found.basis
    found = estimate(of, record(of, languages=("de",)))
    assert found and "other data" not in found.basis


def test_off_sagemaker_the_machine_counts() -> None:
    of = composed()
    batch = plan_batches(of)
    runs = [record(of, Precision.fp32)]
    arguments = (of, batch, ROWS, Precision.fp32, runs)
    assert estimate_time(*arguments) is not None, "any"
    assert estimate_time(*arguments, machine="this one") is not None
    assert estimate_time(*arguments, machine="that one") is None


def test_a_job_that_would_be_stopped_unfinished() -> None:
    of = job("cluster.max_run=3600")
    found = estimate(of, record(of, samples_per_second=0.5))
    assert found and found.seconds > 3600
    problem = exceeds_max_run(found, of.cluster)
    assert problem and problem.check == "max-run-too-short"
    assert problem.where == "cluster.max_run=3600"
    longer = int(problem.fix.removeprefix("cluster.max_run="))
    assert 1.2 * found.seconds <= longer < 1.2 * found.seconds + 60
    assert exceeds_max_run(found, dataclasses.replace(of.cluster, max_run=longer)) is None
    assert exceeds_max_run(None, of.cluster) is None
    assert exceeds_max_run(found, dataclasses.replace(of.cluster, instance_type=None)) is None


# --- money --------------------------------------------------------------------------------------


def cost(cluster: ClusterConfig, *arguments: Any) -> CostEstimate:
    found = estimate_cost(cluster, *arguments)
    assert found
    return found


def test_the_worst_case() -> None:
    found = cost(job().cluster, None, PRICE)
    assert found.worst_usd == pytest.approx(14400 / 3600 * 28.152)
    assert found.expected_usd is None
    assert found.arithmetic == (
        "worst case 112.61 USD = 14400 s (cluster.max_run) x 28.152 USD/h x 1 node",
        "expected cost unknown: no run of this set-up was measured",
    )


def test_a_warm_pool_is_billed_on_every_node_and_retries_are_not() -> None:
    cluster = job("cluster.nodes=2", "cluster.keep_alive=1800", "cluster.retries=5").cluster
    found = cost(cluster, None, PRICE)
    assert found.worst_usd == pytest.approx((14400 + 1800) / 3600 * 28.152 * 2)
    assert found.arithmetic[0] == (
        "worst case 253.37 USD = (14400 s (cluster.max_run) + 1800 s (cluster.keep_alive, warm pool))"
        " x 28.152 USD/h x 2 nodes"
    )


def test_the_expected_cost() -> None:
    of = job("epochs=3")
    found = cost(of.cluster, estimate(of, record(of)), PRICE)
    assert found.expected_usd == pytest.approx(75.9 / 3600 * 28.152)
    assert found.arithmetic[0] == (
        "expected 0.59 USD = 76 s (1 run of 2026-11-20, 200 samples/s) x 28.152 USD/h x 1 node"
    )


def test_a_spot_discount_only_where_one_was_measured() -> None:
    of = job("cluster.spot=true", "epochs=3")
    time = estimate(of, record(of))
    unknown = cost(of.cluster, time, PRICE, None)
    assert unknown.expected_usd == pytest.approx(75.9 / 3600 * 28.152)
    assert unknown.arithmetic[-1] == "spot discount unknown: no measured run"
    known = cost(of.cluster, time, PRICE, 0.3)
    assert known.expected_usd == pytest.approx(0.3 * 75.9 / 3600 * 28.152)
    assert known.worst_usd == unknown.worst_usd == cost(job().cluster, None, PRICE).worst_usd
    assert not any("unknown" in line for line in known.arithmetic)


def test_the_measured_spot_share() -> None:
    of = job("cluster.spot=true")
    runs = [record(of, spot_billable_share=share) for share in (0.2, 0.3, 0.9, None)]
    elsewhere = record(job("cluster=g5_12xl"), spot_billable_share=0.01)
    assert spot_share(of.cluster, [*runs, elsewhere]) == 0.3
    assert spot_share(of.cluster, [record(of), elsewhere]) is None


def test_an_unknown_price_is_an_unknown_cost_and_this_machine_costs_nothing() -> None:
    of = job()
    found = cost(of.cluster, estimate(of, record(of)), None)
    assert (found.expected_usd, found.worst_usd) == (None, None)
    assert estimate_cost(composed().cluster, None, PRICE) is None


def test_the_budget_of_a_job_and_of_a_sweep() -> None:
    budget = BudgetConfig(max_usd=100)
    assert check_budget(BudgetConfig(), [1e9, None]) == []
    assert check_budget(budget, []) == []
    assert check_budget(budget, [60.0, 40.0]) == []
    (problem,) = check_budget(budget, [60.0, 40.5])
    assert problem.check == "budget-exceeded"
    assert problem.where == "budget.max_usd=100"
    assert problem.what == "the worst case of the 2 jobs together is 100.50 USD"
    assert problem.fix.startswith("budget.max_usd=101,")
    (problem,) = check_budget(budget, [112.6])
    assert problem.what == "the worst case of the job is 112.60 USD"


def test_a_budget_that_cannot_be_checked_is_not_kept() -> None:
    (problem,) = check_budget(BudgetConfig(max_usd=100), [None, 1.0])
    assert problem.check == "budget-unknown-price"
    assert problem.what == "cannot be checked: the price of 1 of 2 jobs is unknown"
    assert "budget.usd_per_hour=" in problem.fix and "lingotune prices" in problem.fix
    found = [p.check for p in check_budget(BudgetConfig(max_usd=100), [None, 101.0])]
    assert found == ["budget-unknown-price", "budget-exceeded"]


@given(max_usd=st.floats(0.01, 1e6), worst=st.lists(st.floats(0, 1e5), min_size=1, max_size=9))
def test_what_works_works(max_usd: float, worst: list[float]) -> None:
    problems = check_budget(BudgetConfig(max_usd=max_usd), list(worst))
    assert bool(problems) == (sum(worst) > max_usd)
    if problems:
        enough = float(problems[0].fix.removeprefix("budget.max_usd=").split(",")[0])
        assert check_budget(BudgetConfig(max_usd=enough), list(worst)) == []


def test_amounts_that_are_none() -> None:
    assert check_budget_settings(BudgetConfig()) == []
    assert check_budget_settings(BudgetConfig(max_usd=0.5, usd_per_hour=1.0)) == []
    for bad in (0.0, -1.0, math.nan, math.inf):
        found = check_budget_settings(BudgetConfig(max_usd=bad, usd_per_hour=bad))
        assert [p.where.split("=")[0] for p in found] == ["budget.max_usd", "budget.usd_per_hour"]
        assert {p.check for p in found} == {"budget-range"}


# --- afterwards ---------------------------------------------------------------------------------


def test_the_account_of_a_run() -> None:
    of = job("epochs=3")
    lines = after_run(Bill(1000, 1000, 2, spot=False), PRICE, estimate(of, record(of)), None, [])
    assert lines == [
        "billed 1000 s of 1000 s on each of 2 nodes",
        "cost 15.64 USD = 1000 s x 28.152 USD/h x 2 nodes",
        "estimate 76 s, -92.4% of the 1000 s that it took (1 run of 2026-11-20, 200 samples/s)",
        "throughput unknown: the job has left no record",
    ]


def test_the_account_of_a_spot_run_without_price_or_estimate() -> None:
    lines = after_run(Bill(500, 100, 1, spot=True), None, None, None, [])
    assert lines[:4] == [
        "billed 100 s of 500 s on each of 1 node",
        "managed spot saved 80.0%",
        "cost unknown: the price is unknown",
        "estimate: none, no run of this set-up was measured before",
    ]


def test_scaling_efficiency_against_one_such_gpu() -> None:
    eight = record(job("per_device_bs=16"), samples_per_second=1200.0)
    one = record(job("cluster=p3_2xl", "per_device_bs=16"), samples_per_second=200.0)
    assert one.world_size == 1 and eight.world_size == 8
    bill = Bill(100, 100, 1, spot=False)
    assert after_run(bill, None, None, eight, [one, eight])[-1] == (
        "throughput 1200 samples/s, scaling efficiency 75.0% = 1200 / (8 GPUs x 200 samples/s of one)"
    )
    assert after_run(bill, None, None, eight, [eight])[-1] == (
        "throughput 1200 samples/s, scaling efficiency unknown: no run on one such GPU was measured"
    )
    assert after_run(bill, None, None, one, [one])[-1] == "throughput 200 samples/s on one GPU"


@pytest.mark.parametrize(
    "override", ["cluster=g5_12xl", "model=xlmr_base", "per_device_bs=8", "data.max_length=99"]
)
def test_another_gpu_model_batch_or_length_is_no_measure(override: str) -> None:
    eight = record(job("per_device_bs=16"))
    small = ["cluster=p3_2xl", "per_device_bs=16", override]
    if override.startswith("cluster"):
        small += ["cluster.gpus_per_node=1"]
    other = record(composed(*small))
    assert other.world_size == 1
    assert single_gpu_speed(eight, [other]) is None
    fp32 = record(composed(*small[:2]), Precision.fp32)
    assert single_gpu_speed(eight, [fp32]) is None


def test_the_same_data_measures_best_and_cpus_do_not() -> None:
    eight = record(job())
    one = record(job("cluster=p3_2xl"), samples_per_second=10.0)
    other = dataclasses.replace(one, data="amazon", samples_per_second=99.0)
    assert single_gpu_speed(eight, [other, one]) == 10
    assert single_gpu_speed(eight, [other]) == 99
    cpu = record(composed(), Precision.fp32)
    two = record(composed("cluster.processes=2"), Precision.fp32)
    assert single_gpu_speed(two, [cpu]) is None
