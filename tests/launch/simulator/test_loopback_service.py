"""The account of `lingotune loopback`: quotas, listings, tags, who calls, and jobs at the same time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from containers import PLAIN
from described import described
from waiting import PATIENCE, wait_until

from lingotune.cli.loopback import main, quotas_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import AwsConfig
from lingotune.launch.aws.account.check import JobRequirements, check_account
from lingotune.launch.render.request import to_request
from lingotune.launch.simulator.loopback.driver import Driver
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE, furnish, only_aws
from lingotune.launch.simulator.loopback.jobs import Job, Jobs
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.service import serve

P3 = "ml.p3.16xlarge"
AWS = AwsConfig(role=ROLE, bucket=BUCKET, region=REGION)
NAMES = (f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}")


def request_of(name: str, **changes: Any) -> dict[str, Any]:
    """A request for one ml.p3.16xlarge, under another name and with other fields."""
    rendered = to_request(described(*PLAIN, *NAMES))
    return {**rendered, "TrainingJobName": name, **machines(1), **changes}


def machines(count: int, instance_type: str = P3) -> dict[str, Any]:
    asked = {"InstanceCount": count, "InstanceType": instance_type, "VolumeSizeInGB": 50}
    return {"ResourceConfig": asked}


@pytest.fixture
def jobs() -> Jobs:
    return Jobs(quotas=Quotas(2, {"ml.g5.12xlarge": 1}))


@pytest.fixture
def session(jobs: Jobs) -> Iterator[boto3.Session]:
    with serve(jobs) as address, only_aws(address):
        made = boto3.Session(region_name=REGION)
        furnish(made)
        yield made


@pytest.fixture
def sagemaker(session: boto3.Session) -> Any:
    return session.client("sagemaker")


def refusal_of(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


# --- quotas --------------------------------------------------------------------------------------


def test_jobs_beyond_the_quota_are_refused_until_others_have_ended(
    sagemaker: Any, jobs: Jobs
) -> None:
    for name in ("a", "b"):
        sagemaker.create_training_job(**request_of(name))
    code, message = refusal_of(sagemaker.create_training_job, **request_of("c"))
    assert code == "ResourceLimitExceeded" and message.startswith(
        "The account-level service limit 'ml.p3.16xlarge for training job usage' is 2 Instances, "
        "with current utilization of 2 Instances and a request delta of 1 Instances. Please use"
    )
    sagemaker.stop_training_job(TrainingJobName="a")
    assert jobs.get("a").status == "Stopping"
    assert refusal_of(sagemaker.create_training_job, **request_of("c"))[0] == code
    jobs.get("a").end("Stopped", "Training job stopped")
    sagemaker.create_training_job(**request_of("c"))


def test_each_quota_counts_its_own_instances(sagemaker: Any) -> None:
    sagemaker.create_training_job(**request_of("two-machines", **machines(2)))
    message = refusal_of(sagemaker.create_training_job, **request_of("more"))[1]
    assert "current utilization of 2 Instances and a request delta of 1 Instances" in message
    spot: dict[str, Any] = {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    }
    sagemaker.create_training_job(**request_of("spot", **spot))
    message = refusal_of(sagemaker.create_training_job, **request_of("s", **spot, **machines(2)))[1]
    assert "'ml.p3.16xlarge for spot training job usage' is 2 Instances" in message
    g5 = machines(1, "ml.g5.12xlarge")
    sagemaker.create_training_job(**request_of("g5", **g5))
    assert "'ml.g5.12xlarge for" in refusal_of(
        sagemaker.create_training_job, **request_of("g5-2", **g5)
    )[1]  # fmt: skip


def test_an_account_without_quota_accepts_all() -> None:
    jobs = Jobs()
    for number in range(30):
        jobs.create(request_of(f"job-{number}"), REGION)
    assert len(list(jobs)) == 30


def test_quotas_are_told_by_service_quotas(session: boto3.Session) -> None:
    client = session.client("service-quotas")
    pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    found = {quota["QuotaName"]: quota for page in pages for quota in page["Quotas"]}
    assert found["ml.p3.16xlarge for spot training job usage"]["Value"] == 2
    quota = found["ml.g5.12xlarge for training job usage"]
    code = quota["QuotaCode"]
    asked = client.get_service_quota(ServiceCode="sagemaker", QuotaCode=code)["Quota"]
    assert asked["Value"] == 1 and asked["QuotaName"] == quota["QuotaName"]
    assert refusal_of(client.get_service_quota, ServiceCode="sagemaker", QuotaCode="L-0")[0] == (
        "NoSuchResourceException"
    )


@pytest.mark.parametrize(
    ("typed", "every", "by_type"),
    [
        (["5"], 5, {}),
        (["ml.p3.16xlarge=0"], 2, {"ml.p3.16xlarge": 0}),
        (["1", "ml.p3.2xlarge=3"], 1, {"ml.p3.2xlarge": 3}),
    ],
)
def test_quotas_as_they_are_typed(typed: list[str], every: int, by_type: dict[str, int]) -> None:
    assert quotas_of(typed) == Quotas(every, by_type)


def test_all_mistakes_in_quotas_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        main(["--quota", "ml.p3.16xlage=2", "--quota", "many", "--quota", "-1"])
    told = [(problem.where, problem.what) for problem in caught.value.problems]
    assert [where for where, _ in told] == [
        "--quota ml.p3.16xlage=2", "--quota many", "--quota -1",
    ]  # fmt: skip
    assert "did you mean ml.p3.16xlarge?" in told[0][1]


# --- listings ------------------------------------------------------------------------------------


def test_a_listing_comes_in_pages_that_newer_jobs_do_not_shift(jobs: Jobs, sagemaker: Any) -> None:
    jobs.quotas = Quotas()
    for number in range(25):
        jobs.create(request_of(f"job-{number:02}"), REGION)
    assert len(sagemaker.list_training_jobs()["TrainingJobSummaries"]) == 10
    first = sagemaker.list_training_jobs(MaxResults=20)
    jobs.create(request_of("newer"), REGION)
    rest = sagemaker.list_training_jobs(MaxResults=20, NextToken=first["NextToken"])
    names = [s["TrainingJobName"] for p in (first, rest) for s in p["TrainingJobSummaries"]]
    assert names == [f"job-{number:02}" for number in reversed(range(25))]
    assert "NextToken" not in rest
    assert refusal_of(sagemaker.list_training_jobs, NextToken="x")[0] == "ValidationException"
    assert "1 and 100" in refusal_of(sagemaker.list_training_jobs, MaxResults=101)[1]


def test_a_listing_is_sorted_and_filtered_as_asked(jobs: Jobs, sagemaker: Any) -> None:
    jobs.quotas = Quotas()
    now = datetime.now(timezone.utc)
    for days, name in enumerate(["c-tickets", "a-tickets", "b-reviews"]):
        jobs.create(request_of(name), REGION).created = (now - timedelta(days=days)).timestamp()
    jobs.get("b-reviews").end("Failed", "Training job failed")
    jobs.stop("a-tickets")

    def names(**asked: Any) -> str:
        found = sagemaker.list_training_jobs(**asked)["TrainingJobSummaries"]
        return " ".join(summary["TrainingJobName"] for summary in found)

    assert names(SortBy="Name", SortOrder="Ascending") == "a-tickets b-reviews c-tickets"
    assert names(SortBy="Status", SortOrder="Ascending") == "b-reviews c-tickets a-tickets"
    assert names(SortOrder="Ascending") == "b-reviews a-tickets c-tickets"
    assert names(StatusEquals="Stopping") == "a-tickets"
    assert names(NameContains="tickets") == "c-tickets a-tickets"
    yesterday = now - timedelta(hours=36)
    assert names(CreationTimeAfter=yesterday) == "c-tickets a-tickets"
    assert names(CreationTimeBefore=yesterday) == "b-reviews"
    assert names(LastModifiedTimeBefore=yesterday) == ""


def test_jobs_are_found_by_their_tags(jobs: Jobs, sagemaker: Any) -> None:
    jobs.quotas = Quotas()
    for number in range(12):
        tags = [{"Key": "lingotune:sweep", "Value": f"sweep-{number % 2}"}]
        sagemaker.create_training_job(**request_of(f"job-{number}", Tags=tags))
    arn = jobs.get("job-3").arn
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"][0]["Value"] == "sweep-1"
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "mine", "Value": "yes"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["lingotune:sweep"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "mine", "Value": "yes"}]

    def found(*filters: tuple[str, str, str], **asked: Any) -> set[str]:
        named = [{"Name": n, "Operator": o, "Value": v} for n, o, v in filters]
        pages = sagemaker.get_paginator("search").paginate(
            Resource="TrainingJob", SearchExpression={"Filters": named, **asked}
        )
        return {r["TrainingJob"]["TrainingJobName"] for page in pages for r in page["Results"]}

    odd = {f"job-{number}" for number in (1, 5, 7, 9, 11)}
    sweep = ("Tags.lingotune:sweep", "Equals", "sweep-1")
    assert found(sweep) == odd
    assert found(sweep, ("TrainingJobName", "Contains", "1")) == {"job-1", "job-11"}
    assert found(sweep, ("Tags.mine", "Exists", "true"), Operator="Or") == {*odd, "job-3"}
    assert found(("ResourceConfig.InstanceCount", "GreaterThan", "1")) == set()


# --- who calls -----------------------------------------------------------------------------------


def test_the_account_passes_the_check_of_accounts(session: boto3.Session) -> None:
    requirement = JobRequirements(
        name="job", instance_type=P3, nodes=1, spot=False, keep_alive=False,
        channels={"config": (f"s3://{BUCKET}/jobs/x/", True)}, token_secret=None, reserved=False,
    )  # fmt: skip
    checked = check_account([requirement], AWS)
    assert checked.findings == () and checked.skipped == ()
    assert any("is 2, enough for 1" in line for line in checked.done)


# --- jobs at the same time -----------------------------------------------------------------------


def test_as_many_jobs_run_at_once_as_there_is_room_for(jobs: Jobs) -> None:
    jobs.quotas = Quotas()
    together, go_on = threading.Barrier(4), threading.Event()

    def run(job: Job, closing: Callable[[], bool]) -> None:
        job.enter("Training", "Training")
        together.wait(PATIENCE)
        go_on.wait(PATIENCE)
        job.end("Completed", "Training job completed")

    for number in range(5):
        jobs.create(request_of(f"job-{number}"), REGION)
    with Driver(jobs, run, parallel=3):
        together.wait(PATIENCE)
        waiting = [job.name for job in jobs if job.secondary == "Starting"]
        assert waiting == ["job-3", "job-4"]
        jobs.stop("job-4")
        wait_until(lambda: jobs.get("job-4").status == "Stopped")
        assert jobs.get("job-3").secondary == "Starting"
        together.reset()
        go_on.set()
        wait_until(lambda: jobs.get("job-3").secondary == "Training")
        together.abort()
        wait_until(lambda: all(job.over for job in jobs))
    assert jobs.get("job-3").results["FailureReason"].startswith("InternalServerError: Broken")


# --- the command ---------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_told_before_anything_is_installed(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with serve(jobs) as address, pytest.raises(ConfigError) as caught:
        main(["--port", address.rpartition(":")[2]])
    (problem,) = caught.value.problems
    assert problem.where == f"--port {address.rpartition(':')[2]}" and problem.fix == "--port 0"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_another_process_submits_to_it(tmp_path: Path) -> None:
    """As its printed lines say, by a shell that evaluates them."""
    serving = [sys.executable, "-m", "lingotune", "loopback", "--port", "0", "--tiny", "--steps=3"]
    root = Path(__file__).parents[3]
    submit = (
        f"{sys.executable} {root}/launch.py cluster=p3_16xl {' '.join(NAMES)} aws.sdk=boto3 "
        "action=submit"
    )
    with (tmp_path / "told").open("w") as told, (tmp_path / "env").open("w") as env:
        process = subprocess.Popen(serving, stdout=env, stderr=told, cwd=tmp_path)
    try:
        wait_until(lambda: "action=submit" in (tmp_path / "told").read_text())
        done = subprocess.run(
            ["sh", "-c", f". ./env && {submit}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0 and "submitted tiny-" in done.stdout, done.stderr
        wait_until(lambda: ": Completed" in (tmp_path / "told").read_text())
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
