"""An account of the loopback service with jobs in any state, for tests of operations: nothing trains."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
from conftest import compose
from containers import PLAIN
from described import described

from lingotune.config.jobfile import dump_job, job_of
from lingotune.contract.container import JOB_FILE
from lingotune.contract.log_lines import format_train_line, format_validation_line
from lingotune.launch.render.request import to_request
from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE, furnish, only_aws
from lingotune.launch.simulator.loopback.jobs import Job, Jobs
from lingotune.launch.simulator.loopback.logs import GROUP, make_group
from lingotune.launch.simulator.loopback.service import serve
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import JobState, State, Trial

P3 = "ml.p3.16xlarge"
NAMES = (f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}")


class SetClock(Clock):
    """Clock that a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.time() - 3600

    def time(self) -> float:
        return self.now


class JobAccount:
    """The account: what is asked of it, and ways to make jobs."""

    def __init__(self, address: str, jobs: Jobs, clock: SetClock) -> None:
        self.address, self.jobs, self.clock = address, jobs, clock
        self.session = boto3.Session(region_name=REGION)
        self.s3, self.logs = self.session.client("s3"), self.session.client("logs")
        self._request = to_request(described(*PLAIN, *NAMES))
        self._sagemaker = self.session.client("sagemaker")

    def empty(self) -> None:
        """Forget all jobs, logs and objects."""
        self.jobs._jobs.clear()
        self.jobs._waiting.clear()
        self.clock.now = time.time() - 3600
        with suppress(self.logs.exceptions.ResourceNotFoundException):
            self.logs.delete_log_group(logGroupName=GROUP)
        for entry in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            self.s3.delete_object(Bucket=BUCKET, Key=entry["Key"])

    def start(self, name: str, tags: Mapping[str, str] | None = None, **fields: Any) -> Job:
        """Accept a job for one ml.p3.16xlarge; tags: beside lingotune's own; None = another tool's job."""
        request = {**self._request, "TrainingJobName": name, **fields}
        machine = {"InstanceCount": 1, "InstanceType": P3, "VolumeSizeInGB": 30}
        request["ResourceConfig"] = {**machine, **fields.get("ResourceConfig", {})}
        if tags is None:
            request |= {"Tags": [{"Key": "team", "Value": "x"}], "Environment": {}}
        else:
            request["Tags"] = [*request["Tags"], *({"Key": k, "Value": v} for k, v in tags.items())]
        self._sagemaker.create_training_job(**request)
        return self.jobs.get(name)

    def put(self, uri: str, content: bytes = b"x") -> None:
        """Put an object into S3."""
        self.s3.put_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"), Body=content)

    def keys(self, prefix: str = "") -> list[str]:
        """List the keys of the objects below `lingotune/`, without that."""
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"lingotune/{prefix}")
        return [one["Key"].removeprefix("lingotune/") for one in found.get("Contents", [])]

    def leave_inputs(self, *overrides: str) -> None:
        """Put code and job file into S3, as they are before a job starts."""
        self.put(json.loads(self._request["HyperParameters"]["sagemaker_submit_directory"]))
        (config,) = [c for c in self._request["InputDataConfig"] if c["ChannelName"] == "config"]
        text = dump_job(job_of(compose(*PLAIN, *NAMES, *overrides)))
        self.put(f"{config['DataSource']['S3DataSource']['S3Uri']}{JOB_FILE}", text)

    def checkpoint(self, job: Job, *steps: int) -> str:
        """Leave whole checkpoints of a job; returns their place."""
        uri = str(job.request["CheckpointConfig"]["S3Uri"])
        for step in steps:
            self.put(f"{uri}/checkpoint-{step}/model.safetensors")
            self.put(f"{uri}/checkpoint-{step}/manifest.json")
        return uri

    def trial(self, sweep: str, number: int, name: str = "", **varies: str) -> Job:
        """Accept a job of a sweep, tagged as its controller tags it."""
        told = " ".join(f"{key}={value}" for key, value in varies.items())
        tags = {
            "lingotune:sweep": sweep,
            "lingotune:trial": str(number),
            **({"lingotune:varies": told} if told else {}),
        }
        return self.start(name or f"{sweep}-{number:010x}", tags)

    def train(self, job: Job) -> Job:
        """Give a job its machines."""
        job.enter("Downloading", "Downloading input data")
        job.enter("Training", "Training in progress.")
        return job

    def pass_seconds(self, seconds: float) -> None:
        """Let time go by on the account's clock."""
        self.clock.now += seconds

    def complete(self, job: Job, **metrics: float) -> Job:
        """Bring a job to a good end; metrics: last values on validation."""
        found = [
            {"MetricName": f"validation:{name}", "Value": value, "Timestamp": self.clock.now}
            for name, value in metrics.items()
        ]
        job.end("Completed", "Training job completed", FinalMetricDataList=found)
        return job

    def log(self, name: str, lines: Sequence[str], host: int = 1, at: float | None = None) -> None:
        """Write lines into the log of a job's host, a second apart, the last at the account's time."""
        make_group(self.logs)
        where = {"logGroupName": GROUP, "logStreamName": f"{name}/algo-{host}-1700000000"}
        found = self.logs.describe_log_streams(
            logGroupName=GROUP, logStreamNamePrefix=where["logStreamName"]
        )
        if not found["logStreams"]:
            self.logs.create_log_stream(**where)
        end = self.clock.now if at is None else at
        events = [
            {"timestamp": int((end - len(lines) + n + 1) * 1000), "message": line}
            for n, line in enumerate(lines)
        ]
        self.logs.put_log_events(**where, logEvents=events)


def training_lines(step: int, total: int, **scores: float) -> list[str]:
    """Lines of a training up to a step, one each; with scores the last is followed by an evaluation."""
    lines = [format_train_line(n, total, {"loss": 1.0}) for n in range(1, step + 1)]
    return lines + (
        [format_validation_line(step, total, {"loss": 0.5, **scores})] if scores else []
    )


@contextmanager
def job_account() -> Iterator[JobAccount]:
    """Serve an empty account with a clock of its own; boto3 finds no other."""
    clock = SetClock()
    jobs = Jobs(clock)
    with serve(jobs) as address, only_aws(address):
        os.environ["AWS_DEFAULT_REGION"] = REGION
        made = JobAccount(address, jobs, clock)
        furnish(made.session)
        yield made


VARIES = {
    1: {"lr": "1e-05", "seed": "1"},
    2: {"lr": "3e-05", "seed": "1"},
    3: {"lr": "5e-05", "seed": "1"},
    4: {"lr": "1e-05", "seed": "2"},
}
"""What varies between the trials of `a_week`."""


def a_week(account: JobAccount) -> None:
    """The sweep of the documentation: two completed, one failed, one trains."""
    for number, score in ((1, 0.871), (2, 0.884)):
        job = account.train(account.trial("tickets-lr", number, **VARIES[number]))
        account.pass_seconds(1440)
        account.complete(job, macro_f1=score)
    failed = account.train(account.trial("tickets-lr", 3, **VARIES[3]))
    account.pass_seconds(180)
    failed.fail("AlgorithmError: loss is nan at step 212")
    running = account.train(account.trial("tickets-lr", 4, **VARIES[4]))
    account.pass_seconds(300)
    account.log(running.name, training_lines(620, 1000, macro_f1=0.868))


def ledger_of(folder: Path, trials: int, *started: str, **about: object) -> None:
    """A ledger with this many trials, of which the first were started under these names."""
    with Ledger(folder) as ledger:
        ledger.write_about(name=folder.name, region="us-east-1", **about)
        made = [
            Trial(n, VARIES.get(n, {}), (), f"{n:064}", f"job-{n}", 5.0, 30.0)
            for n in range(1, trials + 1)
        ]
        ledger.add_trials(made)
        for trial, name in zip(made, started):
            ledger.intend_start(trial, 1, name, time.time() - 3600)
            ledger.saw([JobState(name, State.running)], time.time())
