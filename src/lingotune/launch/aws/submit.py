"""Starting jobs on SageMaker. Nothing else writes to AWS.

Uploads go to content-addressed keys and are sent once. Each SDK gets exactly the rendered dict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lingotune.catalog.partitions import console_of
from lingotune.config.console import say
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import AwsConfig, Sdk
from lingotune.data.transfer import MOST_TAGS, upload
from lingotune.launch.aws.start import enqueue, start_v2, start_v3
from lingotune.launch.plan.planner import Plan, objects, planned_digests
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.request import to_request
from lingotune.launch.render.sdk_v2 import to_huggingface
from lingotune.launch.render.sdk_v3 import to_model_trainer
from lingotune.launch.render.training_job import UNSET, TrainingJob


@dataclass(frozen=True)
class Submitted:
    """A job that SageMaker, or the queue in front of it, has accepted."""

    name: str
    region: str
    output: str
    queue: str | None = None

    @property
    def console(self) -> str | None:
        """Address of the job in the AWS console; None where its address is not public."""
        console = console_of(self.region)
        return console and f"{console}/sagemaker/home?region={self.region}#/jobs/{self.name}"

    def next_commands(self) -> list[str]:
        """List the commands that watch, stop, fetch and account for the job."""
        where = f"--training-job-name {self.name} --region {self.region}"
        queued = (
            [f"aws batch list-service-jobs --job-queue {self.queue} --region {self.region}"]
            if self.queue
            else []
        )
        return [
            *queued,
            f"aws logs tail /aws/sagemaker/TrainingJobs --log-stream-name-prefix {self.name}"
            f" --follow --region {self.region}",
            f"aws sagemaker describe-training-job {where}",
            f"aws sagemaker stop-training-job {where}",
            f"aws s3 cp {self.output}/{self.name}/output/model.tar.gz .",
            f"{program('cost')} {self.name} --region {self.region}",
        ]


def with_machine_region(aws: AwsConfig) -> AwsConfig:
    """Fill in the region of this machine's AWS configuration if the config names none.

    Asks no service. If boto3 is missing or finds no region, the account stays as it is, and the next call
    to AWS explains that.
    """
    if aws.region is not None:
        return aws
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return aws
    try:
        return replace(aws, region=boto3.Session().region_name)
    except BotoCoreError:  # e.g. a profile that does not exist
        return aws


def submit(plan: Plan, bundle: Bundle) -> Submitted:
    """Upload code, job and data, then start exactly the planned job, or put it into the queue.

    ConfigError says what AWS refused, and that nothing was started.
    """
    job, aws = plan.training_job, plan.config.aws
    assert job is not None, "a job of this machine is not submitted"
    with _refusals_explained():
        import boto3

        if job.region == UNSET.format("region"):
            what = "is needed to submit: neither the config nor this machine names one"
            raise ConfigError([Problem("aws.region", what, "aws.region=us-east-1")])
        session = boto3.Session(region_name=job.region)
        _upload(session.client("s3"), objects(plan, bundle), planned_digests(plan), aws)
        _start(job, session, aws)
    return Submitted(job.name, job.region, job.output_uri, aws.queue)


def _start(job: TrainingJob, session: Any, aws: AwsConfig) -> None:
    if aws.queue is not None:
        enqueue(to_request(job), session.client("batch"), aws)
    elif aws.sdk is Sdk.v2:
        start_v2(to_huggingface(job), session, session.client("sagemaker"))
    elif aws.sdk is Sdk.v3:
        start_v3(to_model_trainer(job), session)
    else:
        session.client("sagemaker").create_training_job(**to_request(job))


def _upload(
    s3: Any, contents: Mapping[str, bytes | Path], planned: Mapping[str, str], aws: AwsConfig
) -> None:
    tags = aws.tags
    if len(tags) > MOST_TAGS:
        print(f"the objects get no tags: S3 takes {MOST_TAGS}, aws.tags has {len(tags)}")
        tags = {}
    try:
        done = upload(s3, contents, say, kms_key=aws.kms_key, tags=tags, planned=planned)
    except ConfigError as error:
        nothing = "nothing was started"
        problems = [
            replace(p, fix=f"{p.fix}; {nothing}" if p.fix else nothing) for p in error.problems
        ]
        raise ConfigError(problems) from error
    print(f"uploaded {done}")


@contextmanager
def _refusals_explained() -> Iterator[None]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        what = f"the AWS libraries are not installed ({error})"
        raise ConfigError(
            [Problem("action=submit", what, "pip install 'lingotune[launch]'")]
        ) from error
    try:
        yield
    except ClientError as error:
        said = error.response["Error"]
        what = f"AWS refused {error.operation_name}: {said['Code']}: {said['Message']}"
        fix = "the same command with action=plan shows role, bucket and names; nothing was started"
        raise ConfigError([Problem("action=submit", what, fix)]) from error
    except BotoCoreError as error:
        fix = "aws configure, or AWS_PROFILE=...; nothing was started"
        raise ConfigError(
            [Problem("action=submit", f"no answer from AWS: {error}", fix)]
        ) from error
