"""A small model in a run folder, and an account that serves nothing but says so, for tests of deploy."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from safetensors.numpy import save_file
from served import LABELS, job_of_model

from lingotune.cli.main import main
from lingotune.config.console import exit_code_of
from lingotune.config.jobfile import dump_job
from lingotune.launch.render.deployment import Served
from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE, furnish, only_aws
from lingotune.launch.simulator.loopback.hosting import Hosting
from lingotune.launch.simulator.loopback.jobs import Jobs
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.service import serve

ACCOUNT = (f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}")
SERVED = Served("reviews", "a" * 64, "b" * 64, "distilbert", "5.3.0", 540_000_000)
"""A DistilBERT of a job named reviews."""
Command = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class ServingAccount:
    """An account with quotas, its endpoints and SageMaker's client."""

    address: str
    hosting: Hosting
    sagemaker: Any


@contextmanager
def serving_account(quotas: Quotas | None = None) -> Iterator[ServingAccount]:
    """Serve an account whose endpoints are in service at once, and have no container."""
    jobs = Jobs(quotas=quotas or Quotas(2))
    hosting = Hosting(Clock(), jobs.quotas)
    with serve(jobs, hosting=hosting) as address, only_aws(address):
        session = boto3.Session(region_name=REGION)
        furnish(session)
        yield ServingAccount(address, hosting, session.client("sagemaker"))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a model of the right form, whose weights are nobody's: nothing has to load it."""
    run = tmp_path_factory.mktemp("runs") / "small-run"
    model = run / "model"
    model.mkdir(parents=True)
    config = {
        "model_type": "distilbert", "transformers_version": "5.3.0",
        "id2label": dict(enumerate(LABELS)),
    }  # fmt: skip
    (model / "config.json").write_text(json.dumps(config))
    (model / "tokenizer.json").write_text("{}")
    save_file({"classifier.weight": np.ones((3, 16), np.float32)}, model / "model.safetensors")
    (run / "job.yaml").write_bytes(dump_job(job_of_model()))
    return run


@pytest.fixture
def run_folder(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run, and a folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(small_run, tmp_path / "small-run"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`lingotune ...` in this process: exit code, output, errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lingotune", *arguments])
        code = exit_code_of(main)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
