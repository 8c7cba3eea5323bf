"""`cluster.backend=loopback`: submit to a SageMaker on this machine, watch the job, fetch its results."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import boto3

from lingotune.config.problems import Problem
from lingotune.data.transfer.objects import split_uri
from lingotune.launch.aws.output import JobOutput, output_uri
from lingotune.launch.aws.submit import submit
from lingotune.launch.plan.planner import Plan
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.simulator.loopback.driver import Driver
from lingotune.launch.simulator.loopback.fake_account import make_bucket, only_aws
from lingotune.launch.simulator.loopback.jobs import Fields, Jobs
from lingotune.launch.simulator.loopback.logs import make_group
from lingotune.launch.simulator.loopback.machines import Machines, Share
from lingotune.launch.simulator.loopback.service import serve
from lingotune.launch.simulator.loopback.watch import watch
from lingotune.launch.simulator.scope import (
    complete,
    environment_of,
    folder_of,
    limits_of,
    variables_of_job,
)
from lingotune.runs.folder import new_folder, write_command


@dataclass(frozen=True)
class Finished:
    """A job that has ended: DescribeTrainingJob's last answer, and the folder with its results."""

    description: Fields
    folder: Path

    @property
    def problem(self) -> Problem | None:
        """Problem of a job that failed, in SageMaker's words; None if it completed."""
        status = self.description["TrainingJobStatus"]
        if status == "Completed":
            return None
        what = self.description.get("FailureReason") or self.description["SecondaryStatus"]
        name, fix = self.description["TrainingJobName"], f"its log: {self.folder}/log.txt"
        return Problem(name, f"{status}: {what}", fix, check="job-not-completed")


def submit_here(
    plans: Sequence[Plan], bundle: Bundle, tell: Callable[[str], None]
) -> list[Finished]:
    """Submit each plan's job to an account on this machine and follow it to its end, one by one.

    Meanwhile that account is the only AWS that this process knows.
    """
    jobs = Jobs()
    with serve(jobs) as address, only_aws(address):
        tell(f"a SageMaker on this machine: AWS_ENDPOINT_URL={address}; nothing is billed")
        return [_submit(plan, bundle, jobs, address, tell) for plan in plans]


def _submit(
    plan: Plan, bundle: Bundle, jobs: Jobs, address: str, tell: Callable[[str], None]
) -> Finished:
    assert plan.request is not None, "a job of this machine is not submitted"
    aws = complete(plan.config.aws)
    session = boto3.Session(region_name=aws.region)
    make_bucket(session, aws)
    if plan.model is not None and plan.model.uri is not None:
        make_bucket(session, replace(aws, bucket=split_uri(plan.model.uri)[0]))
    limits = limits_of(plan.config.rehearsal, plan.request)
    environment = environment_of(plan, tell)
    tell(f"{plan.name}: {limits}\n{environment.description}")
    variables = {**environment.variables, **variables_of_job(plan.job, limits)}
    share = Share(environment.python, limits.ranks, variables)
    with folder_of(plan) as folder:
        machines = Machines(
            session.client("s3"), session.client("logs"), address,
            lambda request, found: share, folder.parent,
        )  # fmt: skip
        make_group(machines.logs)
        with Driver(jobs, machines.run):
            name = submit(plan, bundle).name
            tell(f"submitted {name}")
            watched = watch(session, name, tell)
        results = new_folder(name, plan.config.runs_dir)
        with tempfile.TemporaryDirectory() as fetched:
            output = JobOutput(machines.s3, output_uri(watched.description), Path(fetched))
            output.fetch(results, tell)
    (results / "log.txt").write_text("\n".join([*watched.lines, ""]), encoding="utf-8")
    description = json.dumps(watched.description, indent=2, default=str)  # times as text
    (results / "training-job.json").write_text(f"{description}\n", encoding="utf-8")
    write_command(plan.typed, results)
    tell(f"results: {results}")
    if watched.interrupted:
        raise KeyboardInterrupt
    return Finished(json.loads(description), results)
