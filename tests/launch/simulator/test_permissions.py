"""Submitting to an S3 that checks keys and permissions, unlike moto's: SeaweedFS on loopback."""

# ruff: noqa: F811 - a fixture is imported, and named by its tests
from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from conftest import run
from loopback import ROLE, Front, moto_server, point_boto_at, ready_account
from seaweed import BUCKET, KEYS, client, s3  # noqa: F401  a fixture

Submit = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture
def submit(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Submit]:
    """launch.py as somebody; all but S3 is moto's."""
    with moto_server() as upstream:
        front = Front(upstream)

        def as_(key: str, secret: str, *overrides: str) -> subprocess.CompletedProcess[str]:
            keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
            point_boto_at(front.address, monkeypatch, tmp_path, AWS_ENDPOINT_URL_S3=s3, **keys)
            names = [f"aws.role={ROLE}", f"aws.bucket={BUCKET}", "aws.region=us-east-1"]
            return run("launch.py", "cluster=p3_16xl", *names, "aws.sdk=boto3", *overrides)

        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        point_boto_at(front.address, monkeypatch, tmp_path, **keys)
        ready_account(front, upstream, BUCKET)
        yield as_
        front.close()


def objects(s3: str) -> list[str]:
    found = client(s3, *KEYS["owner"][:2]).list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return [entry["Key"] for entry in found if entry["Key"] != "ready"]


def jobs() -> list[str]:
    found = boto3.client("sagemaker", region_name="us-east-1").list_training_jobs()
    return [summary["TrainingJobName"] for summary in found["TrainingJobSummaries"]]


REFUSED = {
    "may not write": ("READERKEY", "readersecret", "AccessDenied"),
    "may do nothing": ("STRANGERKEY", "strangersecret", "403"),
    "does not exist": ("NOBODYSKEY", "nobodyssecret0", "403"),
    "with a wrong secret": ("OWNERKEY", "wrongsecret1234", "403"),
}


@pytest.mark.parametrize("who", REFUSED)
def test_whoever_may_not_write_starts_nothing(who: str, submit: Submit, s3: str) -> None:
    key, secret, said = REFUSED[who]
    before = objects(s3)
    done = submit(key, secret, "action=submit")
    assert done.returncode == 6 and "Traceback" not in done.stderr, done.stderr
    assert said in done.stderr and "nothing was started" in done.stderr
    assert objects(s3) == before and jobs() == []
    assert secret not in done.stdout + done.stderr


def test_the_owner_submits_and_uploads_once(submit: Submit, s3: str) -> None:
    done = submit(*KEYS["owner"][:2], "action=submit")
    assert done.returncode == 0, done.stderr
    assert sorted(Path(key).name for key in objects(s3)) == ["job.yaml", "sourcedir.tar.gz"]
    assert len(jobs()) == 1 and done.stdout.count("upload s3://") == 2
    again = submit(*KEYS["owner"][:2], "action=submit", "attempt=2")
    assert again.returncode == 0 and "upload s3://" not in again.stdout


def test_who_may_only_read_is_told_what_was_not_asked(submit: Submit) -> None:
    done = submit(*KEYS["reader"][:2], "action=check")
    assert "  ok       bucket: " in done.stdout
    stranger = submit(*KEYS["stranger"][:2], "action=check")
    assert "s3:ListBucket" in stranger.stdout and "Traceback" not in stranger.stderr
