"""The plan of a sweep: its name and tags, slots, rungs, and the money of the whole."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF
from hypothesis import given
from hypothesis import strategies as st

from lingotune.cli.launch import main as launch_main
from lingotune.config.problems import errors_only
from lingotune.config.schema import SweepConfig
from lingotune.estimate.run_time import TimeEstimate
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.cost.cost import CostEstimate
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.plan import page
from lingotune.launch.plan.planner import Planner, Sweep
from lingotune.launch.render.bundle import build_bundle
from lingotune.launch.render.sweep_tags import LONGEST_TAG, read_varies, sweep_tags, tag_value
from lingotune.launch.simulator.scope import complete
from lingotune.launch.sweeps.money import money_of, work_of
from lingotune.launch.sweeps.overview import with_facts
from lingotune.launch.sweeps.pruning import Rungs, first_rung, rungs_of
from lingotune.launch.sweeps.sources import metric_of
from lingotune.launch.sweeps.start_times import Measured

CLOUD = ["cluster=g5_12xl", "model=xlmr_base"]
SEARCH = ["lr=tag(log,interval(1e-5,1e-4))", "sweep.search=tpe", "sweep.trials=12"]


def planned(*typed: str) -> Sweep:
    composed = compose_all(list(typed), CONF, check_launch, multirun=True)
    planner = Planner(build_bundle(), CostEstimator(date(2026, 11, 23)), complete)
    return with_facts(planner.sweep(composed))


def timed(sweep: Sweep, train: float, other: float, usd: float) -> Sweep:
    """The same sweep, if runs of its set-up had been measured."""
    time = TimeEstimate(train + other, train, 0.0, other, 1.0, "1 run", ())
    cost = CostEstimate(usd, 10 * usd, ())
    return replace(sweep, plans=tuple(replace(p, time=time, cost=cost) for p in sweep.plans))


def tags(request: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in request["Tags"]}


def test_jobs_of_a_sweep_are_tagged_and_named_as_jobs_of_their_own() -> None:
    sweep = planned(*CLOUD, "sweep=lr", "seed=7,8")
    assert sweep.name is not None and sweep.name.name == "lr"
    (alone,) = planned(*CLOUD, "lr=3e-05", "seed=7").plans
    second = sweep.plans[1]
    assert second.name == alone.name and second.number == 2
    told = tags(second.request)
    assert told["lingotune:sweep"] == "lr" and told["lingotune:trial"] == "2"
    assert told["lingotune:varies"] == "seed=7 lr=3e-05"
    assert not {key for key in tags(alone.request) if key.startswith("lingotune:sweep")}
    without = {k: v for k, v in told.items() if not re.search("sweep|trial|varies", k)}
    assert without == tags(alone.request)


def test_a_sweep_is_named_by_what_it_is() -> None:
    def named(*typed: str) -> tuple[str, str]:
        found = planned(*CLOUD, *typed).name
        assert found is not None
        return found.name, found.identity

    grid = named("lr=1e-5,3e-5", "seed=1,2")
    assert grid == named("seed=2,1", "lr=3e-5,1e-5") and grid[0] == f"sweep-{grid[1][:8]}"
    assert grid == named("lr=1e-5,3e-5", "seed=1,2", "sweep.max_parallel=2", "sweep.retries=0")
    assert grid[1] != named("lr=1e-5,3e-5", "seed=1,3")[1]
    assert named("lr=1e-5,3e-5", "sweep.name=mine")[0] == "mine"
    search = named(*SEARCH)
    assert search == named(*SEARCH[:2], "sweep.trials=24"), "it goes on"
    assert search[1] != named(*SEARCH, "sweep.seed=2")[1]
    assert search[1] != named("lr=interval(1e-5,1e-4)", *SEARCH[1:])[1]


@given(st.text(max_size=400))
def test_a_tag_has_the_characters_and_the_length_of_aws(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9 _.:/=+@-]*", tag_value(text))
    assert len(tag_value(text)) <= LONGEST_TAG
    (name, varies) = sweep_tags("mine", None, {"data.path": text})
    assert name == ("lingotune:sweep", "mine") and varies[1].startswith("data.path=")


# --- rungs ----------------------------------------------------------------------------------------


@given(st.floats(0, 1e4), st.floats(0.01, 1e4), st.integers(1, 5))
def test_a_rung_is_worth_a_start(start: float, seconds: float, least: int) -> None:
    first = first_rung(start, seconds, least)
    assert first >= least and first * seconds >= start * (1 - 1e-9)
    assert first == least or (first - 1) * seconds < start


def test_the_first_rung_follows_from_measured_times() -> None:
    grid = planned(*CLOUD, "lr=1e-5,3e-5", "epochs=9", "sweep.prune=asha")
    settings = grid.plans[0].config.sweep
    slow = rungs_of(settings, timed(grid, 9 * 600, 100, 1).plans)
    assert slow is not None and slow.first == 2 and slow.steps == [2, 6]
    quick = rungs_of(settings, timed(grid, 9 * 50, 100, 1).plans)
    assert quick is not None and quick.first == 5 and quick.steps == [5]
    assert quick.arithmetic[0].startswith("first rung after evaluation 5: 5 x 50 s of training")
    typed = rungs_of(replace(settings, min_evaluations=1, reduction=2), grid.plans)
    assert typed is not None and typed.steps == [1, 2, 4, 8]
    assert rungs_of(SweepConfig(), grid.plans) is None


def test_the_first_rung_takes_measured_starts_and_says_so() -> None:
    grid = planned(*CLOUD, "lr=1e-5,3e-5", "epochs=9", "sweep.prune=asha")
    settings, plans = grid.plans[0].config.sweep, timed(grid, 9 * 50, 100, 1).plans
    usual, known, begun, unknown = (
        rungs_of(settings, plans),
        rungs_of(settings, plans, Measured(120.0, None, 3)),
        rungs_of(settings, plans, Measured(120.0, None, 3), before=4),
        rungs_of(settings, grid.plans, Measured(120.0, 30.0, 1)),
    )
    assert usual is not None and known is not None and begun is not None and unknown is not None
    assert (usual.first, known.first, begun.first) == (5, 3, 4)
    assert "taken as usual: none is on record" in usual.arithmetic[0]
    assert known.arithmetic[0].endswith(
        "120 s is the start of a job on SageMaker, as measured on 3 jobs"
    )
    assert "as since this sweep was begun" in begun.arithmetic[0]
    assert unknown.first == 4, (
        "earlier jobs tell what an evaluation takes where no run was measured"
    )
    typed = rungs_of(replace(settings, min_evaluations=1), plans, Measured(120.0, 1.0, 1), 4)
    assert typed is not None and typed.first == 1, "what is typed counts"


def test_a_rung_beyond_the_end_is_told() -> None:
    found = planned(*CLOUD, "lr=1e-5,3e-5", "epochs=2", "sweep.prune=asha").problems
    assert [p.check for p in found if p.check == "prune-without-effect"]


# --- slots ----------------------------------------------------------------------------------------


P3, G5 = "ml.p3.16xlarge for training job usage", "ml.g5.12xlarge for training job usage"


@pytest.mark.parametrize(
    ("typed", "quotas", "count", "lines"),
    [
        ([], None, None, ["that quota is not known: action=check asks for it"]),
        ([], {}, None, ["that quota is not known: AWS has not told it"]),
        (["max_parallel=3"], None, 3, ["or fewer: the account's quota of ml.p3.16xlarge is not known"]),
        ([], {P3: 2.0}, 2, ["at most 2 at a time", "the account's quota of ml.p3.16xlarge is 2"]),
        (["max_parallel=3"], {P3: 2.0}, 2, ["at most 2 at a time, fewer than sweep.max_parallel=3"]),
        (["max_parallel=1"], {P3: 2.0}, 1, ["at most 1 at a time (sweep.max_parallel)", "ge is 2"]),
        (["nodes"], {P3: 5.0}, 2, ["is 5, and a job takes 2"]),
        (["both"], {P3: 1.0, G5: 9.0}, 3, ["ml.p3.16xlarge is 1", "ml.g5.12xlarge is 9"]),
    ],
)  # fmt: skip
def test_slots_are_the_smaller_of_max_parallel_and_the_quota(
    typed: list[str], quotas: dict[str, float] | None, count: int | None, lines: list[str]
) -> None:
    words = ["cluster=p3_16xl", "lr=1e-5,3e-5"]
    if typed == ["nodes"]:
        words.append("cluster.nodes=2")
    elif typed == ["both"]:
        words[0] = "cluster=p3_16xl,g5_12xl"
    else:
        words += [f"sweep.{one}" for one in typed]
    found = with_facts(planned(*words), quotas=quotas).facts
    assert found is not None and found.values["slots"] == count
    told = "\n".join(found.lines)
    assert all(line in told for line in lines) and max(map(len, found.lines)) <= 98


# --- money ----------------------------------------------------------------------------------------


@given(
    st.integers(1, 300), st.integers(1, 5), st.integers(1, 6), st.integers(2, 5), st.integers(1, 40)
)
def test_early_ends_train_no_more_than_all(
    configurations: int, seeds: int, first: int, reduction: int, evaluations: int
) -> None:
    rungs = Rungs(first, reduction, evaluations, ())
    work, full = work_of(configurations, seeds, rungs), work_of(configurations, seeds, None)
    assert work.jobs == full.jobs == configurations * seeds
    assert 0 < work.share <= 1 and configurations <= work.started <= work.jobs
    assert work.trained is not None
    assert work.trained >= configurations * min(first, evaluations)
    if not rungs.steps:
        assert work.share == 1


def test_the_arithmetic_of_early_ends() -> None:
    work = work_of(12, 3, Rungs(2, 3, 9, ()))
    assert work.lines == (
        "of 12 configurations about 4 after 2, 1 after 6 evaluations go on",
        "12 x 2 + 4 x 4 + 1 x 3 + 2 further seeds x 9 = 61 of 324 evaluations (19%)",
    )


def test_the_worst_case_of_a_search_is_its_dearest_corner_for_each_job() -> None:
    sweep = planned(*CLOUD, *SEARCH, "cluster.nodes=1,2", "seed=1,2")
    dearest = max(plan.cost.worst_usd or 0 for plan in sweep.plans if plan.cost)
    assert sweep.total.worst_usd == pytest.approx(24 * dearest)


def test_money_and_time_with_early_ends() -> None:
    sweep = timed(planned(*CLOUD, *SEARCH, "epochs=9", "sweep.prune=asha"), 900, 100, 5.0)
    work = work_of(12, 1, Rungs(2, 3, 9, ()))
    assert work.trained == 43
    money = money_of(sweep.plans, work, SweepConfig(), slots=2)
    share = (12 * 100 + 43 * 100) / (12 * 1000)
    assert money.full_usd == pytest.approx(60) and money.worst_usd == pytest.approx(600)
    assert money.expected_usd == pytest.approx(60 * share)
    assert money.seconds == pytest.approx(12 * 1000 * share / 2)
    shown = "\n".join(money.lines)
    assert "up to 2 times (sweep.retries), in the worst case for 1800.00 USD" in shown
    assert "expected with early ends: 27.50 USD, 32.50 USD saved" in shown


@pytest.mark.parametrize("typed", [SEARCH, ["lr=1e-5,3e-5,5e-5", "epochs=1,2,3,4"]])
def test_a_budget_is_compared_with_the_whole_sweep(typed: list[str]) -> None:
    worst = planned(*CLOUD, *typed).total.worst_usd
    assert worst is not None
    for limit, fits in ((worst - 1, False), (worst + 1, True)):
        found = planned(*CLOUD, *typed, f"budget.max_usd={limit:.2f}").problems
        told = [p for p in errors_only(found) if p.check == "budget-exceeded"]
        assert bool(told) is not fits
        assert not told or "the 12 jobs together" in told[0].what


# --- page and JSON --------------------------------------------------------------------------------


def test_the_page_of_a_search() -> None:
    sweep = planned(*CLOUD, *SEARCH, "per_device_bs=8,16", "seed=1,2", "sweep.prune=asha")
    shown = page.plain_text(page.page_of(sweep))
    assert "lr: 1e-05 to 0.0001, on a logarithmic scale" in shown
    assert "12 configurations x 2 seeds = 24 jobs: drawn by Optuna's TPE" in shown
    assert "corners of the space, which were checked; nothing of them is started" in shown
    assert max(map(len, page.plain_text(page.page_of(sweep)[:2]).splitlines())) <= 100


def test_the_page_of_a_grid_fits_eighty_columns() -> None:
    sweep = planned(*CLOUD, "lr=1e-5,3e-5", "training.weight_decay=0,0.01", "seed=1,2")
    table = page.plain_text([page.page_of(sweep)[1]])
    assert max(map(len, table.splitlines())) <= 80, table
    assert table.splitlines()[1].split()[:4] == ["#", "lr", "weight_decay", "seed"]


def test_json_has_the_sweep() -> None:
    found: Any = page.as_dict(planned(*CLOUD, *SEARCH, "sweep.max_parallel=2"))
    sweep = found["sweep"]
    assert sweep["configurations"] == sweep["jobs"] == 12 and sweep["slots"] == 2
    assert sweep["money"]["worst_usd"] == found["worst_usd"]
    assert found["jobs"][0]["varies"] == {"lr": "1e-05"}
    assert "sweep" not in page.as_dict(planned(*CLOUD, "lr=1e-5"))


def test_less_loss_is_better(tmp_path: Path) -> None:
    (plan,) = planned(*CLOUD, "evaluation.select=loss").plans
    assert not metric_of(plan.job).greater_is_better
    (plan,) = planned(*CLOUD).plans
    assert metric_of(plan.job) == metric_of(plan.job) and metric_of(plan.job).greater_is_better
    code = tmp_path / "own.py"
    code.write_text(
        "from lingotune.plugins import metric\n\n\n@metric(greater_is_better=False)\n"
        "def cost(predictions):\n    return 0.0\n"
    )
    (plan,) = planned(*CLOUD, f"code.file={code}", "code.metrics=[cost]", "code.select=cost").plans
    assert metric_of(plan.job).name == "cost" and not metric_of(plan.job).greater_is_better


def test_what_varies_is_read_back_from_the_tag() -> None:
    varies = {"lr": "1e-05", "data.path": "my reviews/a b.csv", "+extra.key": "x"}
    tags = dict(sweep_tags("mine", 3, varies))
    assert read_varies(tags["lingotune:varies"]) == varies
    assert read_varies("") == {}


@pytest.mark.parametrize(
    ("typed", "count", "told"),
    [
        ("sweep.search=random sweep.trials=3", 6, ""),
        ("sweep.search=tpe sweep.trials=9", 1, "this is the first of 18 jobs"),
        ("sweep.search=tpe sweep.trials=9 sweep.max_parallel=3", 3, "these are the first 3 of 18"),
        ("sweep.search=random sweep.trials=3 sweep.prune=asha", 1, "this is the first of 6 jobs"),
    ],
)
def test_the_requests_of_a_search_are_those_that_come_first(
    typed: str, count: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", *CLOUD, "lr=interval(1e-5,1e-4)", "seed=1,2", *typed.split(), "output=request"]
    assert launch_main(words) == 0
    printed = capsys.readouterr()
    tags = [{t["Key"]: t["Value"] for t in one["Tags"]} for one in json.loads(printed.out)]
    assert [tag["lingotune:trial"] for tag in tags] == [str(n + 1) for n in range(count)]
    assert told in printed.err and bool(told) == ("follow from results" in printed.err)
