"""Submitting, over HTTP: the real SDK and botocore against a server on loopback."""

from __future__ import annotations

import base64
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import ROOT, compose, run
from moto.server import ThreadedMotoServer
from strict_model import mistakes

from lingotune.bundle import build_bundle
from lingotune.jobfile import dump_job, job_of

ROLE = "arn:aws:iam::111122223333:role/SageMakerRole"
BUCKET = "example-bucket"
ACCOUNT = [f"aws.role={ROLE}", f"aws.bucket={BUCKET}", "aws.region=us-east-1"]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An AWS on loopback with one bucket, recording every request; its address."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "MOTO_RECORDER_FILEPATH": str(tmp_path / "recording"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    call(f"{address}/moto-api/reset", "POST")
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
    call(f"{address}/moto-api/recorder/reset-recording", "POST")
    call(f"{address}/moto-api/recorder/start-recording", "POST")
    yield address
    server.stop()


def call(url: str, method: str = "GET") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
        return bytes(answer.read())


def sent_jobs(address: str) -> list[dict[str, Any]]:
    """The CreateTrainingJob bodies on the wire."""
    lines = call(f"{address}/moto-api/recorder/download-recording").decode().splitlines()
    bodies = []
    for entry in map(json.loads, lines):
        if entry["headers"].get("X-Amz-Target") == "SageMaker.CreateTrainingJob":
            body = entry["body"]
            bodies.append(json.loads(base64.b64decode(body) if entry.get("body_encoded") else body))
    return bodies


def submit(*overrides: str, cwd: Path = ROOT) -> str:
    done = run(str(ROOT / "launch.py"), *overrides, *ACCOUNT, "action=submit", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stable(body: dict[str, Any]) -> str:
    """The body without what changes with every edit of the code: its digest, in names and paths."""
    text = json.dumps(body, indent=2, sort_keys=True)
    text = text.replace(build_bundle(ROOT).digest, "c0de" * 16)
    name = body["TrainingJobName"]
    return text.replace(name, re.sub(r"-[0-9a-f]{10}$", "-<digest>", name)) + "\n"


WIRE = {
    "p3_16xl": ["cluster=p3_16xl", "per_device_bs=16"],
    "p4d_24xl-2-nodes-smdistributed": [
        "cluster=p4d_24xl",
        "cluster.nodes=2",
        "cluster.distribution=smdistributed",
        "model=distilbert_multilingual",
        "data=amazon_reviews_multi",
    ],
}


@pytest.mark.parametrize("shape", WIRE)
def test_the_request_on_the_wire(shape: str, aws: str, golden: Callable[[str, str], None]) -> None:
    output = submit(*WIRE[shape])
    (body,) = sent_jobs(aws)
    assert mistakes("CreateTrainingJob", body) == []
    golden(f"wire-{shape}.json", stable(body))
    name = body["TrainingJobName"]
    assert f"submitted {name}" in output
    assert (
        f"https://us-east-1.console.aws.amazon.com/sagemaker/home?region=us-east-1#/jobs/{name}"
        in output
    )
    assert f"--training-job-name {name}" in output


def test_code_and_config_land_in_s3(aws: str) -> None:
    submit("cluster=p3_16xl", "lr=2e-4")
    (body,) = sent_jobs(aws)
    s3 = boto3.client("s3", region_name="us-east-1")

    def stored(uri: str) -> bytes:
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    code = json.loads(body["HyperParameters"]["sagemaker_submit_directory"])
    assert stored(code) == build_bundle(ROOT).content
    (config,) = body["InputDataConfig"]
    uri = config["DataSource"]["S3DataSource"]["S3Uri"]
    job = job_of(compose("cluster=p3_16xl", "lr=2e-4"))
    assert uri.endswith("/")
    assert stored(uri + "job.yaml") == dump_job(job)


def test_the_plan_shows_what_is_submitted(aws: str) -> None:
    planned = run("launch.py", "cluster=p3_16xl", *ACCOUNT).stdout
    submit("cluster=p3_16xl")
    (body,) = sent_jobs(aws)
    shown = json.loads(planned[planned.index("{\n") : planned.rindex("}\n") + 1])
    assert shown["fit"]["job_name"] == body["TrainingJobName"]
    estimator = shown["estimator"]
    assert estimator["environment"] == body["Environment"]
    assert estimator["tags"] == body["Tags"]
    assert estimator["max_run"] == body["StoppingCondition"]["MaxRuntimeInSeconds"]
    assert estimator["checkpoint_s3_uri"] == body["CheckpointConfig"]["S3Uri"]


def test_a_sweep_shares_one_bundle_and_local_files_are_sent_once(aws: str, tmp_path: Path) -> None:
    rows = [{"review_body": f"text {i}", "stars": i % 5 + 1, "language": "de"} for i in range(60)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = submit(
        "-m", "cluster=g5_12xl", "data=files", "data.path=mine.jsonl", "lr=1e-4,3e-4", cwd=tmp_path
    )
    bodies = sent_jobs(aws)
    assert len({body["TrainingJobName"] for body in bodies}) == 2
    assert output.count("sourcedir.tar.gz (") == 1, "uploaded once"
    assert output.count("mine.jsonl (") == 1, "uploaded once"
    channels = {c["ChannelName"] for c in bodies[0]["InputDataConfig"]}
    assert channels == {"config", "data"}
    assert all(mistakes("CreateTrainingJob", body) == [] for body in bodies)


def test_the_same_job_is_not_billed_twice(aws: str) -> None:
    submit("cluster=p3_16xl")
    again = run("launch.py", "cluster=p3_16xl", *ACCOUNT, "action=submit")
    assert again.returncode == 2
    assert "the same job, code and data were submitted before: Completed" in again.stderr
    assert "works: attempt=2 submits it once more" in again.stderr
    assert len(sent_jobs(aws)) == 1
    submit("cluster=p3_16xl", "attempt=2")
    assert len(sent_jobs(aws)) == 2


def test_a_refusal_by_aws_is_told_and_nothing_is_started(aws: str) -> None:
    account = [f"aws.role={ROLE}", "aws.bucket=no-such-bucket", "aws.region=us-east-1"]
    done = run("launch.py", "cluster=p3_16xl", *account, "action=submit")
    assert done.returncode == 2
    assert "NoSuchBucket" in done.stderr and "Traceback" not in done.stderr
    assert sent_jobs(aws) == []


def test_what_submit_needs_is_asked_for_all_at_once() -> None:
    done = run("launch.py", "cluster=p3_16xl", "action=submit")
    assert done.returncode == 2
    assert done.stderr == (
        "lingotune: 2 problems\n"
        "  aws.role\n"
        "      is needed to submit\n"
        "      works: aws.role=arn:aws:iam::111122223333:role/SageMakerRole\n"
        "  aws.bucket\n"
        "      is needed to submit\n"
        "      works: aws.bucket=my-bucket\n"
        "next: the same command with --help lists groups and settings\n"
    )


def test_the_strict_model_catches_mistakes() -> None:
    """The check itself must be able to fail."""
    body: dict[str, Any] = {
        "TrainingJobName": "under_score",
        "RoleArn": "no-role",
        "AlgorithmSpecification": {"TrainingInputMode": "Fast", "TrainingImage": "x" * 300},
        "OutputDataConfig": {"S3OutputPath": "no address"},
        "ResourceConfig": {"InstanceType": "ml.p9.bogus", "InstanceCount": -1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 0},
        "HyperParameters": {"k": "line\nbreak", "long": "x" * 2501},
        "Environment": {"1bad": "v"},
        "Tags": [{"Key": "a,b", "Value": "v"}],
        "Nonsense": 1,
    }
    found = mistakes("CreateTrainingJob", body)
    for part in ("TrainingJobName", "RoleArn", "TrainingInputMode", "TrainingImage", "S3OutputPath",
                 "InstanceType", "InstanceCount", "MaxRuntime", "['k']", "['long']", "1bad", "Tags",
                 "Nonsense"):  # fmt: skip
        assert any(part in mistake for mistake in found), part
