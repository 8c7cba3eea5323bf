"""The processes of a job on this machine: their environment, their exit codes, their signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from waiting import wait_until

from lingotune.launch import local_processes
from lingotune.launch.local_processes import run_ranks


def ranks(body: str, count: int = 2) -> int:
    command = [
        sys.executable,
        "-S",
        "-c",
        f"import os, sys, time; rank = os.environ['RANK']; {body}",
    ]
    return run_ranks(command, count, subprocess.DEVNULL)


def test_each_rank_finds_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = "MASTER_ADDR WORLD_SIZE LOCAL_RANK OMP_NUM_THREADS MASTER_PORT"
    assert (
        ranks(f"open(rank, 'w').write(' '.join(os.environ[n] for n in '{names}'.split()))", 3) == 0
    )
    told = [Path(str(rank)).read_text().split() for rank in range(3)]
    assert [one[:4] for one in told] == [["127.0.0.1", "3", str(rank), "1"] for rank in range(3)]
    assert len({one[4] for one in told}) == 1


@pytest.mark.parametrize(
    ("codes", "code"),
    [("0, 0", 0), ("8, 8", 8), ("5, 9", 5), ("9, 3", 3), ("9, 9", 9), ("75, 75", 75)],
)
def test_the_code_of_the_job_is_that_of_the_rank_for_which_the_others_ended(
    codes: str, code: int
) -> None:
    assert ranks(f"sys.exit([{codes}][int(rank)])") == code


def test_one_that_is_killed_is_a_lost_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert ranks("rank == '1' and os.kill(os.getpid(), 9); sys.exit(9 * (rank == '0'))") == 9
    assert "rank 1 was killed by SIGKILL, by Linux for want of memory" in capsys.readouterr().err


def test_what_is_left_long_after_one_has_failed_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_processes, "_GRACE", 0.2)
    assert ranks("rank == '1' and sys.exit(5); time.sleep(3600)") == 5


def test_a_signal_reaches_each_rank_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = (
        "import signal; got = []; signal.signal(15, lambda *_: got.append(1));"
        "open(rank + '.ready', 'w'); [time.sleep(0.01) for _ in iter(lambda: bool(got), True)];"
        "time.sleep(0.3); open(rank, 'w').write(str(len(got))); sys.exit(75)"
    )

    def send() -> None:
        wait_until(lambda: Path("0.ready").exists() and Path("1.ready").exists())
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    assert ranks(body) == 75
    sender.join()
    assert [Path(rank).read_text() for rank in "01"] == ["1", "1"]
