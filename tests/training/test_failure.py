"""The failure file: one paragraph by the process that failed first, whatever ended it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE

from lingotune.config.problems import ConfigError, Problem
from lingotune.training import failure


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
        "rank 0, reading the data: data.path=x: no such file; fix: data.path=y | lr=9: big"
    )


def test_a_long_message_fits_into_a_failure_reason() -> None:
    text = failure.paragraph(raised(f"raise ValueError('x' * {10**5})"), 0)
    assert len(text) <= failure.LONGEST and "fit.py:1" in text
    many = ConfigError([Problem(f"key{n}", "is wrong") for n in range(500)])
    assert len(failure.paragraph(many, 0)) <= failure.LONGEST


WORKER = """
import sys, time
from lingotune.training import failure
with failure.reporting(int(sys.argv[1]), {"SM_OUTPUT_DIR": sys.argv[2]}):
    failure.enter("evaluating")
    print("ready", flush=True)
    if sys.argv[3] == "wait":
        time.sleep(3600)
    raise RuntimeError("boom of " + sys.argv[1])
"""


def worker(rank: int, folder: Path, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(rank), str(folder), what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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
    assert process.returncode == 143
    text = (tmp_path / "failure").read_text()
    assert text.startswith("rank 2, evaluating: ended from outside (SIGTERM)")
    assert "killed for memory" in text
