"""Runs that are killed and resumed: the same result to the last bit, or a clear message why not."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import warm
from conftest import ROOT, compose, run
from killing import metrics, outcome
from waiting import PATIENCE, wait_until

from lingotune.config.jobfile import dump_job, job_of
from lingotune.training.checkpoints import MANIFEST

SMALL = [
    "model.scratch.dim=32",
    "model.scratch.layers=1",
    "model.scratch.hidden_dim=64",
    "model.scratch.vocab_size=400",
    "data.sample.train_rows=40",
    "data.sample.validation_rows=10",
    "data.sample.test_rows=10",
    "data.max_length=32",
    "per_device_bs=8",
    "scaling.accumulation=2",
    "training.logging_steps=1",
    "training.save_steps=2",
    "training.keep_checkpoints=2",
    "epochs=2",
    "data.balance=resample",
    "training.layer_decay=0.8",
    "training.label_smoothing=0.1",
    "data.language_alpha=0.5",
]
"""30 updates; a checkpoint every second and after each epoch's evaluation; each epoch draws anew."""


def job_file(folder: Path, *overrides: str) -> Path:
    path = folder / "job.yaml"
    path.write_bytes(dump_job(job_of(compose(*SMALL, *overrides))))
    return path


def trained(job: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    arguments = ["train.py", "--job", str(job), "--run-dir", str(folder)]
    return run(*arguments, **warm.WITHOUT_PICTURES)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = trained(job_file(folder), folder / "run")
    assert done.returncode == 0, done.stderr
    assert metrics(folder / "run")["resumed_from_step"] is None
    return folder / "run"


def killed_often(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    arguments = [str(job_file(folder)), str(folder / "run"), str(kills), str(seed)]
    done = run(str(ROOT / "tests/killing.py"), *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def check_killed_often(folder: Path, uninterrupted: Path, kills: int, seed: int) -> int:
    result = killed_often(folder, kills, seed)
    log = (folder / "run.log").read_text(encoding="utf-8")
    assert set(result["codes"]) <= {0, -9} and result["codes"][-1] == 0, log
    assert outcome(folder / "run") == outcome(uninterrupted), log
    return int(result["kills"])


def test_killed_at_random_moments_the_result_is_the_same(
    uninterrupted: Path, tmp_path: Path
) -> None:
    kills = check_killed_often(tmp_path, uninterrupted, kills=4, seed=1)
    assert kills >= 1
    log = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert "resuming at step" in log and " of 30" in log
    assert metrics(tmp_path / "run")["resumed_from_step"] is not None


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_many_kills_lose_nothing(uninterrupted: Path, tmp_path: Path, seed: int) -> None:
    check_killed_often(tmp_path, uninterrupted, kills=12, seed=seed)


def interrupted_run(uninterrupted: Path, folder: Path) -> Path:
    """The run as it stood before its last two steps, in another place than it was trained in."""
    moved = folder / "moved"
    shutil.copytree(uninterrupted, moved)
    (moved / "metrics.json").unlink()
    (moved / "model/metrics.json").unlink()
    (moved / "checkpoints/checkpoint-30" / MANIFEST).unlink()
    return moved


def test_a_moved_run_goes_on_from_its_newest_whole_checkpoint(
    uninterrupted: Path, tmp_path: Path
) -> None:
    moved = interrupted_run(uninterrupted, tmp_path)
    done = trained(moved / "job.yaml", moved)
    assert done.returncode == 0, done.stderr
    assert "checkpoint-30 was not finished; it is not used" in done.stdout
    assert "resuming at step 28 of 30" in done.stdout
    assert metrics(moved)["resumed_from_step"] == 28
    assert outcome(moved) == outcome(uninterrupted)


@pytest.mark.slow
def test_killed_after_the_last_step_only_the_end_is_done_again(
    uninterrupted: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(uninterrupted, moved)
    (moved / "metrics.json").unlink()
    done = trained(moved / "job.yaml", moved)
    assert done.returncode == 0, done.stderr
    assert "resuming at step 30 of 30" in done.stdout and "step 31" not in done.stdout
    assert outcome(moved) == outcome(uninterrupted)


def test_a_finished_run_is_left_as_it_is(uninterrupted: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in uninterrupted.rglob("*")}
    done = run(
        "train.py", "--job", str(uninterrupted / "job.yaml"), "--run-dir", str(uninterrupted)
    )
    assert done.returncode == 0 and "this job is finished" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in uninterrupted.rglob("*")} == before


def test_a_run_of_another_job_is_refused(uninterrupted: Path, tmp_path: Path) -> None:
    other = job_file(tmp_path, "seed=7")
    done = run("train.py", "--job", str(other), "--run-dir", str(uninterrupted))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "is the folder of job" in done.stderr and "another --run-dir" in done.stderr


def test_nothing_whole_is_said_loudly_and_starts_over(uninterrupted: Path, tmp_path: Path) -> None:
    moved = interrupted_run(uninterrupted, tmp_path)
    for weights in moved.glob("checkpoints/*/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    required = run(
        "train.py", "--job", str(moved / "job.yaml"), "--run-dir", str(moved), "resume=required"
    )
    assert required.returncode == 4 and "checkpoint-28 has a damaged" in required.stderr
    done = trained(moved / "job.yaml", moved)
    assert done.returncode == 0, done.stderr
    assert "is whole: training starts over, at step 0" in done.stdout
    assert "has a damaged model.safetensors" in done.stdout
    assert outcome(moved) == outcome(uninterrupted)
    assert list(moved.glob("checkpoints/damaged-checkpoint-*"))


def test_two_processes_do_not_share_a_folder(uninterrupted: Path, tmp_path: Path) -> None:
    moved = interrupted_run(uninterrupted, tmp_path)
    arguments = ["--job", str(moved / "job.yaml"), "--run-dir", str(moved)]
    stopped = [str(ROOT / "tests/stopping.py"), "STOP", "model tiny", *arguments]
    server = warm.server_for(stopped, os.environ)
    with (tmp_path / "log").open("w") as log, server.start(stopped, ROOT, os.environ, log) as first:
        wait_until(lambda: is_stopped(first.pid), lambda: first.poll() is None)
        second = run("train.py", *arguments)
        first.kill()
    assert second.returncode == 2
    assert "another process is training in this folder" in second.stderr


@pytest.mark.slow
@pytest.mark.parametrize("typed", [[], ["training.shard=true"]], ids=["whole", "sharded"])
def test_a_rank_that_is_killed_costs_nothing(typed: list[str], tmp_path: Path) -> None:
    """Two gloo ranks: rank 1 is killed once a checkpoint is there; torchrun ends the job."""
    two = ["cluster.processes=2", "per_device_bs=4"]
    path = job_file(tmp_path, *two, *typed)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(ROOT / "train.py"), "--job", str(path), "--run-dir"]
    straight = subprocess.run([*command, str(tmp_path / "a")], capture_output=True, text=True)
    assert straight.returncode == 0, straight.stderr
    # One rank stops itself behind checkpoint 4, and the other waits for it.
    stopping = [str(ROOT / "tests/stopping.py"), "STOP", "step 6/"]
    interrupted = [stopping if word == str(ROOT / "train.py") else [word] for word in command]
    interrupted = [*itertools.chain(*interrupted), str(tmp_path / "b")]
    with subprocess.Popen(interrupted, stdout=subprocess.DEVNULL) as job:
        wait_until(lambda: any(map(is_stopped, ranks_of(job.pid))), lambda: job.poll() is None)
        assert (tmp_path / "b/checkpoints/checkpoint-4" / MANIFEST).exists()
        ranks = ranks_of(job.pid)
        os.kill(random.choice(ranks), signal.SIGKILL)
        for rank in ranks:
            os.kill(rank, signal.SIGCONT)
        assert job.wait(PATIENCE) != 0
    again = subprocess.run([*command, str(tmp_path / "b")], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("resuming at step") == 1
    assert outcome(tmp_path / "b") == outcome(tmp_path / "a")


def is_stopped(pid: int) -> bool:
    return ") T " in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")


def ranks_of(agent: int) -> list[int]:
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text(encoding="utf-8")
    return [int(pid) for pid in children.split()]
