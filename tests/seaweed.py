"""An S3 that checks keys and permissions: SeaweedFS on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from waiting import wait_until

from lingotune.launch.free_port import free_port

BUCKET = "example-bucket"


KEYS = {
    "owner": ("OWNERKEY", "ownersecret", ["Admin", "Read", "Write", "List", "Tagging"]),
    "reader": ("READERKEY", "readersecret", ["Read", "List"]),
    "stranger": ("STRANGERKEY", "strangersecret", []),
}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 with three identities and the owner's bucket."""
    folder = tmp_path_factory.mktemp("s3")
    identities = [
        {"name": n, "credentials": [{"accessKey": k, "secretKey": s}], "actions": actions}
        for n, (k, s, actions) in KEYS.items()
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    command = [str(Path(sys.executable).parent / "weed"), "server", "-s3", f"-dir={folder}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.config={folder}/s3.json"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    address = f"http://127.0.0.1:{ports['s3']}"
    log = (folder / "log").open("w")
    with subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as server:
        try:
            owner = client(address, *KEYS["owner"][:2])
            wait_until(lambda: _has_bucket(owner), lambda: server.poll() is None)
            yield address
        finally:
            server.kill()


def client(address: str, key: str, secret: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id=key,
        aws_secret_access_key=secret, config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip


def _has_bucket(owner: Any) -> bool:
    try:
        owner.create_bucket(Bucket=BUCKET)
        owner.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
    except (ClientError, BotoCoreError):
        return False
    return True
