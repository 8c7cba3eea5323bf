"""The harness for proofs about sweeps: pretended jobs, faults on the way, and the accountant."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Any

import boto3
import pytest
from accountant import audit
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from conftest import compose
from described import described
from faults import Faults, Rates
from pretend import Account, Asked, Course, pretending
from waiting import wait_until

from lingotune.config.jobfile import dump_job, job_digest, job_of
from lingotune.contract.container import CONFIG_CHANNEL
from lingotune.launch.render.request import to_request
from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE
from lingotune.launch.simulator.loopback.jobs import Jobs
from lingotune.launch.simulator.loopback.logs import GROUP
from lingotune.launch.simulator.loopback.quotas import Quotas

FAST = 2000.0
"""Hours of max_run take seconds: a machine so busy that a thread waits that long would end jobs early."""
NAMES = (f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}")
ONCE = Config(retries={"total_max_attempts": 1})
"""Every fault is seen; botocore repeats nothing by itself."""


def request_of(name: str, *overrides: str, **changes: Any) -> dict[str, Any]:
    rendered = to_request(described("cluster=p3_16xl", *NAMES, *overrides))
    return {**rendered, "TrainingJobName": name, **changes}


def client(service: str = "sagemaker") -> Any:
    return boto3.client(service, config=ONCE)


def started(name: str, **changes: Any) -> str:
    client().create_training_job(**request_of(name, **changes))
    return name


def ended(account: Account, name: str) -> dict[str, Any]:
    job = account.jobs.get(name)
    wait_until(lambda: job.over)
    return job.describe()


def lines_of(name: str) -> list[str]:
    found = client("logs").filter_log_events(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")
    return [event["message"] for event in found["events"]]


# --- jobs that pretend ---------------------------------------------------------------------------


def test_a_pretended_job_writes_the_lines_and_scores_of_a_training() -> None:
    with pretending(lambda asked: Course([0.5, 0.75]), speed=FAST) as account:
        told = ended(account, started("job"))
        assert lines_of("job")[:2] == [
            "step 100/200  validation: loss 1.5000  accuracy 0.5000  macro-F1 0.5000  "
            "worst-language 0.4500",
            "step 200/200  validation: loss 1.2500  accuracy 0.7500  macro-F1 0.7500  "
            "worst-language 0.7000",
        ]
        described = client().describe_training_job(TrainingJobName="job")
    values = {m["MetricName"]: m["Value"] for m in told["FinalMetricDataList"]}
    assert (values["validation:macro_f1"], values["test:macro_f1"]) == (0.75, 0.75)
    assert told["TrainingJobStatus"] == "Completed"
    entered = [entry["Status"] for entry in told["SecondaryStatusTransitions"]]
    assert entered == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    # 5 minutes: one of the start that is billed, and two for each evaluation
    assert 300 <= told["BillableTimeInSeconds"] < 24 * 3600
    assert described["TrainingEndTime"].timestamp() < time.time() - 24 * 3600


def test_a_course_follows_from_the_job_file_and_the_tags() -> None:
    job = job_of(compose("lr=5e-4"))

    def course(asked: Asked) -> Course:
        return Course([asked.config.lr or 0.0], reason=asked.tags["why"], fails_after=1)

    with pretending(course, speed=FAST) as account:
        key = f"lingotune/jobs/{job_digest(job)}/"
        client("s3").put_object(Bucket=BUCKET, Key=f"{key}job.yaml", Body=dump_job(job))
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{key}"}
        channel = {"ChannelName": CONFIG_CHANNEL, "DataSource": {"S3DataSource": source}}
        tags = [{"Key": "why", "Value": "AlgorithmError: as told"}]
        told = ended(account, started("job", Tags=tags, InputDataConfig=[channel]))
        assert "macro-F1 0.0005" in lines_of("job")[0]
    assert (told["TrainingJobStatus"], told["FailureReason"]) == ("Failed", tags[0]["Value"])


@pytest.mark.parametrize(
    ("course", "changes", "status", "billed"),
    [
        (Course([0.5], fails_after=0), {}, "Failed", True),
        (Course([0.5], no_machine=True, reason="CapacityError: none"), {}, "Failed", False),
        (
            Course([0.5], hangs_after=0),
            {"StoppingCondition": {"MaxRuntimeInSeconds": 600}},
            "MaxRuntimeExceeded",
            True,
        ),
    ],
    ids=["fails", "no machine", "hangs"],
)
def test_jobs_that_come_to_another_end(
    course: Course, changes: dict[str, Any], status: str, billed: bool
) -> None:
    with pretending(lambda asked: course, speed=FAST) as account:
        told = ended(account, started("job", **changes))
    assert told["SecondaryStatus"] == status
    assert bool(told.get("BillableTimeInSeconds")) == billed
    assert told.get("FailureReason") == (course.reason if status == "Failed" else None)


def test_a_stop_takes_its_time_and_holds_its_place() -> None:
    released = Event()  # a second of this clock passes unseen on a busy machine
    course = Course([0.5], hangs_after=0, stopping=60.0, released=released)
    with pretending(lambda asked: course, quotas=Quotas(1), speed=60.0) as account:
        name, sagemaker = started("job"), client()
        job = account.jobs.get(name)
        wait_until(lambda: job.secondary == "Training")
        sagemaker.stop_training_job(TrainingJobName=name)
        asked = sagemaker.describe_training_job(TrainingJobName=name)
        assert asked["TrainingJobStatus"] == asked["SecondaryStatus"] == "Stopping"
        with pytest.raises(ClientError, match="ResourceLimitExceeded"):
            started("next")
        released.set()
        assert ended(account, name)["TrainingJobStatus"] == "Stopped"
        started("next")
        found = account.audit()
    assert found.after_stop[name] >= 60
    assert found.peak == {"ml.p3.16xlarge": 1} and found.running == ("next",)


def test_many_jobs_take_no_longer_than_one() -> None:
    with pretending(lambda asked: Course([0.5] * 20), speed=FAST) as account:
        requests = [request_of(f"job-{number}") for number in range(40)]
        begin = account.clock.time()
        for request in requests:
            account.jobs.create(request, REGION)
        wait_until(lambda: all(job.over for job in account.jobs))
        assert account.clock.time() - begin < 20 * 45 * 60
        assert account.audit().peak["ml.p3.16xlarge"] > 10


# --- faults --------------------------------------------------------------------------------------


def outcome(call: Callable[..., Any], **arguments: Any) -> str:
    """How a call ends for its caller."""
    try:
        call(**arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return f"{status} {error.response['Error']['Code']}"
    except ConnectionClosedError:
        return "closed"
    return "answered"


def test_each_kind_of_fault_is_what_a_client_sees() -> None:
    faults = Faults(rates={})
    with pretending(lambda asked: Course([0.5]), speed=FAST, faults=faults) as account:
        create, names = client().create_training_job, iter("abcdefgh")

        def seen(**rates: float) -> tuple[str, bool]:
            """What the client is told, and whether the job is there."""
            faults.rates = {"CreateTrainingJob": Rates(**rates)}
            name = next(names)
            told = outcome(create, **request_of(name))
            return told, name in [job.name for job in account.jobs]

        assert seen() == ("answered", True)
        assert seen(throttled=1) == ("400 ThrottlingException", False)
        assert seen(dropped=1) == ("closed", False)
        assert seen(lost=1) == ("closed", True)
        assert {seen(unavailable=1) for _ in range(3)} <= {
            ("500 InternalFailure", False), ("503 ServiceUnavailable", False),
        }  # fmt: skip
        faults.delay, begin = 0.5, time.monotonic()
        assert seen(slow=1) == ("answered", True) and time.monotonic() - begin > 0.5
        s3 = client("s3")
        faults.rates = {"PutObject": Rates(throttled=1)}
        assert outcome(s3.put_object, Bucket=BUCKET, Key="k", Body=b"") == "503 SlowDown"
        assert outcome(s3.list_objects_v2, Bucket=BUCKET) == "answered"
    assert faults.calls["CreateTrainingJob"] == 8 and faults.calls["PutObject"] == 1
    assert faults.failed["CreateTrainingJob", "unavailable"] == 3
    assert sum(faults.failed.values()) == 8


def test_faults_come_by_a_seeded_chance() -> None:
    def drawn(seed: int, share: float) -> list[str]:
        faults = Faults(seed, Rates.of(share))
        return [faults.next("ListTrainingJobs") for _ in range(1000)]

    assert drawn(1, 0.3) == drawn(1, 0.3) != drawn(2, 0.3)
    assert 250 < sum(map(bool, drawn(1, 0.3))) < 350
    assert set(drawn(1, 0.3)) == {"", "throttled", "unavailable", "dropped", "lost", "slow"}
    assert not any(drawn(1, 0.0)) and all(drawn(1, 1.0))


# --- the accountant ------------------------------------------------------------------------------


def test_a_naive_loop_is_found_out() -> None:
    """Repeats a start whose answer was lost under a new name, as advised by `attempt=2`."""
    faults = Faults(rates={"CreateTrainingJob": Rates(lost=1)})
    course = Course([0.5], hangs_after=0, stopping=0)
    with pretending(lambda asked: course, speed=FAST, faults=faults) as account:
        request, sagemaker = request_of("job"), client()
        assert outcome(sagemaker.create_training_job, **request) == "closed"
        faults.rates = {}
        assert outcome(sagemaker.create_training_job, **request) == "400 ResourceInUse"
        started("job-2")
        wait_until(lambda: all(job.secondary == "Training" for job in account.jobs))
        sagemaker.stop_training_job(TrainingJobName="job")
        ended(account, "job")
        found = account.audit()
    assert list(found.twice.values()) == [2] and found.asked_again == {"job": 1}
    assert found.peak == {"ml.p3.16xlarge": 2} and found.running == ("job-2",)
    assert found.after_stop.keys() == {"job"} and found.billed > 0


def test_a_loop_that_submits_one_after_the_other_loses_jobs_and_doubles_others() -> None:
    """Thirty jobs, as a shell script starts them: the harness shows what a controller must not do."""
    faults = Faults(2, rates={"CreateTrainingJob": Rates.of(0.3)}, delay=0.0)
    requests = [request_of(f"job-{number}") for number in range(30)]
    for number, request in enumerate(requests):
        request["Tags"] = [{"Key": "lingotune:job-sha256", "Value": str(number)}]
    course = Course([0.5], hangs_after=0)
    # With a fast clock a busy machine would see the first jobs reach max_run, and free their instances.
    with pretending(lambda asked: course, quotas=Quotas(20), speed=1.0, faults=faults) as account:
        sagemaker, refused = client(), 0
        for request in requests:
            if outcome(sagemaker.create_training_job, **request) != "answered":
                again = {**request, "TrainingJobName": f"{request['TrainingJobName']}-2"}
                refused += outcome(sagemaker.create_training_job, **again) != "answered"
        found = account.audit()
    assert found.twice and len(found.started) < 20 and refused > 10
    assert found.peak == {"ml.p3.16xlarge": 20} and sum(faults.failed.values()) > 3


def test_times_are_billed_by_the_record_alone() -> None:
    """By hand: two jobs of two machines that overlap, one of them stopped while it runs."""
    jobs = Jobs(Clock(0.0, 1000.0))
    machines = {"InstanceCount": 2, "InstanceType": "ml.p3.2xlarge", "VolumeSizeInGB": 50}
    for name, created, started_at, stop, end in [
        ("a", 0.0, 100.0, None, 400.0),
        ("b", 300.0, 310.0, 500.0, 560.0),
        ("c", 560.0, None, 600.0, 700.0),
    ]:
        job = jobs.create(request_of(name, ResourceConfig=machines, Tags=[]), REGION)
        job.created, job.started, job.stop_asked_at = created, started_at, stop
        job.end("Stopped" if stop else "Completed", "")
        job.ended = end
    found = audit(jobs)
    assert found.started == {"a": 1, "b": 1, "c": 1} and not found.twice and not found.running
    assert found.peak == {"ml.p3.2xlarge": 4}
    assert found.after_stop == {"b": 60.0, "c": 0.0}
    assert found.billed == 2 * (300 + 250)
