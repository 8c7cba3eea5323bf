"""Machines without capacity, from the request to the bill: account, walk, offers, question."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF, compose
from pretend import Account, Course, pretending

from lingotune.cli import launch, offers
from lingotune.config.problems import INTERRUPTED, ConfigError
from lingotune.config.schema import FallbackBy
from lingotune.launch import confirm, walk
from lingotune.launch.aws.again import request_from
from lingotune.launch.aws.machines import machine_in, machines_in
from lingotune.launch.offers import Wanted, lines_of, machines_for, offers_for, taken
from lingotune.launch.operations.remote import remote_of
from lingotune.launch.operations.spending import Spending
from lingotune.launch.render.request import to_request
from lingotune.launch.simulator.capacity import NO_CAPACITY, contradictions, got
from lingotune.launch.simulator.loopback.jobs import Jobs
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.refusal import Refusal
from lingotune.launch.sweeps import controller
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.slots import tightest

from described import described  # isort: skip

P3, G5 = "ml.p3.16xlarge", "ml.g5.12xlarge"
TYPED = ["cluster=p3_16xl", "cluster.fallback=[g5_12xl]", "per_device_bs=32"]
ACCOUNT = ["aws.role=arn:aws:iam::123456789012:role/lingotune-loopback",
           "aws.bucket=lingotune-loopback", "aws.region=us-east-1"]  # fmt: skip
SHORT = Course([0.5], evaluation_time=0.1, starting=0.2, stopping=0.1)


def request() -> dict[str, Any]:
    return to_request(described(*TYPED, "aws.sdk=boto3"))


# --- the account --------------------------------------------------------------------------------


def test_a_job_gets_the_first_machine_that_is_not_full() -> None:
    asked = request()
    for full, expected in (((), P3), ((P3,), G5)):
        found = got(asked, full)
        assert found is not None and found["ResourceConfig"]["InstanceType"] == expected
        assert "InstancePreferences" not in found["ResourceConfig"]
    assert got(asked, (P3, G5)) is None


def test_the_account_tells_what_was_selected_and_counts_that_alone() -> None:
    jobs = Jobs(quotas=Quotas(1))
    job = jobs.create(request(), "us-east-1")
    assert machine_in(job.describe()) == (None, 1) and machines_in(job.describe()) == [
        (P3, 1),
        (G5, 1),
    ]
    alone = {**to_request(described("cluster=p3_16xl")), "TrainingJobName": "other"}
    with pytest.raises(Refusal, match=r"ml\.p3\.16xlarge for training job usage"):
        jobs.create(alone, "us-east-1")
    found = got(job.request, (P3,))
    assert found is not None
    job.select(found["ResourceConfig"])
    assert machine_in(job.describe()) == (G5, 1)
    jobs.create(alone, "us-east-1")
    again = Jobs().restore(json.loads(json.dumps(job.state())))
    assert machine_in(again.describe()) == (G5, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"EnableManagedSpotTraining": True}, "EnableManagedSpotTraining"),
        ({"ResourceConfig": {"InstanceType": P3}}, "exclusive with InstanceType"),
        ({"ResourceConfig": {"InstanceCount": 2}}, "InstanceCount must be set"),
    ],
)
def test_the_account_refuses_what_aws_does(change: dict[str, Any], told: str) -> None:
    asked = request()
    assert list(contradictions(asked)) == []
    resources = {**asked["ResourceConfig"], **change.pop("ResourceConfig", {})}
    assert told in "; ".join(contradictions({**asked, **change, "ResourceConfig": resources}))


def test_the_worst_case_is_the_dearest_until_a_machine_is_selected() -> None:
    told = {"TrainingJobName": "x", "TrainingJobStatus": "InProgress", **request()}
    spending = Spending(None, "us-east-1")
    dearest = spending.worst(remote_of(told), None)
    selected = {**told["ResourceConfig"], "SelectedInstanceType": G5, "SelectedInstanceCount": 1}
    cheaper = spending.worst(remote_of({**told, "ResourceConfig": selected}), None)
    assert dearest == pytest.approx(4 * 28.152) and cheaper == pytest.approx(4 * 7.09)


# --- going through the list from here -----------------------------------------------------------


@pytest.fixture
def full_p3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account without capacity of p3."""
    monkeypatch.setattr(controller, "_SHORTEST", 0.1)
    monkeypatch.setattr(controller, "_LONGEST", 0.3)
    monkeypatch.setattr(walk, "_LOOKS_EVERY", 0.1)

    def course(asked: Any) -> Course:
        if asked.request["ResourceConfig"]["InstanceType"] == P3:
            return replace(SHORT, no_machine=True, reason=NO_CAPACITY)
        return SHORT

    with pretending(course, quotas=Quotas(4)) as account:
        yield account


WALK = [*TYPED, *ACCOUNT, "cluster.fallback_by=lingotune", "action=submit", "aws.sdk=boto3"]


def types(account: Account) -> list[tuple[str, str]]:
    jobs = sorted(account.jobs, key=lambda job: job.name)
    return [(job.request["ResourceConfig"]["InstanceType"], job.status) for job in jobs]


def test_a_submit_goes_through_the_list_until_a_machine_is_there(
    full_p3: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main([*WALK, f"runs_dir={tmp_path}"]) == 0
    told = capsys.readouterr().out
    assert [kind for kind, _ in types(full_p3)] == [P3, G5]
    assert f"no capacity of {P3}: CapacityError" in told
    assert re.search(r"submitted \S+-2\n", told) and f"has its machine: 1 x {G5}" in told
    first, second = sorted(full_p3.jobs, key=lambda job: job.name)
    assert first.tags == second.tags, "the same job file"
    uris = [job.request["CheckpointConfig"]["S3Uri"] for job in (first, second)]
    assert [uri.rpartition("/")[2] for uri in uris] == [first.name, second.name]


def test_a_submit_that_finds_no_machine_says_what_each_said(
    full_p3: Account, tmp_path: Path
) -> None:
    full_p3.jobs.quotas = Quotas(4, {G5: 0})
    plan = [*WALK, f"runs_dir={tmp_path}"]
    monkeyed = [word.replace("action=submit", "action=plan") for word in plan]
    assert launch.main(monkeyed) == 0
    with pytest.raises(ConfigError) as caught:
        planned_walk(plan)
    (problem,) = caught.value.problems
    assert f"p3_16xl: {NO_CAPACITY}" in problem.what and "ResourceLimitExceeded" in problem.what
    assert "attempt=3" in problem.fix


def planned_walk(words: list[str]) -> None:
    """Walk past the check of the account, which has told of the quota."""
    from lingotune.launch.compose.compose import compose_all
    from lingotune.launch.cost.quote import CostEstimator
    from lingotune.launch.plan.planner import Planner
    from lingotune.launch.render.bundle import build_bundle

    composed = compose_all(words, CONF, lambda config: [], multirun=False)
    bundle = build_bundle()
    (plan,) = Planner(bundle, CostEstimator(date(2026, 11, 1))).sweep(composed).plans
    walk.walk(plan, bundle, lambda line: None)


def test_a_sweep_goes_through_the_list_and_its_ledger_tells_each_step(
    full_p3: Account, tmp_path: Path
) -> None:
    words = [*WALK, "-m", "lr=1e-4,2e-4", "sweep.name=two", f"runs_dir={tmp_path}", "--follow"]
    assert launch.main(words) == 0
    with Ledger(tmp_path / "two") as ledger:
        records = ledger.records()
    steps = [[(a.job.instance_type, a.job.state.value) for a in r.attempts] for r in records]
    assert steps == [[(P3, "failed"), (G5, "completed")]] * 2


# --- the question -------------------------------------------------------------------------------


def asking(monkeypatch: pytest.MonkeyPatch, answer: str | type[BaseException]) -> list[str]:
    """Make a terminal of the standard streams whose user gives this answer; returns what is asked."""
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.setattr(confirm, "can_ask", lambda: True)
    monkeypatch.setattr("lingotune.launch.execution.can_ask", lambda: True)
    monkeypatch.setattr("builtins.input", ask)
    return asked


SUBMIT = ["cluster=g5_12xl", *ACCOUNT, "action=submit", "aws.sdk=boto3", "budget.confirm_usd=10"]


def test_a_submit_above_the_limit_asks(
    full_p3: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = asking(monkeypatch, "n")
    assert launch.main(SUBMIT) == INTERRUPTED and types(full_p3) == []
    assert asked == ["the worst case of the job is 28.36 USD; start it? [y/N] "]
    assert "nothing was started" in capsys.readouterr().out
    for stop in (EOFError, KeyboardInterrupt):
        asking(monkeypatch, stop)
        with pytest.raises(KeyboardInterrupt):
            launch.main(SUBMIT)
    assert types(full_p3) == [] and "nothing was started" in capsys.readouterr().out
    sweep = [*SUBMIT, "-m", "seed=1,2", "--detach"]
    asking(monkeypatch, "n")
    assert launch.main(sweep) == INTERRUPTED
    asked = asking(monkeypatch, "yes")
    assert launch.main(SUBMIT) == 0 and len(asked) == 1 and len(types(full_p3)) == 1


def test_without_a_terminal_a_submit_above_the_limit_is_refused_unless_answered(
    full_p3: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lingotune.launch.execution.can_ask", lambda: False)
    for words, usd in ((SUBMIT, "28.36"), ([*SUBMIT, "-m", "seed=1,2"], "56.72")):
        with pytest.raises(ConfigError) as caught:
            launch.main(words)
        (problem,) = caught.value.problems
        assert f"{usd} USD, and there is no terminal" in problem.what
        assert problem.fix.startswith("--yes")
    assert launch.main([*SUBMIT[:-1], "budget.confirm_usd=30"]) == 0, "below the limit"
    assert launch.main([*SUBMIT, "seed=2", "--yes"]) == 0 and len(types(full_p3)) == 2


# --- offers -------------------------------------------------------------------------------------


def test_offers_are_sorted_and_the_one_to_take_is_marked() -> None:
    wanted = Wanted(gpus=8, max_usd=150)
    config = compose("cluster=g5_12xl", "model=xlmr_base")
    found = offers_for(config, wanted, [CONF], date(2026, 11, 1))
    assert {one.gpus for one in found} == {8}
    best = taken(found, wanted)
    assert best is found[0] and best.worst_usd is not None and best.worst_usd <= 150
    known = [one.usd_per_hour for one in found if one.within(wanted)]
    assert known == sorted(known, key=float)
    lines = lines_of(found, wanted, ["model=xlmr_base"], asked=False)
    assert [line[0] for line in lines[1 : len(found) + 1]] == ["*", *[" "] * (len(found) - 1)]
    command = next(line for line in lines if line.startswith("take *: "))
    again = compose(*re.split(r"launch(?:\.py)? ", command)[1].split())
    assert again.cluster.instance_type == best.instance_type and again.budget.max_usd == 150


def test_offers_with_a_list_can_be_submitted(
    full_p3: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that is suggested works when pasted, and asks for the machines of the table in order."""
    assert offers.main(["gpus=8", "max_usd=300", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    command = str(told["command_with_fallback"])
    words = shlex.split(re.split(r"launch(?:\.py)? ", command)[1])
    listed = compose(*words).cluster.fallback
    fitting = [one["instance_type"] for one in told["offers"] if one["fits"] and one["within"]]
    assert [row.instance_type for row in listed] == fitting[:3] and len(listed) == 3
    assert launch.main([*words, *ACCOUNT, "cluster.max_run=3600", "action=submit", "--detach"]) == 0


def test_offers_fit_a_narrow_terminal() -> None:
    found = offers_for(compose("cluster=g5_12xl"), Wanted(gpus=8), [CONF], date(2026, 11, 1))
    lines = lines_of(found, Wanted(gpus=8), [], asked=False, width=80)
    table = lines[: lines.index("")]
    assert max(map(len, table)) <= 80 and "GiB" not in table[0]
    assert "GiB" in lines_of(found, Wanted(gpus=8), [], asked=False, width=120)[0]


def test_a_list_has_the_slots_of_its_scarcest_machine() -> None:
    cluster = compose(*TYPED, "cluster.nodes=2").cluster
    quotas = {f"{P3} for training job usage": 9.0, f"{G5} for training job usage": 4.0}
    assert tightest(cluster, quotas) == (G5, 2, f"{G5} for training job usage")
    quotas[f"{G5} for training job usage"] = 40.0
    assert tightest(cluster, quotas)[0] == P3
    own = replace(cluster, fallback_by=FallbackBy.lingotune)
    assert tightest(own, {**quotas, f"{G5} for training job usage": 0.0})[0] == P3
    assert tightest(cluster, {f"{P3} for training job usage": 9.0})[0] == G5, "unknown"


def test_offers_name_the_nearest() -> None:
    for gpus, near in ((7, "gpus=6 | gpus=8"), (1000, "gpus=128")):
        with pytest.raises(ConfigError) as caught:
            machines_for(Wanted(gpus=gpus))
        assert caught.value.problems[0].fix == near
    assert {count for _, count in machines_for(Wanted(gpus=16))} == {2}
    with pytest.raises(ConfigError, match="the largest has"):
        machines_for(Wanted(memory_gb=1000))
    config = compose("cluster=g5_12xl")
    few = Wanted(gpus=8, max_usd=1)
    lines = lines_of(offers_for(config, few, [CONF], date(2026, 11, 1)), few, [], asked=False)
    assert re.search(r"the nearest is ml\.g6\.48xlarge: max_usd=67", lines[-1])


def test_what_offers_do_not_take_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        offers.main(["gpus=0", "max_usd=x", "cluster=p3_16xl", "action=submit"])
    assert [p.where for p in caught.value.problems] == [
        "gpus=0", "max_usd=x", "cluster=p3_16xl", "action=submit",
    ]  # fmt: skip


def test_offers_are_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert offers.main(["gpus=4", "memory_gb=40", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["gpu_gib"] >= 40 for one in told["offers"]} == {True}
    assert [one["taken"] for one in told["offers"]].count(True) == 1


def test_a_further_attempt_asks_for_the_list_and_not_for_what_was_selected() -> None:
    import boto3

    client = boto3.Session("a", "b", region_name="us-east-1").client("sagemaker")
    told = {
        **request(),
        "ResourceConfig": {**request()["ResourceConfig"], "SelectedInstanceType": G5},
    }
    assert (
        request_from(told, "again", None, client)["ResourceConfig"] == request()["ResourceConfig"]
    )
