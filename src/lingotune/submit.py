"""Starting jobs on SageMaker: the only module that talks to AWS.

Uploads go to content-addressed keys and are sent once. The SDK gets exactly the rendered dict.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.bundle import Bundle
from lingotune.container import JOB_FILE
from lingotune.data.channel import channel_layout
from lingotune.plan import Plan
from lingotune.schema import ConfigError, Problem

# The SDK reads its own defaults from files of the machine and reports every call to its makers.
_SDK_CONFIG = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


@dataclass(frozen=True)
class Submitted:
    """A job that SageMaker has accepted."""

    name: str
    region: str
    output: str

    @property
    def console(self) -> str:
        """Address of the job in the AWS console."""
        host = f"https://{self.region}.console.aws.amazon.com"
        return f"{host}/sagemaker/home?region={self.region}#/jobs/{self.name}"

    def next_commands(self) -> list[str]:
        """What to type to watch, stop and fetch the job."""
        where = f"--training-job-name {self.name} --region {self.region}"
        return [
            f"aws logs tail /aws/sagemaker/TrainingJobs --log-stream-name-prefix {self.name}"
            f" --follow --region {self.region}",
            f"aws sagemaker describe-training-job {where}",
            f"aws sagemaker stop-training-job {where}",
            f"aws s3 cp {self.output}/{self.name}/output/model.tar.gz .",
        ]


def submit(plan: Plan, bundle: Bundle, region: str | None) -> Submitted:
    """Upload code, job and data, then start the job.

    ConfigError names what AWS refused, and says that nothing was started.
    """
    assert plan.request is not None
    with _refusals_explained():
        import boto3

        session = boto3.Session(region_name=region)
        if session.region_name is None:
            what = "is needed to submit: neither the config nor this machine names one"
            raise ConfigError([Problem("aws.region", what, "aws.region=us-east-1")])
        _refuse_known_job(session, plan.name)
        _upload_all(session.client("s3"), plan, bundle)
        _start(session, plan.request)
    return Submitted(plan.name, session.region_name, plan.request["estimator"]["output_path"])


def _start(session: Any, request: dict[str, Any]) -> None:
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    from sagemaker.huggingface import HuggingFace
    from sagemaker.session import Session

    sdk = Session(boto_session=session, sagemaker_config=_SDK_CONFIG)
    HuggingFace(**request["estimator"], sagemaker_session=sdk).fit(**request["fit"])


def _refuse_known_job(session: Any, name: str) -> None:
    """The name follows from job, code and data: if it is taken, this very job was already paid."""
    from botocore.exceptions import ClientError

    try:
        known = session.client("sagemaker").describe_training_job(TrainingJobName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound"):
            return
        raise
    what = f"the same job, code and data were submitted before: {known['TrainingJobStatus']}"
    raise ConfigError([Problem(name, what, "attempt=2 submits it once more")])


def _upload_all(s3: Any, plan: Plan, bundle: Bundle) -> None:
    names = plan.names
    _upload(s3, names.code_uri, bundle.content)
    _upload(s3, names.config_uri + JOB_FILE, plan.job_file)
    if names.data_uri:
        for folder, paths in channel_layout(plan.job.data).items():
            for path in paths:
                _upload(s3, f"{names.data_uri}{folder}/{Path(path).name}", Path(path))


def _upload(s3: Any, uri: str, content: bytes | Path) -> None:
    """Send one object unless it is there: keys hold a digest of the content."""
    from botocore.exceptions import ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    try:
        if s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == size:
            return
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    print(f"upload {uri} ({size} bytes)")
    if isinstance(content, Path):
        s3.upload_file(str(content), bucket, key)
    else:
        s3.put_object(Bucket=bucket, Key=key, Body=content)


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
        works = (
            "python launch.py ... (action=plan) shows role, bucket and names; nothing was started"
        )
        raise ConfigError([Problem("action=submit", what, works)]) from error
    except BotoCoreError as error:
        works = "aws configure, or AWS_PROFILE=...; nothing was started"
        raise ConfigError(
            [Problem("action=submit", f"no answer from AWS: {error}", works)]
        ) from error
