"""The failure file: one paragraph by the process that failed first, whatever ended it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE

from lingotune.config.problems import ConfigError, Problem
from lingotune.runs.folder import folders_in
from lingotune.training import failure
from lingotune.training.distributed import Rank
from lingotune.training.run import _next_command


def raised(body: str) -> BaseException:
    try:
        exec(compile(body, "/opt/ml/code/lingotune/training/fit.py", "exec"), {})
    except Exception as error:
        return error
    raise AssertionError(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom (lingotune/training/fit.py:1)"),
        ("raise RuntimeError('boom')", "lingotune launch ... action=rehearse"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate')", "half the per_device_bs"),
        ("raise OSError(28, 'No space left on device')", "cluster.volume_gb"),
        ("raise MemoryError", "an instance with more memory"),
        (
            "raise RuntimeError('Connection closed by peer [127.0.0.1]:4')",
            "Another rank ended first",
        ),
        ("raise RuntimeError('NCCL error: unhandled system error')", "Another rank ended first"),
    ],
)
def test_a_paragraph_names_rank_stage_place_and_help(body: str, said: str) -> None:
    failure.enter("training, step 3 of 9")
    text = failure.paragraph(raised(body), 5)
    assert text.startswith("rank 5, training, step 3 of 9: ") and said in text
    assert "\n" not in text


def test_what_the_user_can_mend_comes_with_what_works() -> None:
    failure.enter("reading the data")
    error = ConfigError(
        [Problem("data.path=x", "no such file", "data.path=y"), Problem("lr=9", "big")]
    )
    assert failure.paragraph(error, 0) == (
        "rank 0, reading the data: data.path=x: no such file; fix: data.path=y | lr=9: big (exit code 2)"
    )


def test_a_long_message_fits_into_a_failure_reason() -> None:
    text = failure.paragraph(raised(f"raise ValueError('x' * {10**5})"), 0)
    assert len(text) <= failure.LONGEST and "fit.py:1" in text
    many = ConfigError([Problem(f"key{n}", "is wrong") for n in range(500)])
    assert len(failure.paragraph(many, 0)) <= failure.LONGEST


WORKER = """
import os, sys, time
from lingotune.training import failure, signals
with signals.armed(int(sys.argv[1])), failure.reporting(int(sys.argv[1]), os.environ):
    failure.enter("evaluating")
    if sys.argv[2] == "raise":
        raise RuntimeError("boom of " + sys.argv[1])
    if sys.argv[2] == "wait":
        print("ready", flush=True)
        time.sleep(3600)
    with signals.deferred(float(sys.argv[2])):
        print("ready", flush=True)
        while not signals.asked():
            time.sleep(0.01)
        print("asked", flush=True)
        time.sleep(3600)
"""


def worker(rank: int, folder: Path, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(rank), what]
    environment = {**os.environ, "SM_OUTPUT_DIR": str(folder), "WORLD_SIZE": "4"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_the_first_to_fail_writes_the_file(tmp_path: Path) -> None:
    for rank in (3, 1):
        process = worker(rank, tmp_path, "raise")
        _, errors = process.communicate()
        assert process.returncode == 1
        assert f"lingotune: rank {rank}, evaluating: RuntimeError: boom of {rank}" in errors
        assert "Traceback" in errors, "the log has it all"
    assert (tmp_path / "failure").read_text().startswith("rank 3, evaluating: RuntimeError: boom")


def test_an_end_from_outside_is_told_at_once(tmp_path: Path) -> None:
    process = worker(2, tmp_path, "wait")
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 75
    text = (tmp_path / "failure").read_text()
    assert text.startswith("rank 2, evaluating: ended from outside (SIGTERM): another rank failed")
    assert text.endswith("(exit code 75)")


@pytest.mark.parametrize(
    ("second", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)]
)
def test_the_first_signal_waits_for_a_checkpoint_and_the_second_ends_at_once(
    second: signal.Signals, code: int, tmp_path: Path
) -> None:
    process = worker(0, tmp_path, "3600")
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "asked\n"
    while process.poll() is None:  # one that comes at the same moment is the same Ctrl-C
        process.send_signal(second)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code and "Traceback" not in errors
    assert errors.startswith("SIGINT: a checkpoint is saved, then this run stops")


def test_a_checkpoint_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    process = worker(0, tmp_path, "0.2")
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75
    assert "no checkpoint could be saved within 0.2 s" in errors


IMPORTING = """
import time
from lingotune.training import signals
with signals.importing("go on with: this\\n"):
    print("ready", flush=True)
    time.sleep(3600)
"""


def test_a_signal_during_imports_ends_at_once_with_the_command_to_go_on() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and told == "go on with: this\nlingotune: stopped\n"


FULL = OSError(28, "No space left on device")


def test_a_fault_of_the_machine_names_its_stage_and_the_command_that_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folders = folders_in(tmp_path)
    failure.enter("training, step 3 of 9")
    for there in (False, True):
        if there:
            (tmp_path / "job.yaml").touch()
        said = pytest.raises(ConfigError, match="training, step 3 of 9: the disk is full")
        with said as raised, failure.with_stage(), _next_command(folders, Rank(0, 0, 1)):
            raise FULL
        assert raised.value.exit_code == 5
        assert (f"--run-dir {tmp_path}" in capfd.readouterr().err) == there


@pytest.mark.parametrize(
    "error", [KeyError("a bug"), ConfigError([Problem("lr=x", "is no number")])]
)
def test_what_is_no_fault_of_the_machine_stays_as_it_is(error: Exception, tmp_path: Path) -> None:
    going_on = _next_command(folders_in(tmp_path), Rank(0, 0, 1))
    with pytest.raises(type(error)) as raised, failure.with_stage(), going_on:
        raise error
    assert raised.value is error
