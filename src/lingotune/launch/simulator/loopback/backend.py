"""`cluster.backend=loopback`: submit to a SageMaker on this machine, watch the job, fetch its results."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from lingotune.config.problems import CLOUD_FAILED, Problem
from lingotune.config.schema import LaunchConfig
from lingotune.data.transfer.objects import split_uri
from lingotune.launch.aws.output import JobOutput, output_uri
from lingotune.launch.aws.submit import submit
from lingotune.launch.plan.planner import Plan
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.simulator.capacity import got_here
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION
from lingotune.launch.simulator.loopback.jobs import Fields
from lingotune.launch.simulator.loopback.standing import Settings, account
from lingotune.launch.simulator.loopback.watch import watch
from lingotune.launch.simulator.scope import complete, environment_of, folder_of, limits_of
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
        return Problem(name, f"{status}: {what}", fix, check="job-not-completed", code=CLOUD_FAILED)


def settings_of(config: LaunchConfig, plans: Sequence[Plan], **more: Any) -> Settings:
    """Return the settings of an account for planned jobs; more: further ones."""
    aws = complete(config.aws)
    models = [plan.model.uri for plan in plans if plan.model is not None and plan.model.uri]
    buckets = dict.fromkeys([aws.bucket or BUCKET, *(split_uri(uri)[0] for uri in models)])
    return Settings(
        rehearsal=config.rehearsal, region=aws.region or REGION, buckets=tuple(buckets), **more
    )


def submit_here(plan: Plan, bundle: Bundle, tell: Callable[[str], None]) -> Finished:
    """Submit a plan's job to an account on this machine and follow it to its end.

    Meanwhile that account is the only AWS that this process knows.
    """
    assert plan.request is not None, "a job of this machine is not submitted"
    environment = environment_of(plan, tell)
    with folder_of(plan) as folder:
        settings = settings_of(plan.config, [plan], containers=folder.parent)
        with account(settings, tell) as (address, _):
            tell(f"a SageMaker on this machine: AWS_ENDPOINT_URL={address}; nothing is billed")
            rehearsal = plan.config.rehearsal
            limits = limits_of(rehearsal, got_here(plan.request, rehearsal.full))
            tell(f"{plan.name}: {limits}\n{environment.description}")
            return _followed(plan, bundle, boto3.Session(region_name=settings.region), tell)


def _followed(plan: Plan, bundle: Bundle, session: Any, tell: Callable[[str], None]) -> Finished:
    name = submit(plan, bundle).name
    tell(f"submitted {name}")
    watched = watch(session, name, tell)
    results = new_folder(name, plan.config.runs_dir)
    with tempfile.TemporaryDirectory() as fetched:
        uri = output_uri(watched.description)
        JobOutput(session.client("s3"), uri, Path(fetched)).fetch(results, tell)
    (results / "log.txt").write_text("\n".join([*watched.lines, ""]), encoding="utf-8")
    description = json.dumps(watched.description, indent=2, default=str)  # times as text
    (results / "training-job.json").write_text(f"{description}\n", encoding="utf-8")
    write_command(plan.typed, results)
    tell(f"results: {results}")
    if watched.interrupted:
        raise KeyboardInterrupt
    return Finished(json.loads(description), results)
