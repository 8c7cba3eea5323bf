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

import pytest
import warm
from conftest import ROOT, run
from damaging import damage
from killing import KILLED, job_file, metrics, outcome
from waiting import PATIENCE, wait_until

from lingotune.config.jobfile import load_job
from lingotune.config.problems import CheckpointError
from lingotune.runs.folder import finished, folders_in
from lingotune.runs.inventory import INVENTORY, changed_files, read_inventory
from lingotune.training.checkpoints import MANIFEST
from lingotune.training.finishing import complete


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


def check_killed_often(folder: Path, uninterrupted: Path, kills: int, seed: int) -> int:
    arguments = [str(job_file(folder)), str(folder / "run"), str(kills), str(seed)]
    done = run(str(ROOT / "tests/killing.py"), *arguments, **warm.WITHOUT_PICTURES)
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    log = (folder / "run.0.log").read_text(encoding="utf-8")
    assert set(codes[:-1]) <= {*KILLED} and codes[-1] == 0, log
    assert outcome(folder / "run") == outcome(uninterrupted), log
    run_folder = folders_in(folder / "run")
    inventory = read_inventory(run_folder, load_job(folder / "job.yaml")[1])
    assert inventory is not None and "report.html" in inventory.files, log
    assert list(changed_files(run_folder, inventory)) == []
    return len(codes) - 1


def test_killed_at_random_moments_the_result_is_the_same(
    uninterrupted: Path, tmp_path: Path
) -> None:
    kills = check_killed_often(tmp_path, uninterrupted, kills=4, seed=1)
    assert kills >= 1
    log = (tmp_path / "run.0.log").read_text(encoding="utf-8")
    assert "resuming at step" in log and " of 30" in log
    assert metrics(tmp_path / "run")["resumed_from_step"] is not None


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "typed", [["--kills", "24"], ["--ranks", "2", "--kills", "6"]], ids=["one", "two"]
)
def test_many_kills_of_many_kinds_of_runs_lose_nothing(typed: list[str], tmp_path: Path) -> None:
    done = run(str(ROOT / "tests/kill_proof.py"), "--seed", "2", *typed, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] >= int(typed[-1]) and not found["wrong"]


@pytest.mark.slow
def test_kills_lose_stock_trainings(tmp_path: Path) -> None:
    """The control: the harness finds what is lost."""
    done = run(str(ROOT / "tests/kill_proof.py"), "--stock", "--kills", "20", cwd=tmp_path)
    assert json.loads(done.stdout)["lost"] > 0, done.stdout + done.stderr


@pytest.mark.slow
def test_damage_of_any_kind_is_seen_where_stock_loaders_read_on(
    uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as it was trained
    monkeypatch.setenv("LINGOTUNE_CACHE", "")
    found = damage(uninterrupted, count=50, seed=1)
    assert all(part["seen"] > 10 and not part.get("wrong") for part in found.values()), found
    assert found["checkpoints"]["stock: other values, silently"] > 1, "the control"


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run(["unshare", "-Urm", "true"]).returncode != 0,
    reason="no disks of one's own can be mounted here",
)
def test_a_disk_of_any_size_that_is_full_costs_nothing() -> None:
    """tests/full_disk.py tries every size; here are some."""
    sizes = ["--from", "60", "--every", "440"]
    command = ["unshare", "-Urm", sys.executable, str(ROOT / "tests/full_disk.py"), *sizes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    codes = {one["code"] for one in json.loads(done.stdout)["behaviours"]}
    assert codes == {0, 5}


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


def completed(folder: Path, job_file: Path) -> None:
    job, digest = load_job(job_file)
    results = finished(folders_in(folder), digest)
    assert results is not None
    complete(job, folders_in(folder), results)


def files_of(folder: Path) -> dict[str, bytes]:
    names = json.loads((folder / INVENTORY).read_text())["files"]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.slow  # pictures take seconds
def test_what_a_kill_after_the_results_left_out_is_made(
    uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(uninterrupted, whole, ignore=shutil.ignore_patterns("checkpoints"))
    (whole / INVENTORY).unlink()
    (whole / "report.html").unlink()
    completed(whole, uninterrupted / "job.yaml")
    assert "completing" in capsys.readouterr().out
    before = files_of(whole)
    assert {"report.html", "predictions.parquet", "learning_curves.png"} <= set(before)
    completed(whole, uninterrupted / "job.yaml")
    assert "completing" not in capsys.readouterr().out
    model = {name: content for name, content in files_of(uninterrupted).items() if "safet" in name}
    assert model.items() <= before.items()


def test_a_finished_run_that_is_damaged_is_made_whole_or_says_so(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as it was trained
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder, ignore=shutil.ignore_patterns("checkpoints"))
    told = []
    for name, content in files_of(folder).items():
        path = folder / name
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        try:
            if name != "metrics.json":  # without results that can be read it is not finished
                completed(folder, uninterrupted / "job.yaml")
        except CheckpointError as error:
            told.append(name)
            assert [p.where for p in error.problems] == [str(path)]
            assert "is damaged" in error.problems[0].what and "train" in error.problems[0].fix
        path.write_bytes(content)
    assert set(told) == {
        "predictions.parquet", "validation_predictions.parquet",
        "model/model.safetensors", "model/config.json",
        "model/tokenizer.json", "model/tokenizer_config.json",
    }  # fmt: skip
    completed(folder, uninterrupted / "job.yaml")
    done = trained(folder / "job.yaml", folder)
    assert done.returncode == 0 and "this job is finished" in done.stdout


def test_a_run_goes_on_with_another_split_of_the_same_batch(
    uninterrupted: Path, tmp_path: Path
) -> None:
    moved = interrupted_run(uninterrupted, tmp_path)
    typed = ["--job", str(moved / "job.yaml"), "--run-dir", str(moved), "per_device_bs=4"]
    refused = run("train.py", *typed)
    assert refused.returncode == 2 and "global batch 16 there, 8 here" in refused.stderr
    assert "fix: scaling.accumulation=4," in refused.stderr
    done = run("train.py", *typed, "scaling.accumulation=4", **warm.WITHOUT_PICTURES)
    assert done.returncode == 0, done.stderr
    note = "it went on at step 28 with batch per process 4 x 4 instead of 8 x 2"
    assert f"warning: not exact: {note}" in done.stdout
    assert metrics(moved)["not_exact"] == [note] and metrics(moved)["resumed_from_step"] == 28
    assert f"not exact: {note}" in (moved / "report.html").read_text(encoding="utf-8")
    scores, before = (outcome(folder)["curves"]["eval/loss"] for folder in (moved, uninterrupted))
    assert [step for step, _ in scores] == [step for step, _ in before]
    assert scores[-1][1] == pytest.approx(before[-1][1], abs=1e-3)
    assert "not_exact" not in metrics(uninterrupted)


@pytest.mark.slow
def test_resume_never_starts_over_and_keeps_what_was_there(
    uninterrupted: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(uninterrupted, moved)
    typed = ["--job", str(moved / "job.yaml"), "--run-dir", str(moved), "resume=never"]
    done = run("train.py", *typed, **warm.WITHOUT_PICTURES)
    assert done.returncode == 0, done.stderr
    assert "resuming" not in done.stdout and outcome(moved) == outcome(uninterrupted)
    names = {path.name for path in (moved / "checkpoints").iterdir()}
    assert names >= {"earlier-checkpoint-28", "earlier-checkpoint-30"}
    assert (moved / "metrics.json.earlier").is_file()


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
@pytest.mark.parametrize(
    "typed",
    [[], ["training.row_exchange=true"], ["training.shard=true"]],
    ids=["whole", "touched rows", "sharded"],
)
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


@pytest.mark.slow
@pytest.mark.parametrize("before", [1, 2], ids=["from-1-to-2", "from-2-to-1"])
def test_a_run_goes_on_with_another_number_of_processes(before: int, tmp_path: Path) -> None:
    """All updates take the rows that they would have taken; the loss is the same up to rounding."""

    def typed(processes: int) -> list[str]:
        rest = f"scaling.accumulation={4 // processes}"
        return [f"cluster.processes={processes}", "per_device_bs=4", rest]

    path, folder = job_file(tmp_path, *typed(before)), tmp_path / "run"
    straight = run("train.py", "--job", str(path), *typed(before), "--run-dir", str(folder))
    assert straight.returncode == 0, straight.stderr
    moved = interrupted_run(folder, tmp_path)
    shutil.rmtree(moved / "checkpoints" / "checkpoint-28")
    (folder / "checkpoints" / "checkpoint-28").rename(moved / "checkpoints" / "checkpoint-28")
    given = ["--job", str(moved / "job.yaml"), "--run-dir", str(moved), *typed(3 - before)]
    done = run("train.py", *given)
    assert done.returncode == 0, done.stderr
    note = f"world size {3 - before} instead of {before}"
    assert f"not exact: it went on at step 28 with {note}" in done.stdout
    assert [note in line for line in metrics(moved)["not_exact"]] == [True]
    assert metrics(moved)["training"]["world_size"] == 3 - before
    losses, expected = (outcome(one)["curves"]["train/loss"] for one in (moved, folder))
    assert [step for step, _ in losses] == [step for step, _ in expected]
    assert [loss for _, loss in losses] == pytest.approx([v for _, v in expected], abs=5e-3)
    again = run("train.py", "--job", str(moved / "job.yaml"), "--run-dir", str(moved))
    assert again.returncode == (0 if before == 2 else 2), "one process finds it finished"


def is_stopped(pid: int) -> bool:
    return ") T " in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")


def ranks_of(agent: int) -> list[int]:
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text(encoding="utf-8")
    return [int(pid) for pid in children.split()]
