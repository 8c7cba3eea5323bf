"""`hydra/launcher=sagemaker` on a foreign application, which really trains on this machine's SageMaker."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from conftest import ROOT
from pretend import Course, pretending
from waiting import wait_until

from lingotune.launch.simulator.loopback.fake_account import BUCKET, ROLE
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.standing import Settings, account

APP = ROOT / "tests" / "foreign_app"
SETTINGS = [
    "hydra/launcher=sagemaker", f"hydra.launcher.role={ROLE}", f"hydra.launcher.bucket={BUCKET}",
    "hydra.launcher.instance_type=ml.g5.xlarge", "hydra.launcher.image_uri=r.example/pytorch:2",
    "hydra.launcher.max_run=600", "hydra.launcher.region=us-east-1",
]  # fmt: skip


def command(*words: str) -> list[str]:
    return [sys.executable, "train.py", "-m", *SETTINGS, *words]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return Path(shutil.copytree(APP, tmp_path / "app"))


def run(app: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command(*words), cwd=app, env=environment, capture_output=True, text=True)


def test_what_is_wrong_is_told_before_anything_starts_and_without_a_traceback(app: Path) -> None:
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    done = run(app, "lr=0.1", AWS_EC2_METADATA_DISABLED="true", AWS_ACCESS_KEY_ID="", **nowhere)
    assert done.returncode == 6 and "Traceback" not in done.stderr
    assert "credentials" in done.stderr and "worst case: 1 x 10 min" in done.stdout
    assert not (app / "runs").exists() or not list((app / "runs").rglob("fetched"))


@pytest.mark.slow
def test_a_killed_command_attaches_to_its_jobs_and_returns_what_they_returned(app: Path) -> None:
    words = ["lr=0.1,0.5", "+hydra.launcher.environment.WHO=them"]
    with account(Settings(quotas=Quotas(2)), lambda line: None):
        log = app / "log.txt"  # in the folder that travels: it makes no other job
        with log.open("w") as out:
            first = subprocess.Popen(command(*words), cwd=app, stdout=out, stderr=out)
            wait_until(lambda: log.read_text().count("started ") == 2)
            first.send_signal(signal.SIGKILL)
            first.wait()
        done = run(app, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        sagemaker = boto3.client("sagemaker", region_name="us-east-1")
        names = [
            job["TrainingJobName"] for job in sagemaker.list_training_jobs()["TrainingJobSummaries"]
        ]
        ends = [sagemaker.describe_training_job(TrainingJobName=name) for name in names]
        assert len(names) == 2, [end.get("FailureReason") for end in ends]
        again = run(app, *words)
    scores = re.findall(r"returned (0\.\d+)", done.stdout)
    assert len(scores) == 2 and min(map(float, scores)) > 0.7
    assert re.findall(r"returned (0\.\d+)", again.stdout) == scores
    assert "nothing is to be started" in again.stdout
    (facts, _) = sorted(app.glob("multirun/*/*/0/facts.txt"))
    assert facts.read_text().startswith("train-0-20") and "as them" in (
        facts.with_name("train.log").read_text()
    )
    assert (facts.parent / ".hydra" / "overrides.yaml").exists()


@pytest.mark.slow
def test_a_command_that_leaves_tells_what_bills_and_retries_go_on_from_checkpoints(
    app: Path,
) -> None:
    words = ["lr=0.1,0.5,0.9", "hydra.launcher.wait=false", "hydra.launcher.checkpoints=true"]
    forever = Course([0.5], hangs_after=0, starting=0.1, stopping=0.1)
    with pretending(lambda asked: forever, quotas=Quotas(2)) as there:
        left = run(app, *words)
        assert left.returncode == 0, left.stdout + left.stderr
        for job in there.jobs:
            there.jobs.stop(job.name)
        wait_until(lambda: all(job.over for job in there.jobs))
        told = run(app, *words, "hydra.launcher.max_parallel=2", "hydra.launcher.retry=stopped")
        places = [str(job.request["CheckpointConfig"]["S3Uri"]) for job in there.jobs]
        names = [job.name for job in there.jobs]
    assert "2 jobs go on at AWS and bill at " in left.stdout
    assert "1 wait (2) and are not started without you" in left.stdout
    assert re.search(r"stop:  .* stop train-[0-9a-f]{8}\n", left.stdout), left.stdout
    assert told.returncode == 0, told.stdout + told.stderr
    again = {n: p for n, p in zip(names, places) if n.endswith("-2")}
    assert len(again) == 2 and all(p.endswith(n.removesuffix("-2")) for n, p in again.items())
