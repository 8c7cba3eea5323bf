"""The account of a SageMaker on this machine, meanwhile the only AWS that this process knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lingotune.config.schema import AwsConfig


@contextmanager
def only_aws(address: str) -> Iterator[None]:
    """Let boto3 and the SDKs find this address and fake keys, and nothing of the user's.

    Their settings are environment variables, so that sessions created later have them, too.
    """
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("AWS_", "BOTO_"))]:
        del os.environ[name]
    os.environ.update(
        AWS_ENDPOINT_URL=address,
        AWS_ACCESS_KEY_ID="loopback",
        AWS_SECRET_ACCESS_KEY="loopback",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def make_bucket(session: Any, aws: AwsConfig) -> None:
    """Make the bucket for the job's code, data and output."""
    region = session.region_name
    # S3 requires the region's name, except for its first one.
    where = {} if region == "us-east-1" else {"LocationConstraint": region}
    options = {"CreateBucketConfiguration": where} if where else {}
    session.client("s3").create_bucket(Bucket=aws.bucket, **options)
