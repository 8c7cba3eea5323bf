"""Connections to the account that jobs run in: uploading what they need, starting and describing them.

Nothing else writes to AWS. Uploads go to content-addressed keys and are sent once. Each SDK gets exactly
the rendered dict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lingotune.config.console import say
from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.config.schema import AwsConfig, Sdk
from lingotune.contract.container import DIGEST_VARIABLE
from lingotune.data.transfer import MOST_TAGS, upload
from lingotune.launch.aws.faults import errors, said_by
from lingotune.launch.aws.notify import notify
from lingotune.launch.aws.settle import Seen
from lingotune.launch.aws.start import enqueue, start_v2, start_v3
from lingotune.launch.render.request import to_request
from lingotune.launch.render.sdk_v2 import to_huggingface
from lingotune.launch.render.sdk_v3 import to_model_trainer
from lingotune.launch.render.training_job import UNSET, TrainingJob


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


class Account:
    """Connection to the account that jobs run in, with this machine's credentials.

    session: of boto3, in the jobs' region. config: botocore's, for all clients. bare: send each job's
    request itself, in one call; the SDKs, which send the same, take seconds for each. Calls raise
    `errors()`.
    """

    def __init__(
        self, session: Any, aws: AwsConfig, config: Any = None, *, bare: bool = False
    ) -> None:
        self.session, self.aws = session, aws
        self._config, self._bare = config, bare
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return the client of a service, the same for every call."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, config=self._config)
        return self._clients[service]

    def upload(
        self,
        contents: Mapping[str, bytes | Path],
        planned: Mapping[str, str],
        tell: Callable[[str], None] = say,
    ) -> None:
        """Upload what is not there yet; ConfigError says what went wrong, and that nothing was started.

        planned: digests of contents that must not have changed. tell: takes lines about what is uploaded.
        """
        with _refusals_explained():
            _upload(self.client("s3"), contents, planned, self.aws, tell)

    def notify(self, names: Sequence[str], stem: str = "") -> None:
        """Let the topic be told when these jobs end, if there is one; ConfigError says what went wrong."""
        if self.aws.notify is not None:
            with _refusals_explained():
                notify(self, self.aws.notify, names, stem)

    def start(self, job: TrainingJob) -> None:
        """Start a job with the SDK that was chosen, or put it into the queue."""
        aws = self.aws
        if aws.queue is not None:
            enqueue(to_request(job), self.client("batch"), aws)
        elif self._bare or aws.sdk is Sdk.boto3:
            self.client("sagemaker").create_training_job(**to_request(job))
        elif aws.sdk is Sdk.v2:
            start_v2(to_huggingface(job), self.session, self.client("sagemaker"))
        else:
            start_v3(to_model_trainer(job), self._new_session())

    def _new_session(self) -> Any:
        import boto3

        return boto3.Session(region_name=self.session.region_name)

    def look_up(self, name: str) -> Seen | None:
        """Ask for a job, or for its place in the queue; None if there is none."""
        if self.aws.queue is not None:
            return next((Seen(entry["status"]) for entry in self._in_queue(name)), None)
        told = self.describe(name)
        if told is None:
            return None
        digest = told.get("Environment", {}).get(DIGEST_VARIABLE, "")
        return Seen(str(told["TrainingJobStatus"]), told["CreationTime"].timestamp(), digest)

    def request_of(self, name: str) -> Mapping[str, Any] | None:
        """Return the request of a job, with all else that AWS tells of it; None if there is no such job."""
        if self.aws.queue is None:
            return self.describe(name)
        batch = self.client("batch")
        for entry in self._in_queue(name):
            told = batch.describe_service_job(jobId=entry["jobId"])
            request: Mapping[str, Any] = json.loads(told["serviceRequestPayload"])
            return request
        return None

    def _in_queue(self, name: str) -> Sequence[Mapping[str, Any]]:
        wanted = [{"name": "JOB_NAME", "values": [name]}]
        asked = {"jobQueue": self.aws.queue, "filters": wanted}
        found: Sequence[Mapping[str, Any]]
        found = self.client("batch").list_service_jobs(**asked)["jobSummaryList"]
        return found

    def describe(self, name: str) -> dict[str, Any] | None:
        """Describe a training job; None if there is none with this name."""
        from botocore.exceptions import ClientError

        try:
            found: dict[str, Any] = self.client("sagemaker").describe_training_job(
                TrainingJobName=name
            )
        except ClientError as error:
            said = error.response["Error"]
            if said["Code"].startswith("ResourceNotFound") or "not found" in said["Message"]:
                return None
            raise
        return found


def connect(region: str, aws: AwsConfig, config: Any = None, *, bare: bool = False) -> Account:
    """Connect to a region; asks nothing. ConfigError if the library or the region is missing.

    config, bare: as of `Account`.
    """
    with _refusals_explained():
        import boto3

        if region == UNSET.format("region"):
            what = "is needed to submit: neither the config nor this machine names one"
            raise ConfigError([Problem("aws.region", what, "aws.region=us-east-1")])
        return Account(boto3.Session(region_name=region), aws, config, bare=bare)


def _upload(
    s3: Any,
    contents: Mapping[str, bytes | Path],
    planned: Mapping[str, str],
    aws: AwsConfig,
    tell: Callable[[str], None],
) -> None:
    tags = aws.tags
    if len(tags) > MOST_TAGS:
        tell(f"the objects get no tags: S3 takes {MOST_TAGS}, aws.tags has {len(tags)}")
        tags = {}
    try:
        done = upload(s3, contents, tell, kms_key=aws.kms_key, tags=tags, planned=planned)
    except ConfigError as error:
        nothing = "nothing was started"
        problems = [
            replace(p, fix=f"{p.fix}; {nothing}" if p.fix else nothing) for p in error.problems
        ]
        raise ConfigError(problems) from error
    tell(f"uploaded {done}")


@contextmanager
def _refusals_explained() -> Iterator[None]:
    try:
        import botocore.exceptions  # noqa: F401 - all else needs it
    except ImportError as error:
        what = f"the AWS libraries are not installed ({error})"
        raise ConfigError(
            [Problem("action=submit", what, "pip install 'lingotune[launch]'")]
        ) from error
    try:
        yield
    except errors() as error:
        raise refusal(error) from error


def refusal(error: Exception) -> ConfigError:
    """Explain an error of a call that has had no effect."""
    from botocore.exceptions import ClientError

    fix = "aws configure, or AWS_PROFILE=...; nothing was started"
    if isinstance(error, ClientError):
        fix = "the same command with action=plan shows role, bucket and names; nothing was started"
    return ConfigError([Problem("action=submit", said_by(error), fix, code=CLOUD_FAILED)])
