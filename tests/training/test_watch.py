"""The watch over the processes: who is named for what."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from waiting import wait_until

from lingotune.training.progress import SCORING, UPDATE, Progress
from lingotune.training.watch import Sign, hanging, is_dead, known_to, waits

WAITING = "torch/graph.py:8 _engine_run_backward"
RUNS = Sign(0, 3, 40, 1.0, "training, step 9 of 60", WAITING, 0.5, False, "one", 1)


def signs(*changes: dict[str, object]) -> list[Sign]:
    return [replace(RUNS, rank=rank, **change) for rank, change in enumerate(changes)]  # type: ignore[arg-type]


def test_while_all_move_nobody_is_named() -> None:
    assert hanging(signs({}, {"moves": 39}, {"still": 30.0})) == ""


def test_the_one_that_is_behind_is_named_with_its_place() -> None:
    stuck = {"moves": 39, "where": "mine.py:11 on_step_begin", "still": 47.0, "host": "two"}
    told = hanging(signs({"hangs": True, "still": 46.0}, stuck, {"still": 45.0}))
    at = "(training, step 9 of 60, in mine.py:11 on_step_begin)"
    assert told == f"no progress for 47 s, all wait for rank 1 on two {at}"


def test_in_the_same_step_the_one_that_waits_for_nobody_is_named() -> None:
    working = {"where": "data/store.py:3 read", "hangs": True, "still": 45.0}
    told = hanging(signs({"hangs": True, "still": 45.0}, working))
    assert "all wait for rank 1" in told and "rank 0" not in told


def test_where_all_wait_for_each_other_all_are_named() -> None:
    told = hanging(signs({"hangs": True}, {"hangs": True}))
    assert "no rank moves" in told and "rank 0" in told and "rank 1" in told


def test_waiting_is_told_by_the_function() -> None:
    assert waits(RUNS) and not waits(replace(RUNS, where="mine.py:4 all_reduced"))


def test_a_process_that_has_ended_is_dead_also_before_it_is_buried() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"])
    assert not is_dead(child.pid) and not is_dead(os.getpid())
    child.send_signal(signal.SIGSTOP)
    assert not is_dead(child.pid)
    child.kill()
    wait_until(lambda: is_dead(child.pid))
    child.wait()
    assert is_dead(child.pid)


def test_one_that_ends_itself_needs_no_watch() -> None:
    assert known_to(replace(RUNS, left=True)) and known_to(replace(RUNS, failed="of x"))
    assert not known_to(RUNS)


@pytest.mark.parametrize("kind", [UPDATE, SCORING])
def test_steps_have_a_limit_once_their_length_is_known(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress()
    for seconds in (0, 300, 200):  # the first ones may compile
        now[0] += seconds
        progress.move(kind)
        assert progress.limit(45, 1800) == 1800
    for seconds in (1, 2):
        now[0] += seconds
        progress.move(kind)
    assert progress.limit(45, 1800) == 45
    now[0] += 30
    assert progress.still() == 30
    progress.move(kind)
    assert progress.limit(45, 1800) == 300, "ten times the longest"
    progress.pause()
    assert progress.limit(45, 1800) == 1800 and progress.still() == 0
    now[0] += 500  # saving is no step
    progress.move(kind)
    assert progress.limit(45, 1800) == 300
    progress.steady = False
    assert progress.limit(45, 1800) == 1800
