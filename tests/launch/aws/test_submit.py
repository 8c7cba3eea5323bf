"""Submitting over HTTP: the real SDK and botocore with a server on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import ROOT, compose, run
from loopback import (
    ROLE,
    Call,
    Front,
    Reply,
    answer,
    moto_server,
    point_boto_at,
    ready_account,
    refusal,
)

from lingotune.config.jobfile import dump_job, job_of
from lingotune.launch.aws.submit import Submitted
from lingotune.launch.render.bundle import build_bundle
from lingotune.launch.render.service_model import mistakes

BUCKET = "example-bucket"
ACCOUNT = [f"aws.role={ROLE}", f"aws.bucket={BUCKET}", "aws.region=us-east-1"]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Front]:
    """An AWS on loopback with a role and a bucket, recording every request."""
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    with moto_server() as upstream:
        front = Front(upstream)
        point_boto_at(front.address, monkeypatch, tmp_path, **keys)
        ready_account(front, upstream, BUCKET)
        yield front
        front.close()


def sent_jobs(aws: Front) -> list[dict[str, Any]]:
    """The CreateTrainingJob bodies on the wire."""
    return [dict(c.parameters) for c in aws.calls if c.operation == "CreateTrainingJob"]


def submit(*overrides: str, sdk: str = "boto3", cwd: Path = ROOT) -> str:
    """boto3 starts fastest; that the SDK sends the same is tested where it matters."""
    typed = [*overrides, *ACCOUNT, f"aws.sdk={sdk}", "action=submit"]
    done = run(str(ROOT / "launch.py"), *typed, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stable(body: dict[str, Any]) -> str:
    """The body without what changes with every edit of the code: its digest, in names and paths."""
    text = json.dumps(body, indent=2, sort_keys=True)
    text = text.replace(build_bundle().digest, "c0de" * 16)
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


@pytest.mark.parametrize(
    "shape", ["p3_16xl", *(pytest.param(s, marks=pytest.mark.slow) for s in WIRE if s != "p3_16xl")]
)
def test_the_request_on_the_wire(
    shape: str, aws: Front, golden: Callable[[str, str], None]
) -> None:
    output = submit(*WIRE[shape], sdk="v2")
    (body,) = sent_jobs(aws)
    assert mistakes(body) == []
    golden(f"wire-{shape}.json", stable(body))
    name = body["TrainingJobName"]
    assert f"submitted {name}" in output
    assert (
        f"https://us-east-1.console.aws.amazon.com/sagemaker/home?region=us-east-1#/jobs/{name}"
        in output
    )
    assert f"--training-job-name {name}" in output


@pytest.mark.parametrize(
    ("region", "console"),
    [
        ("eu-west-1", "https://eu-west-1.console.aws.amazon.com"),
        ("cn-northwest-1", "https://console.amazonaws.cn"),
        ("us-gov-east-1", "https://console.amazonaws-us-gov.com"),
        ("us-iso-east-1", None),  # is not public
    ],
)
def test_each_partition_has_its_console(region: str, console: str | None) -> None:
    page = f"{console}/sagemaker/home?region={region}#/jobs/mine"
    assert Submitted("mine", region, "s3://b/output").console == (console and page)


def test_code_and_config_land_in_s3(aws: Front) -> None:
    submit("cluster=p3_16xl", "lr=2e-4")
    (body,) = sent_jobs(aws)
    s3 = boto3.client("s3", region_name="us-east-1")

    def stored(uri: str) -> bytes:
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    code = json.loads(body["HyperParameters"]["sagemaker_submit_directory"])
    assert stored(code) == build_bundle().content
    (config,) = body["InputDataConfig"]
    uri = config["DataSource"]["S3DataSource"]["S3Uri"]
    job = job_of(compose("cluster=p3_16xl", "lr=2e-4"))
    assert uri.endswith("/")
    assert stored(uri + "job.yaml") == dump_job(job)


@pytest.mark.parametrize("sdk", [pytest.param("v2", marks=pytest.mark.slow), "boto3"])
def test_the_plan_shows_what_is_submitted_to_the_letter(sdk: str, aws: Front) -> None:
    planned = run("launch.py", "cluster=p3_16xl", *ACCOUNT, "output=request")
    submit("cluster=p3_16xl", sdk=sdk)
    (body,) = sent_jobs(aws)
    assert json.loads(planned.stdout) == body


def test_a_sweep_shares_one_bundle_and_local_files_are_sent_once(
    aws: Front, tmp_path: Path
) -> None:
    rows = [{"review_body": f"text {i}", "stars": i % 5 + 1, "language": "de"} for i in range(60)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = submit(
        "-m", "cluster=g5_12xl", "data=files", "data.path=mine.jsonl", "lr=1e-4,3e-4", cwd=tmp_path
    )
    bodies = sent_jobs(aws)
    assert len({body["TrainingJobName"] for body in bodies}) == 2
    assert output.count("sourcedir.tar.gz (") == 1, "uploaded once"
    assert output.count("train-00000.parquet (") == 1, "uploaded once"
    channels = {c["ChannelName"] for c in bodies[0]["InputDataConfig"]}
    assert channels == {"config", "data"}
    assert all(mistakes(body) == [] for body in bodies)


FILES = ["cluster=g5_12xl", "data=files", "data.path=mine.jsonl", "data.max_length=16"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = [{"review_body": f"text {i}", "stars": i % 5 + 1, "language": "de"} for i in range(60)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def data_channel(body: dict[str, Any]) -> str:
    (uri,) = (
        c["DataSource"]["S3DataSource"]["S3Uri"]
        for c in body["InputDataConfig"]
        if c["ChannelName"] == "data"
    )
    return str(uri)


def test_files_travel_as_prepared_data_once(aws: Front, files: Path) -> None:
    output = submit(*FILES, cwd=files)
    (folder,) = (files / "prepared").glob("files-*")
    manifest = json.loads((folder / "manifest.json").read_text())
    uri = data_channel(sent_jobs(aws)[0])
    assert uri == f"s3://{BUCKET}/lingotune/data/{manifest['digest']}/"
    found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=uri.split("/", 3)[3])
    names = {entry["Key"].split("/data/")[1].split("/", 1)[1] for entry in found["Contents"]}
    shards = {f"{split}-00000.parquet" for split in ("train", "validation", "test")}
    assert names - {"tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"} == {
        "manifest.json",
        *shards,
    }
    assert "uploaded 8 objects" in output
    again = submit(*FILES, "attempt=2", cwd=files)
    assert "uploaded 0 objects" in again


@pytest.mark.slow
def test_prepared_data_in_s3_is_used_where_it_lies(aws: Front, files: Path) -> None:
    submit(*FILES, cwd=files)
    uri = data_channel(sent_jobs(aws)[0])
    (files / "mine.jsonl").unlink()
    output = submit(*FILES, f"data.prepared={uri}", "lr=1e-5", cwd=files)
    assert data_channel(sent_jobs(aws)[1]) == uri and "parquet" not in output
    wrong = [*FILES, f"data.prepared={uri}", "data.max_length=32", "data.languages=[fr]"]
    done = run(str(ROOT / "launch.py"), *wrong, *ACCOUNT, "action=submit", cwd=files)
    assert done.returncode == 2 and len(sent_jobs(aws)) == 2
    assert "data.max_length=32" in done.stderr and "data.languages=['fr']" in done.stderr
    nowhere = f"s3://{BUCKET}/lingotune/data/{'0' * 64}/"
    typed = [*FILES, f"data.prepared={nowhere}", *ACCOUNT, "action=submit"]
    done = run(str(ROOT / "launch.py"), *typed, cwd=files)
    assert done.returncode == 2 and "there is no manifest.json" in done.stderr
    trained = run(
        str(ROOT / "train.py"),
        *FILES[1:],
        f"data.prepared={uri}",
        "training.max_steps=1",
        cwd=files,
    )
    assert trained.returncode == 0, trained.stderr
    assert "fetched 5 objects" in trained.stdout


def test_what_data_prepared_takes(files: Path) -> None:
    done = run("-m", "lingotune", "prepare", *FILES[1:], cwd=files)
    assert done.returncode == 0, done.stderr
    (folder,) = (files / "prepared").glob("files-*")
    (files / "mine.jsonl").unlink()
    folder = folder.rename(files / "given")

    def plan(*overrides: str) -> tuple[int, str, str]:
        done = run(str(ROOT / "launch.py"), *FILES, *overrides, cwd=files)
        return done.returncode, done.stdout, done.stderr

    code, page, problems = plan("data.prepared=given")
    assert code == 0 and "48 train, 6 validation, 6 test rows" in page, problems
    assert plan("data.prepared=elsewhere")[::2] == (
        2,
        "lingotune: 1 problem\n  data.prepared=elsewhere\n      is no folder of prepared data: "
        "manifest.json: No such file or directory\n"
        "      fix: python -m lingotune prepare ...\n",
    )
    assert "its last part is a digest" in plan("data.prepared=s3://bucket/data")[2]
    assert plan("data.prepared=given", "seed=7")[0] == 0  # which splits follow is another setting
    assert "split_seed=7" in plan("data.prepared=given", "data.split_seed=7")[2]
    done = run("-m", "lingotune", "prepare", *FILES[1:], "data.prepared=given", cwd=files)
    assert done.returncode == 2 and "has no effect on prepared data" in done.stderr


def test_the_same_job_is_not_billed_twice(aws: Front) -> None:
    submit("cluster=p3_16xl")
    again = run("launch.py", "cluster=p3_16xl", *ACCOUNT, "action=submit")
    assert again.returncode == 2
    assert "[name-taken]" in again.stdout and "attempt=2" in again.stdout
    assert len(sent_jobs(aws)) == 1
    submit("cluster=p3_16xl", "attempt=2")
    assert len(sent_jobs(aws)) == 2


def test_nothing_is_uploaded_before_the_account_is_checked(aws: Front) -> None:
    account = [f"aws.role={ROLE}", "aws.bucket=no-such-bucket", "aws.region=us-east-1"]
    done = run("launch.py", "cluster=p3_16xl", *account, "action=submit")
    assert done.returncode == 2
    assert "[bucket-missing]" in done.stdout and "Traceback" not in done.stderr
    assert sent_jobs(aws) == [] and not [c for c in aws.calls if c.operation.startswith("PUT")]


def test_one_bad_job_of_a_sweep_keeps_all_from_being_started(aws: Front) -> None:
    done = run("launch.py", "-m", "cluster=p3_16xl", "lr=1e-4,99", *ACCOUNT, "action=submit")
    assert done.returncode == 2
    assert "lr=99" in done.stderr and aws.calls == []
    twice = run("launch.py", "-m", "cluster=p3_16xl", "lr=1e-4,0.0001", *ACCOUNT, "action=submit")
    assert twice.returncode == 2
    assert "[same-job-twice]" in twice.stderr and aws.calls == []


def test_a_budget_keeps_a_sweep_from_being_started(aws: Front) -> None:
    typed = ["-m", "cluster=p3_16xl", "lr=1e-4,3e-4", "budget.max_usd=200", *ACCOUNT]
    done = run("launch.py", *typed, "action=submit")
    assert done.returncode == 2
    assert "[budget-exceeded]" in done.stderr and "225.22 USD" in done.stderr and aws.calls == []


def test_a_refusal_by_aws_is_told_and_nothing_is_started(aws: Front) -> None:
    aws.tell("CreateTrainingJob", refusal("ResourceLimitExceeded", "the limit is 0 Instances"))
    done = run("launch.py", "cluster=p3_16xl", *ACCOUNT, "action=submit")
    assert done.returncode == 6
    assert "AWS refused CreateTrainingJob: ResourceLimitExceeded: the limit is 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_sdk_that_is_not_installed_is_told_before_anything_is_sent(aws: Front) -> None:
    done = run("launch.py", "cluster=p3_16xl", *ACCOUNT, "aws.sdk=v3", "action=submit")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "[sdk-not-installed]" in done.stderr and "lingotune[launch-v3]" in done.stderr
    assert aws.calls == []


def test_check_asks_and_starts_nothing(aws: Front) -> None:
    done = run("launch.py", "cluster=p3_16xl", *ACCOUNT, "action=check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "asked AWS" in done.stdout and f"role: {ROLE}" in done.stdout
    assert "quota: skipped" in done.stdout or "quota" in done.stdout
    assert sent_jobs(aws) == [] and not [c for c in aws.calls if c.operation.startswith("PUT")]


def test_check_without_credentials_says_what_it_skipped(tmp_path: Path) -> None:
    nowhere = {
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = run("launch.py", "cluster=p3_16xl", *ACCOUNT, "action=check", **nowhere)
    assert done.returncode == 6 and "[nothing-asked]" in done.stderr, done.stderr
    for topic in ("role", "bucket", "quota", "name"):
        assert re.search(rf"skipped.*{topic}|{topic}.*skipped|{topic}:", done.stdout), topic


def test_a_queue_gets_the_request(aws: Front) -> None:
    aws.tell("POST /v1/submitservicejob", answer(jobArn="arn:x", jobName="x", jobId="1"))
    queue = {"jobQueueName": "q", "jobQueueArn": "arn:q", "state": "ENABLED", "status": "VALID",
             "priority": 1, "jobQueueType": "SAGEMAKER_TRAINING"}  # fmt: skip
    aws.tell("DescribeJobQueues", answer(jobQueues=[queue]))
    typed = ["cluster=p3_16xl", "aws.queue=q", "aws.queue_priority=7"]
    planned = json.loads(run("launch.py", *typed, *ACCOUNT, "output=request").stdout)
    output = submit(*typed)
    assert sent_jobs(aws) == []
    (call,) = [c for c in aws.calls if c.operation.endswith("submitservicejob")]
    assert call.parameters["jobQueue"] == "q" and call.parameters["schedulingPriority"] == 7
    tags = planned.pop("Tags")
    assert json.loads(call.parameters["serviceRequestPayload"]) == planned
    assert call.parameters["tags"] == {tag["Key"]: tag["Value"] for tag in tags}
    assert "aws batch list-service-jobs --job-queue q" in output


def test_a_queue_gets_all_jobs_of_a_sweep_and_none_twice(aws: Front, tmp_path: Path) -> None:
    """No controller stays; what the queue holds already is not put there again."""
    there: list[dict[str, Any]] = []

    def put(call: Call) -> Reply:
        name = call.parameters["jobName"]
        job = {"jobName": name, "jobId": str(len(there)), "jobArn": "arn:x", "createdAt": 1}
        there.append({**job, "status": "RUNNABLE", "serviceJobType": "SAGEMAKER_TRAINING"})
        return answer(jobArn="arn:x", jobName=name, jobId="1")

    aws.tell("POST /v1/submitservicejob", put)
    aws.tell("POST /v1/listservicejobs", lambda call: answer(jobSummaryList=there))
    queue = {"jobQueueName": "q", "jobQueueArn": "arn:q", "state": "ENABLED", "status": "VALID",
             "priority": 1, "jobQueueType": "SAGEMAKER_TRAINING"}  # fmt: skip
    aws.tell("DescribeJobQueues", answer(jobQueues=[queue]))
    typed = ["-m", "cluster=p3_16xl", "lr=1e-4,2e-4,3e-4", "aws.queue=q", f"runs_dir={tmp_path}/a"]
    assert "started     3" in submit(*typed) and len(there) == 3 and sent_jobs(aws) == []
    submit(*typed)
    submit(*[word.replace("/a", "/b") for word in typed])
    assert len({job["jobName"] for job in there}) == len(there) == 3


@pytest.mark.slow
def test_json_of_a_submit_is_json_and_tells_what_was_started(aws: Front) -> None:
    done = run("launch.py", "cluster=p3_16xl", *ACCOUNT, "action=submit", "output=json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (body,) = sent_jobs(aws)
    assert told["exit_code"] == 0 and told["submitted"][0]["name"] == body["TrainingJobName"]
    assert told["jobs"][0]["request"] == body and told["account"]["done"]


def test_the_region_of_this_machine_is_in_the_plan_that_is_submitted(
    aws: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    typed = ["cluster=p3_16xl", *ACCOUNT[:2], "aws.sdk=boto3", "output=json"]
    planned = run("launch.py", *typed, "action=plan")
    (job,) = json.loads(planned.stdout)["jobs"]
    assert "<aws.region>" in job["request"]["AlgorithmSpecification"]["TrainingImage"]
    submitted = run("launch.py", *typed, "action=submit")
    assert submitted.returncode == 0, submitted.stderr
    (job,) = json.loads(submitted.stdout)["jobs"]
    assert sent_jobs(aws) == [job["request"]]
    assert "us-east-1" in job["request"]["AlgorithmSpecification"]["TrainingImage"]


def test_what_submit_needs_is_asked_for_all_at_once() -> None:
    done = run("launch.py", "cluster=p4d_24xl", "action=submit")
    assert done.returncode == 2
    assert done.stderr == (
        "lingotune: 2 problems\n"
        "  aws.role  [account-name-missing]\n"
        "      is needed to submit\n"
        "      fix: aws.role=arn:aws:iam::111122223333:role/SageMakerRole\n"
        "  aws.bucket  [account-name-missing]\n"
        "      is needed to submit\n"
        "      fix: aws.bucket=my-bucket\n"
        "next: python launch.py --help\n"
    )
