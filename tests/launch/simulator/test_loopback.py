"""A SageMaker on this machine: what it refuses, how its jobs run and end, and what a user sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import ROOT, compose, run
from containers import PLAIN, packed
from described import described
from waiting import PATIENCE, wait_until

from lingotune.config.jobfile import job_digest, job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import AwsConfig, ModelConfig
from lingotune.contract.log_lines import metric_definitions
from lingotune.data.prepared.tokenizer import (
    is_tokenizer_file,
    tokenizer_identity,
    train_vocabulary,
    wordpiece_tokenizer,
)
from lingotune.data.transfer import fetch_model
from lingotune.launch.plan.base_model import is_model_file
from lingotune.launch.render.request import to_request
from lingotune.launch.render.sdk_v2 import to_huggingface
from lingotune.launch.render.training_job import TrainingJob
from lingotune.launch.simulator.environments import cache_folder, prepare_environment
from lingotune.launch.simulator.loopback.driver import Driver
from lingotune.launch.simulator.loopback.fake_account import make_bucket, only_aws
from lingotune.launch.simulator.loopback.jobs import Jobs
from lingotune.launch.simulator.loopback.logs import GROUP, final_metrics, make_group
from lingotune.launch.simulator.loopback.machines import Machines, Share
from lingotune.launch.simulator.loopback.service import serve
from lingotune.launch.simulator.loopback.storage import split_uri
from lingotune.launch.simulator.loopback.watch import Watched, watch
from lingotune.launch.simulator.scope import complete

AWS = complete(AwsConfig())
NAMES = tuple(f"aws.{key}={getattr(AWS, key)}" for key in ("role", "bucket", "region"))


class Account:
    """An account of the service, and what a test asks it."""

    def __init__(self, address: str, jobs: Jobs) -> None:
        self.address, self.jobs = address, jobs
        self.session = boto3.Session(region_name=AWS.region)
        self.sagemaker = self.session.client("sagemaker")
        self.s3 = self.session.client("s3")
        make_bucket(self.session, AWS)

    def put(self, uri: str, content: bytes) -> None:
        bucket, key = split_uri(uri)
        self.s3.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, uri: str) -> bytes:
        bucket, key = split_uri(uri)
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def stored(self, prefix: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=AWS.bucket, Prefix=prefix).get("Contents", [])
        return [entry["Key"] for entry in found]

    def described(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return answer

    @contextmanager
    def driven(self, folder: Path, python: Path = Path("/nowhere/python")) -> Iterator[None]:
        s3, logs = self.s3, self.session.client("logs")
        share = Share(python, 1, {})
        machines = Machines(s3, logs, self.address, lambda *_: share, folder)
        make_group(logs)
        with Driver(self.jobs, machines.run):
            yield


@pytest.fixture
def account() -> Iterator[Account]:
    jobs = Jobs()
    with serve(jobs) as address, only_aws(address):
        yield Account(address, jobs)


def job_for(*overrides: str) -> TrainingJob:
    return described(*PLAIN, *NAMES, *overrides)


def refused(call: Callable[..., Any], **arguments: Any) -> dict[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    error: dict[str, str] = raised.value.response["Error"]
    return error


# --- the service, without a machine behind it ----------------------------------------------------


def test_a_job_is_told_with_all_that_was_asked(account: Account) -> None:
    request = to_request(job_for("cluster.retries=2", "cluster.environment.A=b"))
    arn = account.sagemaker.create_training_job(**request)["TrainingJobArn"]
    told = account.described(request["TrainingJobName"])
    assert told["TrainingJobArn"] == arn and told["TrainingJobStatus"] == "InProgress"
    assert {key: told[key] for key in request if key != "Tags"} == {
        key: value for key, value in request.items() if key != "Tags"
    }
    model = account.sagemaker.meta.service_model.operation_model("DescribeTrainingJob")
    raw = account.jobs.get(request["TrainingJobName"]).describe()
    assert set(raw) <= set(model.output_shape.members)


def test_an_invalid_request_is_refused_as_a_whole(account: Account) -> None:
    request = to_request(job_for())
    request["ResourceConfig"]["InstanceType"] = "ml.p3.17xlarge"
    request["TrainingJobName"] = "under_score"
    error = refused(account.sagemaker.create_training_job, **request)
    assert error["Code"] == "ValidationException" and "2 validation errors" in error["Message"]
    assert "ml.p3.17xlarge" in error["Message"] and "under_score" in error["Message"]
    assert account.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []


def test_a_name_is_taken_once(account: Account) -> None:
    request = to_request(job_for())
    account.sagemaker.create_training_job(**request)
    error = refused(account.sagemaker.create_training_job, **request)
    assert error["Code"] == "ResourceInUse" and request["TrainingJobName"] in error["Message"]


def test_unknown_and_ended_jobs_are_not_stopped(account: Account, tmp_path: Path) -> None:
    stop, request = account.sagemaker.stop_training_job, to_request(job_for())
    name = request["TrainingJobName"]
    assert "not found" in refused(stop, TrainingJobName="nobody")["Message"]
    account.sagemaker.create_training_job(**request)
    stop(TrainingJobName=name)
    assert account.described(name)["TrainingJobStatus"] == "Stopping"
    with account.driven(tmp_path):
        assert followed(account, name).description["TrainingJobStatus"] == "Stopped"
    assert "Stopped" in refused(stop, TrainingJobName=name)["Message"]


def test_jobs_are_listed_newest_first(account: Account) -> None:
    names = []
    for rate in ("1e-3", "2e-3", "3e-3"):
        request = to_request(job_for(f"lr={rate}"))
        account.sagemaker.create_training_job(**request)
        names.insert(0, request["TrainingJobName"])
    account.sagemaker.stop_training_job(TrainingJobName=names[1])

    def listed(**asked: str) -> list[str]:
        found = account.sagemaker.list_training_jobs(**asked)["TrainingJobSummaries"]
        return [summary["TrainingJobName"] for summary in found]

    assert listed() == names and listed(StatusEquals="Stopping") == [names[1]]
    assert listed(NameContains=names[2][-5:]) == [names[2]]


def test_a_channel_without_objects_fails_the_job(account: Account, tmp_path: Path) -> None:
    request = to_request(job_for())
    account.sagemaker.create_training_job(**request)
    with account.driven(tmp_path):
        told = followed(account, request["TrainingJobName"]).description
    assert told["TrainingJobStatus"] == "Failed"
    assert told["FailureReason"].startswith("ClientError: Data download failed: channel config: no")


def test_the_process_knows_no_other_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    theirs = {
        "AWS_PROFILE": "production",
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL_S3": "https://s3.example.com",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "HTTP_PROXY": "http://proxy.example.com:3128",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    with only_aws("http://127.0.0.1:1"):
        session = boto3.Session(region_name="us-east-1")
        credentials = session.get_credentials()
        assert (credentials.access_key, credentials.token) == ("loopback", None)
        for service in ("s3", "sagemaker", "logs", "sts"):
            assert session.client(service).meta.endpoint_url == "http://127.0.0.1:1"
    assert {name: os.environ[name] for name in theirs} == theirs
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_the_last_value_of_a_metric_is_kept() -> None:
    lines = [
        "step 1/6  loss 1.5  lr 1.000e-03  grad 0.13",
        "step 6/6  loss 0.25  lr 2.000e-04  grad 0.13",
        "something else 7",
    ]
    found = final_metrics(metric_definitions(["de"]), [(float(n), x) for n, x in enumerate(lines)])
    values = {entry["MetricName"]: (entry["Value"], entry["Timestamp"]) for entry in found}
    assert values["train:loss"] == (0.25, 1.0) and values["train:learning_rate"] == (0.0002, 1.0)


# --- jobs that run, with a program in train.py's place -------------------------------------------


@pytest.fixture(scope="session")
def python() -> Path:
    return prepare_environment(None, cache_folder(os.environ), print).python


def start(account: Account, train: str, *overrides: str, **changes: Any) -> str:
    """Create a job whose train.py is given; its name."""
    job = job_for(*overrides)
    request = {**to_request(job), **changes}
    put_inputs(account, job, train)
    account.sagemaker.create_training_job(**request)
    return job.name


def put_inputs(account: Account, job: TrainingJob, train: str) -> None:
    account.put(job.code_uri, packed(train=train))
    account.put(dict(job.channels)["config"] + "job.yaml", b"job")


def followed(account: Account, name: str, told: list[str] | None = None) -> Watched:
    return watch(account.session, name, (told if told is not None else []).append)


LEAVES = r"""
import os, pathlib, sys
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
kept = sorted(p.name for p in (base / "checkpoints").iterdir())
sys.stdout.write("found " + " ".join(kept) + "\n")  # a line at once: the toolkit writes between
sys.stdout.write("step 1/2  loss 0.5  lr 1.000e-03  grad 0.13\n")
(base / "checkpoints" / "new").write_text("c")
(pathlib.Path(os.environ["SM_MODEL_DIR"]) / "weights").write_text("w")
output = pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"])
output.mkdir(parents=True)
(output / "scores").write_text("s")
"""


@pytest.mark.slow
def test_a_job_comes_to_its_end(account: Account, python: Path, tmp_path: Path) -> None:
    told: list[str] = []
    with account.driven(tmp_path, python):
        checkpoints = to_request(job_for())["CheckpointConfig"]["S3Uri"]
        account.put(f"{checkpoints}/old", b"from before")
        name = start(account, LEAVES)
        done = followed(account, name, told).description
    statuses = [entry["Status"] for entry in done["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert done["TrainingJobStatus"] == "Completed" and "FailureReason" not in done
    spent = (done["TrainingEndTime"] - done["TrainingStartTime"]).total_seconds()
    assert spent <= done["BillableTimeInSeconds"] < spent + 1
    assert {m["MetricName"]: m["Value"] for m in done["FinalMetricDataList"]}["train:loss"] == 0.5
    assert "algo-1 | found old" in told
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(account.get(done["ModelArtifacts"]["S3ModelArtifacts"]))
    with tarfile.open(archive) as tar:
        assert tar.getnames() == ["weights"]
    assert account.get(f"{checkpoints}/new") == b"c"
    assert any(key.endswith(f"{name}/output/output.tar.gz") for key in account.stored())


@pytest.mark.slow
def test_output_as_single_files(account: Account, python: Path, tmp_path: Path) -> None:
    with account.driven(tmp_path, python):
        name = start(account, LEAVES, "cluster.compress_output=false")
        done = followed(account, name).description
    assert account.get(f"{done['ModelArtifacts']['S3ModelArtifacts']}/weights") == b"w"
    assert any(key.endswith(f"{name}/output/data/scores") for key in account.stored())


FAILS = """
import os, pathlib, sys
pathlib.Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text("rank 0, training: it broke. Mend it.")
sys.exit(3)
"""


@pytest.mark.slow
def test_a_failed_job_tells_its_failure_file(
    account: Account, python: Path, tmp_path: Path
) -> None:
    with account.driven(tmp_path, python):
        done = followed(account, start(account, FAILS)).description
    assert done["TrainingJobStatus"] == done["SecondaryStatus"] == "Failed"
    assert done["FailureReason"].startswith("AlgorithmError: rank 0, training: it broke. Mend it.")
    assert "ModelArtifacts" not in done


SLEEPS = "import sys, time; sys.stdout.write('asleep\\n'); sys.stdout.flush(); time.sleep(3600)"


@pytest.mark.slow
def test_a_job_is_stopped(account: Account, python: Path, tmp_path: Path) -> None:
    with account.driven(tmp_path, python):
        name = start(account, SLEEPS)

        def stop_when_asleep(line: str) -> None:
            if line.endswith("asleep"):
                account.sagemaker.stop_training_job(TrainingJobName=name)

        done = watch(account.session, name, stop_when_asleep).description
    assert done["SecondaryStatus"] == "Stopped"
    assert done["SecondaryStatusTransitions"][-2]["Status"] == "Uploading"


@pytest.mark.slow
def test_a_job_ends_when_its_time_is_over(account: Account, python: Path, tmp_path: Path) -> None:
    with account.driven(tmp_path, python):
        name = start(account, SLEEPS, StoppingCondition={"MaxRuntimeInSeconds": 8})
        done = followed(account, name).description
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


@pytest.mark.slow
def test_nothing_runs_on_when_the_driver_leaves(
    account: Account, python: Path, tmp_path: Path
) -> None:
    with account.driven(tmp_path, python):
        name = start(account, SLEEPS)
        wait_until(lambda: account.described(name)["SecondaryStatus"] == "Training")
        time.sleep(3)  # somewhere in its course, before or after its first line
    assert account.described(name)["SecondaryStatus"] == "Stopped"
    assert str(tmp_path) not in commands_and_environments()


def commands_and_environments() -> str:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if int(path.parent.name) != os.getpid():
                found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


LIVE = "import time\nprint('early', flush=True)\ntime.sleep(6)\nprint('late', flush=True)"


@pytest.mark.slow
@pytest.mark.parametrize("train", [LIVE, FAILS], ids=["completed", "failed"])
def test_the_sdk_waits_and_shows_the_log(
    train: str, account: Account, python: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The SDK's own `fit(wait=True, logs="All")`, unchanged, against the service."""
    from sagemaker.exceptions import UnexpectedStatusException

    from lingotune.launch.aws.start import start_v2

    job = job_for()
    put_inputs(account, job, train)
    rendered = to_huggingface(job)
    rendered["fit"] = {**rendered["fit"], "wait": True, "logs": "All"}
    with account.driven(tmp_path, python):
        if train == FAILS:
            with pytest.raises(UnexpectedStatusException, match="it broke"):
                start_v2(rendered, account.session, account.sagemaker)
        else:
            start_v2(rendered, account.session, account.sagemaker)
            shown = capsys.readouterr().out
            assert "Training job completed" in shown and "Billable seconds:" in shown
            assert shown.index("early") < shown.index("late") < shown.index("Uploading")
    streams = account.session.client("logs").describe_log_streams(logGroupName=GROUP)["logStreams"]
    assert [s["logStreamName"].partition("-1-")[0] for s in streams] == [f"{job.name}/algo"]


# --- as a user sees it ---------------------------------------------------------------------------

HERE = ("cluster.backend=loopback", "action=submit", "rehearsal.model=tiny")


def test_the_job_is_the_same_in_either_place() -> None:
    there = job_of(compose("cluster=p3_16xl"))
    here = job_of(compose("cluster=p3_16xl", "cluster.backend=loopback"))
    assert job_digest(here) == job_digest(there)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cluster=p3_16xl", "action=check"], "asks your AWS account"),
        (["cluster=p3_16xl", "action=submit", "aws.queue=q"], "has no queue"),
        (["cluster=local", "action=submit"], "cluster=local runs on this machine"),
        (["cluster=p3_16xl", "action=submit", "aws.bucket=No_Bucket"], "aws.bucket"),
        (["cluster=p3_16xl", "action=submit", "budget.max_usd=1"], "budget.max_usd=1"),
        (["cluster=p3_16xl", "action=rehearse", "rehearsal.steps=null"], "[rehearsal-endless]"),
    ],
)
def test_what_cannot_be_submitted_here(overrides: list[str], said: str) -> None:
    done = run("launch.py", *overrides, "cluster.backend=loopback")
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert "AWS_ENDPOINT_URL" not in done.stdout


def test_a_plan_says_that_the_backend_has_no_effect_on_it() -> None:
    done = run("launch.py", "cluster=p3_16xl", "cluster.backend=loopback")
    assert done.returncode == 0 and "[loopback-unused]" in done.stdout
    assert "python launch.py cluster=p3_16xl output=request" in done.stdout


def test_training_here_has_no_backend() -> None:
    done = run("train.py", "cluster.backend=loopback")
    assert done.returncode == 2 and "has no effect in python train.py" in done.stderr


def test_a_model_in_s3_is_fetched_and_its_changes_are_seen(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGOTUNE_CACHE", str(tmp_path))
    uri = f"s3://{AWS.bucket}/models/mine"
    for name in ("config.json", "tokenizer.json", "model.safetensors", "deeper/config.json"):
        account.put(f"{uri}/{name}", b"{}")
    account.put(f"{uri}-2/config.json", b"another model")
    model = ModelConfig("mine", uri)
    assert tokenizer_identity(model) is None
    folder = fetch_model(uri, is_tokenizer_file)
    files = sorted(path.name for path in folder.iterdir() if path.name[0] != ".")
    assert files == ["config.json", "tokenizer.json"]
    before = tokenizer_identity(model)
    assert before is not None
    account.put(f"{uri}/tokenizer.json", b"[]")
    assert fetch_model(f"{uri}/", is_model_file) == folder
    assert (folder / "model.safetensors").is_file() and tokenizer_identity(model) != before


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (f"s3://{AWS.bucket}/nothing", "holds no model"),
        ("s3://no-such-bucket-here/mine", "AWS refused ListObjectsV2: NoSuchBucket"),
    ],
)
def test_a_model_that_is_not_in_s3_is_told(account: Account, uri: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fetch_model(uri, is_model_file)
    (problem,) = caught.value.problems
    assert said in problem.what and problem.where == f"model.name_or_path={uri}"


@pytest.mark.slow
def test_a_model_of_the_users_own_goes_the_whole_circle(tmp_path: Path) -> None:
    """In a folder: uploaded by the real SDK, brought by the channel, and its head kept by name."""
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = wordpiece_tokenizer(train_vocabulary(["very good", "sehr schlecht"] * 9, 200), 32)
    tokenizer.save_pretrained(str(tmp_path / "mine"))
    names = dict(enumerate(["positive", "neutral", "negative"]))
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, id2label=names,
        label2id={name: number for number, name in names.items()},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(str(tmp_path / "mine"))
    typed = ["cluster=p3_2xl", "model=pretrained", "model.name_or_path=mine", "data.max_length=32"]
    here = ["cluster.backend=loopback", "action=submit", "output=json"]
    done = run(str(ROOT / "launch.py"), *typed, *here, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)["submitted"]
    assert {c["ChannelName"] for c in job["InputDataConfig"]} == {"config", "model"}
    log = (tmp_path / job["folder"] / "log.txt").read_text(encoding="utf-8")
    assert "head: kept for negative, neutral, positive, by name" in log


@pytest.mark.slow
def test_a_sweep_goes_the_whole_circle(tmp_path: Path) -> None:
    """One job that its container's Python refuses to start for, one that comes to its end."""
    overrides = ["-m", "cluster=p3_16xl", "cluster.environment.PYTHONHASHSEED=none,1", *HERE]
    done = run(str(ROOT / "launch.py"), *overrides, "output=json", cwd=tmp_path)
    assert done.returncode == 6 and "Traceback" not in done.stderr, done.stderr
    folders = [tmp_path / trial["folder"] for trial in json.loads(done.stdout)["trials"]]
    failed, completed = (
        json.loads((folder / "training-job.json").read_text(encoding="utf-8")) for folder in folders
    )
    assert (failed["TrainingJobStatus"], completed["TrainingJobStatus"]) == ("Failed", "Completed")
    assert f"failed: {failed['FailureReason']}" in done.stderr
    log = (folders[0] / "log.txt").read_text(encoding="utf-8")
    assert "PYTHONHASHSEED must be" in log
    assert {m["MetricName"] for m in completed["FinalMetricDataList"]} == {
        m["Name"] for m in completed["AlgorithmSpecification"]["MetricDefinitions"]
    }
    asked = run("-m", "lingotune", "predict", str(folders[1]), "sehr gut", cwd=tmp_path)
    assert asked.returncode == 0 and "sehr gut" in asked.stdout
    assert "test: loss" in (folders[1] / "log.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_ctrl_c_stops_the_job_and_keeps_its_log(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "cluster=p3_16xl", *HERE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as launched:
        assert launched.stdout is not None
        for line in launched.stdout:
            if " Training: " in line:
                launched.send_signal(signal.SIGINT)
        code = launched.wait(PATIENCE)
    assert code == 130
    (folder,) = (tmp_path / "runs").iterdir()
    told = json.loads((folder / "training-job.json").read_text(encoding="utf-8"))
    assert told["SecondaryStatus"] == "Stopped"
