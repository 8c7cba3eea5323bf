"""The S3 from which a rehearsed container fetches its code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lingotune.launch.simulator.object_server import serve

MEBIBYTE = 2**20
LARGE = bytes(range(256)) * (20 * MEBIBYTE // 256)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "code").write_bytes(LARGE)
    objects = {
        "s3://bucket/code/c0de/sourcedir.tar.gz": tmp_path / "code",
        "s3://bucket/a b+c/ä": b"odd",
        "s3://bucket/empty": b"",
    }
    with serve(objects) as address:
        yield address


def client(service: str, address: str) -> Any:
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return boto3.client(service, endpoint_url=address, region_name="us-east-1", **keys)


def test_objects_come_whole_also_in_parts(address: str, tmp_path: Path) -> None:
    """boto3 fetches what is larger than 8 MiB in parts at once."""
    s3 = client("s3", address)
    s3.download_file("bucket", "code/c0de/sourcedir.tar.gz", str(tmp_path / "fetched"))
    assert (tmp_path / "fetched").read_bytes() == LARGE
    for key, content in (("a b+c/ä", b"odd"), ("empty", b"")):
        s3.download_file("bucket", key, str(tmp_path / "fetched"))
        assert (tmp_path / "fetched").read_bytes() == content


def test_what_is_not_there_is_not_found(address: str) -> None:
    s3 = client("s3", address)
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="bucket", Key="code")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="bucket", Key="code")


@pytest.mark.parametrize(
    ("service", "call", "arguments"),
    [
        ("s3", "put_object", {"Bucket": "bucket", "Key": "empty", "Body": b"x"}),
        ("s3", "delete_object", {"Bucket": "bucket", "Key": "empty"}),
        ("s3", "list_objects_v2", {"Bucket": "bucket"}),
        ("s3", "list_buckets", {}),
        ("secretsmanager", "get_secret_value", {"SecretId": "hub"}),
        ("sts", "get_caller_identity", {}),
    ],
)
def test_everything_else_is_refused_and_says_why(
    address: str, service: str, call: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(client(service, address), call)(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"].startswith("AccessDenied")
    assert "a rehearsal reaches no service of AWS" in error["Message"]


def test_it_ends_with_the_block() -> None:
    with serve({}) as address:
        pass
    with pytest.raises(Exception, match="Could not connect"):
        client("sts", address).get_caller_identity()
