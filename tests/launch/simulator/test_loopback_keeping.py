"""An account that is kept in a folder: all of it is there after a restart, also after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from containers import PLAIN
from described import described

from lingotune.config.problems import ConfigError
from lingotune.launch.render.request import to_request
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE, furnish, only_aws
from lingotune.launch.simulator.loopback.jobs import Jobs
from lingotune.launch.simulator.loopback.keeping import Keeper, kept_in
from lingotune.launch.simulator.loopback.logs import GROUP, make_group
from lingotune.launch.simulator.loopback.service import serve

NAMES = (f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}")


@contextmanager
def account(folder: Path) -> Iterator[tuple[Jobs, Any]]:
    """An account as one process after the other has it; nothing is written at its end."""
    keeper = Keeper(folder)
    jobs = Jobs(keep=keeper.keep_job)
    keeper.restore_jobs(jobs)
    with serve(jobs, keeper=keeper) as address, only_aws(address):
        session = boto3.Session(region_name=REGION)
        furnish(session)
        yield jobs, session.client


def request_of(name: str) -> dict[str, Any]:
    return {**to_request(described(*PLAIN, *NAMES)), "TrainingJobName": name}


def test_objects_logs_and_names_are_there_again(tmp_path: Path) -> None:
    large = bytes(range(256)) * (6 * 4096)  # more than the smallest part of an upload
    (tmp_path / "large").write_bytes(large)
    parts = TransferConfig(multipart_threshold=5 * 1024**2, multipart_chunksize=5 * 1024**2)
    with account(tmp_path / "kept") as (_, client):
        s3 = client("s3")
        s3.put_object(Bucket=BUCKET, Key="a b/ü?.txt", Body=b"old", Tagging="who=me")
        s3.put_object(Bucket=BUCKET, Key="a b/ü?.txt", Body=b"new", Metadata={"sha": "1"})
        s3.put_object(Bucket=BUCKET, Key="gone", Body=b"x")
        s3.delete_object(Bucket=BUCKET, Key="gone")
        s3.upload_file(str(tmp_path / "large"), BUCKET, "large", Config=parts)
        make_group(client("logs"))
        where = {"logGroupName": GROUP, "logStreamName": "job/algo-1"}
        client("logs").create_log_stream(**where)
        now = 1000 * int(time.time())
        for line in ("one", "two"):
            event = {"timestamp": now, "message": line}
            client("logs").put_log_events(**where, logEvents=[event])
    for _ in range(2):  # the second is made from what the first has made
        with account(tmp_path / "kept") as (_, client):
            s3 = client("s3")
            found = s3.get_object(Bucket=BUCKET, Key="a b/ü?.txt")
            assert (found["Body"].read(), found["Metadata"]) == (b"new", {"sha": "1"})
            keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
            assert keys == ["a b/ü?.txt", "large"]
            assert s3.get_object(Bucket=BUCKET, Key="large")["Body"].read() == large
            events = client("logs").get_log_events(**where, startFromHead=True)["events"]
            assert [(e["message"], e["timestamp"]) for e in events] == [("one", now), ("two", now)]
            roles = client("iam").list_roles()["Roles"]
            assert [role["Arn"] for role in roles] == [ROLE]


def test_jobs_are_there_again_and_those_that_ran_have_failed(tmp_path: Path) -> None:
    with account(tmp_path) as (jobs, client):
        sagemaker = client("sagemaker")
        for name in ("done", "ran", "waited"):
            sagemaker.create_training_job(**request_of(name))
        jobs.get("done").enter("Downloading", "Downloading")
        jobs.get("done").end("Completed", "Training job completed", FinalMetricDataList=[])
        jobs.get("ran").enter("Downloading", "Downloading")
        sagemaker.stop_training_job(TrainingJobName="ran")
        arn = jobs.get("ran").arn
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
        before = sagemaker.describe_training_job(TrainingJobName="done")
    with account(tmp_path) as (jobs, client):
        sagemaker = client("sagemaker")
        after = sagemaker.describe_training_job(TrainingJobName="done")
        for answer in (before, after):
            del answer["ResponseMetadata"]
        assert after == before
        ran = sagemaker.describe_training_job(TrainingJobName="ran")
        assert ran["TrainingJobStatus"] == "Failed"
        assert ran["FailureReason"].startswith("InternalServerError")
        assert ran["BillableTimeInSeconds"] < 3600
        assert sagemaker.list_tags(ResourceArn=arn)["Tags"][-1] == {"Key": "k", "Value": "v"}
        assert jobs.get("waited").status == "Failed" and jobs.next_waiting(0) is None
        names = [
            s["TrainingJobName"] for s in sagemaker.list_training_jobs()["TrainingJobSummaries"]
        ]
        assert names == ["waited", "ran", "done"]
        with pytest.raises(sagemaker.exceptions.ResourceInUse):
            sagemaker.create_training_job(**request_of("done"))


def test_a_line_that_was_half_written_is_no_call(tmp_path: Path) -> None:
    with account(tmp_path) as (_, client):
        client("s3").put_object(Bucket=BUCKET, Key="whole", Body=b"1")
    with (tmp_path / "calls.jsonl").open("a") as calls:
        calls.write('{"method": "PUT", "path": "/')
    with account(tmp_path) as (_, client):
        assert client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1
        client("s3").put_object(Bucket=BUCKET, Key="next", Body=b"2")
    with account(tmp_path) as (_, client):
        assert client("s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] == 2


def test_a_folder_belongs_to_one_account_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "one"
    with kept_in(folder), pytest.raises(ConfigError, match="that runs"), kept_in(folder):
        pass
    with kept_in(folder):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="nothing can be written"), kept_in(tmp_path / "file"):
        pass


def test_files_that_are_damaged_are_told(tmp_path: Path) -> None:
    with account(tmp_path) as (jobs, _):
        jobs.create(request_of("job"), REGION)
    (tmp_path / "jobs" / "job.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"), account(tmp_path):
        pass
    (tmp_path / "jobs" / "job.json").unlink()
    (tmp_path / "calls.jsonl").write_text("none\n")
    with pytest.raises(ConfigError, match="cannot be read"), account(tmp_path):
        pass


def test_calls_that_are_refused_now_are_counted(tmp_path: Path) -> None:
    with account(tmp_path) as (_, client):
        client("s3").put_object(Bucket=BUCKET, Key="key", Body=b"1")
    calls = (tmp_path / "calls.jsonl").read_text().splitlines()
    kept = [line for line in calls if json.loads(line)["path"].startswith(f"/{BUCKET}/key")]
    (tmp_path / "calls.jsonl").write_text("\n".join([*kept, *calls, ""]))
    keeper = Keeper(tmp_path)
    with serve(Jobs(), keeper=keeper):
        assert keeper.lost == 1  # its bucket comes later


def test_an_account_that_goes_on_forgets_the_jobs_that_ran(tmp_path: Path) -> None:
    with account(tmp_path) as (jobs, client):
        sagemaker = client("sagemaker")
        for name in ("done", "ran", "stopping"):
            sagemaker.create_training_job(**request_of(name))
        jobs.get("done").end("Completed", "Training job completed")
        sagemaker.stop_training_job(TrainingJobName="stopping")
    keeper, jobs = Keeper(tmp_path), Jobs()
    keeper.restore_jobs(jobs, goes_on=True)
    assert {job.name: job.status for job in jobs} == {"done": "Completed", "stopping": "Stopped"}
    keeper.keeps_jobs = False
    jobs.create(request_of("ran"), REGION)
    keeper.keep_job(jobs.get("ran"))
    again = Jobs()
    Keeper(tmp_path).restore_jobs(again)
    assert sorted(job.name for job in again) == ["done", "stopping"]
