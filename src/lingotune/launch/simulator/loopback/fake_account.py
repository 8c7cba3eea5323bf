"""The account of a SageMaker on this machine, meanwhile the only AWS that this process knows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lingotune.config.schema import AwsConfig
from lingotune.launch.simulator.loopback.identity import ACCOUNT

REGION = "us-east-1"
BUCKET = "lingotune-loopback"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lingotune-loopback"
"""Region, bucket and role of an account that others use, made by `furnish`."""


def variables(address: str) -> dict[str, str]:
    """Return the environment by which boto3 and the SDKs find this address, fake keys, and nothing else."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "loopback",
        "AWS_SECRET_ACCESS_KEY": "loopback",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def theirs(environment: dict[str, str]) -> list[str]:
    """List the variables of another account, which would lead elsewhere."""
    return [name for name in environment if name.startswith(("AWS_", "BOTO_"))]


@contextmanager
def only_aws(address: str) -> Iterator[None]:
    """Let boto3 and the SDKs find this address and fake keys, and nothing of the user's.

    Their settings are environment variables, so that sessions created later have them, too.
    """
    before = dict(os.environ)
    for name in theirs(before):
        del os.environ[name]
    os.environ.update(variables(address))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def furnish(session: Any, buckets: Sequence[str] = ()) -> None:
    """Make the account's bucket, others, and a role that SageMaker may take on, unless they are there."""
    found = {bucket["Name"] for bucket in session.client("s3").list_buckets()["Buckets"]}
    for name in dict.fromkeys([BUCKET, *buckets]):
        if name not in found:
            make_bucket(session, AwsConfig(bucket=name))
    iam = session.client("iam")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    if not any(role["Arn"] == ROLE for role in iam.list_roles()["Roles"]):
        iam.create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument=policy)


def make_bucket(session: Any, aws: AwsConfig) -> None:
    """Make the bucket for the job's code, data and output."""
    region = session.region_name
    # S3 requires the region's name, except for its first one.
    where = {} if region == "us-east-1" else {"LocationConstraint": region}
    options = {"CreateBucketConfiguration": where} if where else {}
    session.client("s3").create_bucket(Bucket=aws.bucket, **options)
