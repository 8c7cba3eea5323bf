"""Fetching results: packed and not, whole or not there, and going on after a kill."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from account_of_jobs import BUCKET, JobAccount, ledger_of, training_lines
from loopback import Front, refusal
from operating import Command, account, command, front, standing  # noqa: F401  fixtures

from lingotune.launch.aws import objects
from lingotune.launch.simulator.loopback.jobs import Job
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import State

DATA = {"job.yaml": b"name: x\n", "metrics.json": b"{}", "tensorboard/events.1": b"e" * 1000}
MODEL = {"config.json": b"{}", "model.safetensors": os.urandom(200_000)}


def packed(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def prefix_of(job: Job) -> str:
    uri = job.request["OutputDataConfig"]["S3OutputPath"]
    return f"{uri.removeprefix(f's3://{BUCKET}/').rstrip('/')}/{job.name}/output"


def put(account: JobAccount, job: Job, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        account.s3.put_object(Bucket=BUCKET, Key=f"{prefix_of(job)}/{name}", Body=content)


def leave(account: JobAccount, job: Job, *, compressed: bool = True) -> None:
    """Leave the output of a completed job in S3."""
    if compressed:
        put(account, job, {"output.tar.gz": packed(DATA), "model.tar.gz": packed(MODEL)})
    else:
        put(account, job, {f"data/{name}": content for name, content in DATA.items()})
        put(account, job, {f"model/{name}": content for name, content in MODEL.items()})


def finished(account: JobAccount, number: int = 1, **options: bool) -> Job:
    job = account.train(account.trial("s", number, lr=f"{number}e-5"))
    account.pass_seconds(60)
    account.log(job.name, training_lines(10, 10, macro_f1=0.8))
    account.complete(job, macro_f1=0.8)
    leave(account, job, **options)
    return job


def assert_whole(folder: Path) -> None:
    for name, content in DATA.items():
        assert (folder / name).read_bytes() == content
    for name, content in MODEL.items():
        assert (folder / "model" / name).read_bytes() == content
    assert "algo-1 | step 10/10" in (folder / "log.txt").read_text()
    assert json.loads((folder / "training-job.json").read_text())["TrainingJobName"] == folder.name
    assert not (folder.parent / ".fetch").exists(), "nothing is left beside it"
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    models = {f"model/{name}" for name in MODEL}
    assert there == {*DATA, *models, "log.txt", "training-job.json"}


@pytest.mark.parametrize("compressed", [True, False])
def test_a_run_folder_as_on_this_machine(
    account: JobAccount, command: Command, tmp_path: Path, compressed: bool
) -> None:
    job = finished(account, compressed=compressed)
    code, out, err = command("fetch", job.name)
    assert (code, err) == (0, "") and f"runs/{job.name}" in out
    assert_whole(tmp_path / "runs" / job.name)
    code, out, _ = command("fetch", job.name)
    assert code == 0 and out.startswith("1 run\n"), "it is here already"


def test_a_sweep(account: JobAccount, command: Command, tmp_path: Path) -> None:
    jobs = [finished(account, number) for number in (1, 2)]
    failed = account.train(account.trial("s", 3))
    account.log(failed.name, ["it went wrong"])
    failed.fail("AlgorithmError: loss is nan at step 212")
    account.train(account.trial("s", 4))
    ledger_of(tmp_path / "runs" / "s", 5, *(j.name for j in [*jobs, failed]))
    code, out, err = command("fetch", "s")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"  1  {jobs[0].name}  2 objects, ")
    told = f"  3  {failed.name}  failed: AlgorithmError: loss is nan at step 212; log: "
    assert lines[2].startswith(told)
    assert lines[3] == "2 runs, 0.4 MB; 1 not completed: log and reason in their folders"
    assert lines[4] == "2 still to come: 4, 5" and lines[5] == "next: lingotune results s"
    for job in jobs:
        assert_whole(tmp_path / "runs" / job.name)
    folder = tmp_path / "runs" / failed.name
    assert "it went wrong" in (folder / "log.txt").read_text()
    assert "loss is nan" in (folder / "training-job.json").read_text()
    with Ledger(tmp_path / "runs" / "s") as ledger:
        records = ledger.records()
    assert [r.state for r in records[:3]] == [State.completed, State.completed, State.failed]
    assert records[0].last is not None and records[0].last.job.billable_seconds == 60
    assert [e.values["macro_f1"] for e in records[0].last.evaluations] == [0.8]


def test_only_the_trials_that_are_asked_for(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    jobs = [finished(account, number) for number in (1, 2, 3)]
    assert command("fetch", "s", "2-3")[0] == 0
    assert not (tmp_path / "runs" / jobs[0].name).exists()
    assert (tmp_path / "runs" / jobs[2].name).is_dir()


def test_a_job_that_runs_is_not_fetched(account: JobAccount, command: Command) -> None:
    job = account.train(account.trial("s", 1))
    code, out, err = command("fetch", job.name)
    assert (code, out) == (2, "") and "has not ended: training" in err
    assert f"lingotune wait {job.name} && lingotune fetch {job.name}" in err


def test_a_damaged_archive_is_no_run(account: JobAccount, command: Command, tmp_path: Path) -> None:
    job = finished(account)
    whole = packed(MODEL)
    for damaged in (whole[: len(whole) // 2], whole[:-6] + b"\0" * 6, b"no archive"):
        put(account, job, {"model.tar.gz": damaged})
        code, _, err = command("fetch", job.name)
        assert code == 2 and "archive-damaged" in err and "Traceback" not in err
        assert not (tmp_path / "runs" / job.name).exists()
    put(account, job, {"model.tar.gz": whole})
    assert command("fetch", job.name)[0] == 0
    assert_whole(tmp_path / "runs" / job.name)


def test_results_that_were_deleted(account: JobAccount, command: Command, tmp_path: Path) -> None:
    gone, whole = finished(account, 1), finished(account, 2)
    account.s3.delete_object(Bucket=BUCKET, Key=f"{prefix_of(gone)}/model.tar.gz")
    code, out, err = command("fetch", "s")
    assert code == 2 and "output-missing" in err and gone.name in err
    assert "1 run" in out and (tmp_path / "runs" / whole.name).is_dir()
    assert not (tmp_path / "runs" / gone.name).exists()


def test_an_object_that_vanishes_meanwhile(
    account: JobAccount, command: Command, front: Front, tmp_path: Path
) -> None:
    job = finished(account)
    name = f"GET /{BUCKET}/{prefix_of(job)}/model.tar.gz"
    front.tell(name, refusal("NoSuchKey", status=404))
    code, _, err = command("fetch", job.name)
    assert code == 6 and "it was deleted meanwhile" in err and "Traceback" not in err
    front.tell(name, refusal("PreconditionFailed", status=412))
    assert "it was replaced meanwhile" in command("fetch", job.name)[2]
    assert not (tmp_path / "runs" / job.name).exists()


def test_bytes_that_differ_are_found(
    account: JobAccount, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(account, compressed=False)
    read = objects._File._read
    broken = lambda file, s3, part: read(file, s3, part).replace(b"e", b"f")  # noqa: E731
    monkeypatch.setattr(objects._File, "_read", broken)
    code, _, err = command("fetch", job.name)
    assert code == 2 and "tensorboard/events.1" in err and "its MD5 is not that of S3" in err
    assert not (tmp_path / "runs" / job.name).exists()
    monkeypatch.setattr(objects._File, "_read", read)
    assert command("fetch", job.name)[0] == 0
    assert_whole(tmp_path / "runs" / job.name)


def test_only_what_is_missing_is_fetched(
    account: JobAccount, command: Command, front: Front, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(objects, "PART", 50_000)
    job = finished(account)
    read, calls = objects._File._read, []

    def dying(file: Any, s3: Any, part: int) -> bytes:
        if file.object.name == "model.tar.gz" and part == 2:
            raise KeyboardInterrupt
        return read(file, s3, part)

    monkeypatch.setattr(objects._File, "_read", dying)
    assert command("fetch", job.name)[0] == 130
    assert not (tmp_path / "runs" / job.name).exists()

    def counted(file: Any, s3: Any, part: int) -> bytes:
        calls.append((file.object.name, part))
        return read(file, s3, part)

    monkeypatch.setattr(objects._File, "_read", counted)
    code, _, _ = command("fetch", job.name)
    assert code == 0 and 1 <= len(calls) < 5 and ("model.tar.gz", 2) in calls
    assert_whole(tmp_path / "runs" / job.name)


def test_an_object_that_was_replaced_is_fetched_anew(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    job = finished(account, compressed=False)
    staging = tmp_path / "runs" / ".fetch" / job.name / "objects" / "model"
    staging.mkdir(parents=True)
    (staging / "config.json").write_bytes(b"[]")
    (staging / f"config.json{objects._DONE}").write_text("0123\n0\n")
    assert command("fetch", job.name)[0] == 0
    assert_whole(tmp_path / "runs" / job.name)


def test_a_full_disk_is_told_before(
    account: JobAccount, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = finished(account)
    usage = shutil.disk_usage(tmp_path)
    full = usage._replace(free=(64 << 20) + 100_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: full)
    code, _, err = command("fetch", job.name)
    assert code == 5 and "[disk-full]" in err and "0.1 MB are free" in err
    assert not (tmp_path / "runs" / job.name).exists()


def test_somebody_elses_folder_is_left_alone(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    job = finished(account)
    (tmp_path / "runs" / job.name).mkdir(parents=True)
    (tmp_path / "runs" / job.name / "mine.txt").write_text("mine")
    code, _, err = command("fetch", job.name)
    assert code == 2 and "folder-taken" in err
    assert [p.name for p in (tmp_path / "runs" / job.name).iterdir()] == ["mine.txt"]


def test_two_at_once_take_turns(account: JobAccount, tmp_path: Path) -> None:
    from lingotune.launch.operations.fetch import fetch_all
    from lingotune.launch.operations.selection import select

    job = finished(account)
    told: list[str] = []
    chosen = [select("fetch", job.name, [], "runs", None) for _ in range(2)]

    def work(one: Any) -> None:
        found = fetch_all(one.rows, one.account, tmp_path / "runs", told.append)
        assert not found.problems

    threads = [threading.Thread(target=work, args=(one,)) for one in chosen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 1, "one fetches, the other finds it"
    assert_whole(tmp_path / "runs" / job.name)


def test_names_that_lead_out_of_the_folder(
    account: JobAccount, command: Command, tmp_path: Path
) -> None:
    job = finished(account)
    put(account, job, {"data/../../../../evil": b"x"})
    code, _, err = command("fetch", job.name)
    assert code == 2 and "leads out of its folder" in err
    info = tarfile.TarInfo("../evil")
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        tar.addfile(info, io.BytesIO())
    account.s3.delete_object(Bucket=BUCKET, Key=f"{prefix_of(job)}/data/../../../../evil")
    put(account, job, {"output.tar.gz": made.getvalue()})
    code, _, err = command("fetch", job.name)
    assert code == 2 and "archive-damaged" in err and not list(tmp_path.rglob("evil"))


def test_parts_of_an_upload_are_checked(account: JobAccount, tmp_path: Path) -> None:
    from boto3.s3.transfer import TransferConfig

    content = os.urandom(12 << 20)
    (tmp_path / "big").write_bytes(content)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    account.s3.upload_file(str(tmp_path / "big"), BUCKET, "x/big", Config=config)
    (one,) = objects.stored_under(account.s3, f"s3://{BUCKET}/x")
    assert "-" in one.etag
    objects.fetch_objects(account.s3, [one], tmp_path / "here", lambda line: None)
    path = tmp_path / "here" / "big"
    assert path.read_bytes() == content and objects._agrees(account.s3, one, path)
    with path.open("r+b") as file:
        file.write(b"\0\0\0\0")
    assert not objects._agrees(account.s3, one, path)
