"""`launch.py aws.sdk=v3 action=submit` over HTTP: the SDK v3 with a server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import Faults, FaultyFront, Rates
from loopback import ROLE, Front, moto_server, point_boto_at, ready_account
from test_model_trainer import EXPLAINED, differences

from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.jobs import Jobs
from lingotune.launch.simulator.loopback.service import serve

ROOT = Path(__file__).resolve().parent.parent.parent
TYPED = [
    "cluster=g5_12xl",
    f"aws.role={ROLE}",
    "aws.bucket=example-bucket",
    "aws.region=us-east-1",
    "aws.sdk=v3",
]


def launch(*more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "launch.py", *TYPED, *more],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True,
        timeout=280,
    )  # fmt: skip


def test_the_job_is_started_once_and_by_its_own_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    with moto_server() as upstream:
        front = Front(upstream)
        point_boto_at(front.address, monkeypatch, tmp_path, **keys)
        ready_account(front, upstream, "example-bucket")
        planned = json.loads(launch("output=request").stdout)
        done = launch("action=submit")
        assert done.returncode == 0, done.stdout + done.stderr
        bodies = [dict(c.parameters) for c in front.calls if c.operation == "CreateTrainingJob"]
        asked = {c.parameters["TrainingJobName"] for c in front.calls
                 if c.operation == "DescribeTrainingJob"}  # fmt: skip
        again = launch("action=submit")
        front.close()
    (body,) = bodies
    assert {where for where, _, _ in differences(planned, body)} == set(EXPLAINED)
    assert f"submitted {planned['TrainingJobName']}" in done.stdout
    assert asked == {planned["TrainingJobName"]}
    assert again.returncode == 2 and "[name-taken]" in again.stdout


def test_a_job_whose_answer_was_lost_is_told_as_running_and_adopted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    faults = Faults(rates={"CreateTrainingJob": Rates(lost=1.0)})
    jobs = Jobs(Clock())
    with serve(jobs) as address:
        host, port = address.removeprefix("http://").split(":")
        front = FaultyFront((host, int(port)), faults)
        point_boto_at(front.address, monkeypatch, tmp_path, **keys)
        ready_account(front, (host, int(port)), "example-bucket")
        done = launch("action=submit")
        faults.rates = {}
        again = launch("action=submit")
        front.close()
    (job,) = jobs
    assert faults.failed["CreateTrainingJob", "lost"] >= 1
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the answer was lost" in done.stdout and "the job is there: InProgress" in done.stdout
    assert f"submitted {job.name}" in done.stdout and "nothing was started" not in done.stdout
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"{job.name} was started before, and runs; nothing further was started" in again.stdout
