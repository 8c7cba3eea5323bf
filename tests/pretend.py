"""Training jobs that only pretend to train, in an account whose clock may run thousands of times faster.

For proofs about sweeps: hundreds of jobs, days of their time, in minutes. Statuses, log lines, scores,
failures and stops are those of a training; the machines are the only thing that is missing.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import Event
from typing import Any

import boto3
from accountant import Audit, audit
from faults import Faults, FaultyFront
from moto.logs.models import logs_backends

from lingotune.config.jobfile import load_job
from lingotune.config.schema import JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.contract.log_lines import format_test_line, format_validation_line
from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.driver import Driver
from lingotune.launch.simulator.loopback.fake_account import REGION, furnish, only_aws
from lingotune.launch.simulator.loopback.identity import ACCOUNT
from lingotune.launch.simulator.loopback.jobs import Job, Jobs
from lingotune.launch.simulator.loopback.logs import LOCK, LogStream, final_metrics
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.service import serve
from lingotune.launch.simulator.loopback.storage import split_uri

EPOCH = 10 * 24 * 3600.0
"""Seconds by which a fast clock begins in the past, so that hardly anything happens in the future."""
MINUTE = 60.0


@dataclass(frozen=True)
class Course:
    """How a job goes; times in seconds of the account's clock.

    scores: macro-F1 of each evaluation; the last is the test's, too. evaluation_time: training before each.
    starting: until the training begins, two thirds of it unbilled. stopping: from the call to the end.
    fails_after, hangs_after: number of evaluations after which it fails with `reason`, or does nothing
    any more until it is stopped. no_machine: fails with `reason` before anything is billed. released: no
    stop ends before it is set.
    """

    scores: Sequence[float]
    evaluation_time: float = 2 * MINUTE
    starting: float = 3 * MINUTE
    stopping: float = MINUTE
    steps: int = 100
    fails_after: int | None = None
    hangs_after: int | None = None
    no_machine: bool = False
    reason: str = "AlgorithmError: rank 0, training: it broke, exit code: 1"
    released: Event | None = None


@dataclass(frozen=True)
class Asked:
    """A job as it was asked for: its request, its tags, and its job file, which is read when needed."""

    request: Mapping[str, Any]
    tags: Mapping[str, str]
    s3: Any = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    @cached_property
    def config(self) -> JobConfig:
        """The job.yaml of the channel config."""
        for channel in self.request["InputDataConfig"]:
            if channel["ChannelName"] == "config":
                bucket, key = split_uri(channel["DataSource"]["S3DataSource"]["S3Uri"])
                body = self.s3.get_object(Bucket=bucket, Key=f"{key}{JOB_FILE}")["Body"]
                with tempfile.NamedTemporaryFile() as file:
                    file.write(body.read())
                    file.flush()
                    return load_job(file.name)[0]
        raise AssertionError(f"{self.name} has no channel config")


@dataclass(frozen=True)
class Pretender:
    """Runs jobs for a Driver: `course` says of each how it goes."""

    course: Callable[[Asked], Course]
    s3: Any

    def run(self, job: Job, closing: Callable[[], bool]) -> None:
        """Take a job through its statuses to its end."""
        course = self.course(Asked(job.request, job.tags, self.s3))
        if job.sleep(course.starting * 2 / 3, closing):
            job.end("Stopped", "Training job stopped")  # nothing has to be given back
            return
        if course.no_machine:
            job.fail(course.reason)
            return
        job.enter("Downloading", "Downloading input data")
        stream = LogStream(_Logs(), job.name, "algo-1", job.clock)
        end = self._train(job, course, stream, closing)
        stream.flush()
        definitions = job.request["AlgorithmSpecification"].get("MetricDefinitions", [])
        results = {"FinalMetricDataList": final_metrics(definitions, stream.lines)}
        if end == "Failed":
            job.fail(course.reason, **results)
            return
        if end == "Stopped":
            _rest(job, course, closing)
        job.end(end, f"Training job {'completed' if end == 'Completed' else 'stopped'}", **results)

    def _train(
        self, job: Job, course: Course, stream: LogStream, closing: Callable[[], bool]
    ) -> str:
        """Write the lines of a training; returns the last secondary status."""
        limit = job.clock.time() + job.request["StoppingCondition"]["MaxRuntimeInSeconds"]

        def over(seconds: float) -> str:
            """Let time pass; returns how the job has ended meanwhile, '' if it has not."""
            left = limit - job.clock.time()
            if job.sleep(min(seconds, left), closing):
                return "Stopped"
            return "MaxRuntimeExceeded" if seconds > left else ""

        if ended := over(course.starting / 3):
            return ended
        job.enter("Training", "Training image download completed. Training in progress.")
        total = course.steps * len(course.scores)
        for number, score in enumerate(course.scores, 1):
            if course.fails_after == number - 1:
                return "Failed"
            forever = course.hangs_after == number - 1
            if ended := over(float("inf") if forever else course.evaluation_time):
                return ended
            values = _values(score)
            stream.add(format_validation_line(number * course.steps, total, values))
            stream.flush()
        if course.fails_after == len(course.scores):
            return "Failed"
        stream.add(format_test_line(_values(course.scores[-1])))
        job.enter("Uploading", "Uploading generated training model")
        return "Completed"


class _Logs:
    """Client of CloudWatch that writes to moto's own objects.

    Calls on the wire would take minutes of a fast clock, and moto takes no events from the future.
    """

    def create_log_stream(self, logGroupName: str, logStreamName: str) -> None:
        with LOCK:
            groups = logs_backends[ACCOUNT][REGION].groups
            if logGroupName not in groups:
                logs_backends[ACCOUNT][REGION].create_log_group(logGroupName, {})
            groups[logGroupName].create_log_stream(logStreamName)

    def put_log_events(self, logGroupName: str, logStreamName: str, logEvents: Any) -> None:
        with LOCK:
            group = logs_backends[ACCOUNT][REGION].groups[logGroupName]
            group.put_log_events(logStreamName, list(logEvents))


def _values(score: float) -> dict[str, float]:
    return {
        "loss": 2.0 - score,
        "accuracy": score,
        "macro_f1": score,
        "worst_language_macro_f1": score - 0.05,
    }


def _rest(job: Job, course: Course, closing: Callable[[], bool]) -> None:
    """Let a stop take its time."""
    assert job.stop_asked_at is not None or closing()
    end = (job.stop_asked_at or job.clock.time()) + course.stopping
    while not closing():
        left = end - job.clock.time()
        if left <= 0 and (course.released is None or course.released.is_set()):
            return
        time.sleep(min(0.05, max(0.001, left / job.clock.speed)))


@dataclass(frozen=True)
class Account:
    """An account whose jobs pretend: its address, its own record of them, and what is in front of it.

    address: with the faults. behind: without them, for a test's own questions.
    """

    address: str
    behind: str
    jobs: Jobs
    faults: Faults | None

    @property
    def clock(self) -> Clock:
        return self.jobs.clock

    def audit(self) -> Audit:
        """What the account's record says; independent of what any client believes."""
        return audit(self.jobs)


@contextmanager
def pretending(
    course: Callable[[Asked], Course],
    *,
    quotas: Quotas | None = None,
    speed: float = 1.0,
    faults: Faults | None = None,
) -> Iterator[Account]:
    """Run an account whose jobs pretend, the only AWS that this process and its children know.

    speed: of its clock; at 6000 a minute takes 10 ms. faults: of the proxy in front of it.
    """
    fast = speed != 1.0
    clock = Clock(speed, time.time() - EPOCH) if fast else Clock()
    jobs = Jobs(clock, quotas)
    with ExitStack() as held:
        behind = held.enter_context(serve(jobs))
        with only_aws(behind):  # clients keep the address they are made for
            session = boto3.Session(region_name=REGION)
            furnish(session)
            pretender = Pretender(course, session.client("s3"))
        held.enter_context(Driver(jobs, pretender.run, parallel=10_000))
        address = behind
        if faults is not None:
            host, _, port = behind.removeprefix("http://").partition(":")
            front = FaultyFront((host, int(port)), faults)
            held.callback(front.close)
            address = front.address
        held.enter_context(only_aws(address))
        os.environ["AWS_DEFAULT_REGION"] = REGION
        yield Account(address, behind, jobs, faults)
