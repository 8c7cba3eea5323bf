"""Plans: every instance of the facts has one, and a job is checked and described once."""

from __future__ import annotations

import shlex
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF, compose

from lingotune.catalog.hardware import Instance, instances
from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.config.problems import ConfigError
from lingotune.config.schema import Distribution
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.checks.rehearsal import REHEARSAL, UNUSED
from lingotune.launch.checks.sagemaker import SAGEMAKER
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.plan.planner import Planner, Sweep
from lingotune.launch.render.bundle import build_bundle
from lingotune.launch.render.service_model import mistakes
from lingotune.launch.simulator.scope import complete
from lingotune.preflight import TABLES
from lingotune.preflight.registry import Table


def planned(*overrides: str, account: Any = complete) -> Sweep:
    """Plans of a command's jobs, with names for the account unless `account` leaves them open."""
    composed = compose_all(list(overrides), CONF, check_launch, multirun=True)
    return Planner(build_bundle(), CostEstimator(date(2026, 11, 23)), account).sweep(composed)


def test_each_job_of_a_sweep_is_typed_by_itself() -> None:
    sweep = planned("cluster=p3_16xl", "seed=1,2", "aws.tags={team: a b}")
    typed = [shlex.split(plan.typed)[-3:] for plan in sweep.plans]
    tag = "aws.tags={team: a b}"
    assert typed == [["cluster=p3_16xl", f"seed={n}", tag] for n in (1, 2)]


def test_every_instance_has_a_plan_with_all_its_gpus() -> None:
    kinds: dict[object, Instance] = {}
    for one in instances().values():
        kinds.setdefault((one.gpus, one.capability, one.smdistributed, one.sold), one)
    known = {one.instance_type: one for one in kinds.values()}
    sweep = planned("cluster=sagemaker", f"cluster.instance_type={','.join(known)}")
    assert {problem.check for problem in sweep.problems} == {"instance-not-sold"}
    assert len(sweep.plans) == len(known) >= 20
    for plan in sweep.plans:
        assert plan.request is not None and mistakes(plan.request) == []
        instance = known[plan.request["ResourceConfig"]["InstanceType"]]
        alone = instance.gpus <= 1
        expected = Distribution.none if alone else Distribution.torch_distributed
        assert plan.job.cluster.distribution is expected
        assert plan.batch.world_size == max(1, instance.gpus)
        assert f"\n  gpus_per_node: {instance.gpus}\n" in plan.job_file.decode(), "for the workers"


@pytest.mark.parametrize(
    ("overrides", "gpus", "distribution"),
    [
        ([], 0, Distribution.torch_distributed),
        (["cluster.gpus_per_node=null"], 0, Distribution.torch_distributed),
        (["cluster.gpus_per_node=1"], 1, Distribution.torch_distributed),
        (["cluster=p3_16xl"], 8, Distribution.torch_distributed),
        (["cluster=p3_16xl", "cluster.instance_type=ml.p3.8xlarge"], 4, Distribution.torch_distributed),
        (["cluster=g5_12xl", "cluster.instance_type=ml.g5.xlarge"], 1, Distribution.none),
        (["cluster=g5_12xl", "cluster.instance_type=ml.g5.xlarge", "cluster.nodes=2"], 1,
         Distribution.torch_distributed),
        (["cluster=p4d_24xl", "cluster.distribution=smdistributed"], 8, Distribution.smdistributed),
    ],
)  # fmt: skip
def test_what_is_left_open_is_decided_when_the_job_is_composed(
    overrides: list[str], gpus: int, distribution: Distribution
) -> None:
    config = compose(*overrides)
    assert (config.cluster.gpus_per_node, config.cluster.distribution) == (gpus, distribution)
    assert b"gpus_per_node: null" not in dump_job(job_of(config))


def test_a_job_file_without_the_number_is_refused(tmp_path: Path) -> None:
    job = job_of(compose("cluster=p3_16xl"))
    job.cluster.gpus_per_node = None  # type: ignore[assignment]
    (tmp_path / "job.yaml").write_bytes(dump_job(job))
    with pytest.raises(ConfigError, match="does not fit this version's settings"):
        load_job(tmp_path / "job.yaml")


def test_any_instance_needs_its_type_and_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError) as refused:
        planned("cluster=sagemaker")
    (problem,) = refused.value.problems
    assert problem.where == "cluster.instance_type"
    assert problem.fix.startswith("cluster.instance_type=ml.")
    assert problem.fix.endswith(f"({len(instances())} in all)")


@pytest.mark.parametrize("action", ["plan", "check", "rehearse", "submit"])
def test_each_check_runs_once_for_a_job(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: Counter[tuple[int, str | None]] = Counter()
    run = Table.run

    def counted(table: Table[Any], subject: Any, only: str | None = None) -> Any:
        runs[id(table), only] += 1
        return run(table, subject, only)

    monkeypatch.setattr(Table, "run", counted)
    names = ["aws.role=arn:aws:iam::111122223333:role/R", "aws.bucket=some-bucket"]
    planned("cluster=p3_16xl", f"action={action}", *names)
    tables = (*TABLES, REHEARSAL, UNUSED, SAGEMAKER)
    assert [runs[id(table), None] for table in tables] == [1] * len(tables)


def test_names_that_nobody_gave_are_placeholders_until_the_account_is_known() -> None:
    (plan,) = planned("cluster=p3_16xl", account=lambda aws: aws).plans
    assert plan.training_job is not None
    assert (plan.training_job.role, plan.training_job.region) == ("<aws.role>", "<aws.region>")
    (plan,) = planned("cluster=p3_16xl").plans
    assert plan.request is not None and mistakes(plan.request) == []
    assert plan.config.aws.role is None, "the settings stay as typed"
