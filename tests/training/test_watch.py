"""The watch over the processes: who is named for what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from waiting import PATIENCE, wait_until

from lingotune.training import distributed
from lingotune.training.distributed import Rank
from lingotune.training.progress import SCORING, UPDATE, Progress
from lingotune.training.watch import (
    Sign,
    Watch,
    hanging,
    is_dead,
    is_stopped,
    known_to,
    waits,
    watching,
)

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
    assert not is_dead(child.pid) and not is_dead(os.getpid()) and not is_stopped(child.pid)
    child.send_signal(signal.SIGSTOP)
    wait_until(lambda: is_stopped(child.pid))
    assert not is_dead(child.pid)
    child.kill()
    wait_until(lambda: is_dead(child.pid))
    child.wait()
    assert is_dead(child.pid) and not is_stopped(child.pid)


def test_one_that_ends_itself_needs_no_watch() -> None:
    assert known_to(replace(RUNS, left=True)) and known_to(replace(RUNS, failed="of x"))
    assert not known_to(RUNS)


def test_a_time_in_which_all_were_stopped_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z and `fg`: neither the others nor this process have been still."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress()
    watch = Watch(Rank(0, 0, 2), None, progress, (45, 45))
    watch._heard[1] = replace(RUNS, rank=1, host="two"), now[0]
    now[0] += 3600
    watch._catch_up()
    assert watch._silent(45) == "" and progress.still() == 0
    for _ in range(23):
        now[0] += 2
        watch._catch_up()
    assert "no sign of life for 46 s" in watch._silent(45) and progress.still() == 46


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


def judge(*seen: Sign) -> Watch:
    """The watch of rank 0, in a store in which the others have left their signs."""
    from torch.distributed import HashStore

    store = HashStore()
    watch = Watch(Rank(0, 0, len(seen) + 1), store, Progress(), (45, 45))
    watch._tell()
    for sign in seen:
        store.set(f"sign/{sign.rank}", json.dumps(asdict(sign)))
    watch._listen()
    return watch


def test_a_process_of_this_machine_that_is_not_there_is_named_at_once() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    here = os.uname().nodename
    watch = judge(replace(RUNS, rank=1, host="elsewhere"))
    assert watch._silent(45) == ""
    watch._heard[1] = (replace(RUNS, rank=1, host=here, pid=gone.pid), 0.0)
    assert watch._silent(45).startswith("rank 1 has died without a message (training, step 9")
    for ends in ({"left": True}, {"failed": "rank 1: the disk is full"}):
        watch._heard[1] = (replace(RUNS, rank=1, host=here, pid=gone.pid, **ends), 0.0)  # type: ignore[arg-type]
        assert watch._silent(45) == ""


def test_one_that_was_stopped_too_long_does_not_say_that_the_others_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    dead = replace(RUNS, rank=1, host=os.uname().nodename, pid=gone.pid)
    watch = judge(replace(dead, host="elsewhere"))
    watch._heard[1] = (dead, now[0])
    now[0] += 20  # for so short a time nobody ends
    watch._catch_up()
    assert watch._silent(45).startswith("rank 1 has died without a message")
    now[0] += 60
    watch._catch_up()
    assert watch._silent(45) == "this process was stopped for 60 s, so that rank 1 has ended"
    for _ in range(9):  # later it has died for a reason of its own
        now[0] += 2
        watch._catch_up()
    assert watch._silent(45).startswith("rank 1 has died without a message")


@pytest.mark.parametrize("is_halted", [True, False])
def test_only_a_silent_one_that_runs_is_asked_for_its_stacks(
    is_halted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stacks of one that is stopped would be read while its threads go on: SIGSEGV, not 9."""
    sent = list[tuple[int, int]]()
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"]) as silent:
        if is_halted:
            silent.send_signal(signal.SIGSTOP)
            wait_until(lambda: is_stopped(silent.pid))
        watch = judge(replace(RUNS, rank=1, host=os.uname().nodename, pid=silent.pid))
        later = time.monotonic() + 46
        with monkeypatch.context() as changed:
            changed.setattr("time.monotonic", lambda: later)
            changed.setattr("time.sleep", lambda seconds: None)
            changed.setattr(os, "kill", lambda pid, what: sent.append((pid, what)))
            changed.setattr(os, "_exit", lambda code: sent.append((0, code)))
            watch._end("rank 1 on one has given no sign of life for 46 s")
        silent.kill()
    asked = [] if is_halted else [(silent.pid, signal.SIGUSR1)]
    assert sent == [*asked, (silent.pid, signal.SIGCONT), (0, 9)]


def test_signs_that_do_not_change_are_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    watch = judge(replace(RUNS, rank=1, host="two"))
    for _ in range(20):
        now[0] += 2
        watch._listen()
    assert watch._silent(45) == ""
    now[0] += 6
    said = "rank 1 on two has given no sign of life for 46 s: it is stopped, or its machine is gone"
    assert watch._silent(45).startswith(said)


def test_what_a_silent_one_did_last_is_not_told_as_what_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This process hangs first where the other one gave its last sign after the last step of both."""
    now, told = [100.0], list[str]()
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(Watch, "_end", lambda watch, why: told.append(why))
    other = replace(RUNS, rank=1, host="two", moves=0, stage="starting")
    watch = judge(other)
    for _ in range(5):
        watch._progress.move(UPDATE)
        now[0] += 0.1
    watch._store.set("sign/1", json.dumps(asdict(replace(other, beat=other.beat + 1))))
    while not told:
        now[0] += 2
        watch._listen()
    assert told[0].startswith("rank 1 on two has given no sign of life for 44 s: it is stopped")


def test_an_error_of_another_is_taken_over_only_where_this_process_does_not_meet_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    watch = judge(
        replace(RUNS, rank=1, host="two", failed="rank 1: the disk is full (exit code 5)")
    )
    assert watch._fallen() == ""
    now[0] += 6
    assert watch._fallen() == "ended because of another: rank 1: the disk is full (exit code 5)"


def test_one_that_computes_three_times_as_long_is_slow() -> None:
    watch = judge(*(replace(RUNS, rank=rank, host="two") for rank in (1, 2)))
    watch._slow_from.clear()

    def later(moves: int, *busy: float) -> list[Sign]:
        return [replace(RUNS, rank=r, moves=moves, busy=b, host="two") for r, b in enumerate(busy)]

    assert watch._slow(later(0, 0.0, 0.0, 0.0)) == ""
    assert watch._slow(later(10, 1.0, 1.0, 9.0)) == "", "too few to tell"
    told = watch._slow(later(20, 2.0, 2.0, 7.0))
    assert told.startswith(
        "rank 2 on two is slow: 0.35 s of computing a batch, 0.10 s on the others"
    )
    assert watch._slow(later(40, 4.0, 4.0, 15.0)) == "", "it has been told"
    assert "rank 1" in watch._slow(later(60, 5.0, 15.0, 16.0))


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_no_thread_outlives_the_watch(
    error: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.distributed import HashStore

    store = HashStore()
    store.set("sign/1", json.dumps(asdict(replace(RUNS, rank=1, left=True))))
    monkeypatch.setattr("lingotune.training.watch._store", lambda rank: store)
    monkeypatch.setattr("lingotune.training.distributed.barrier", lambda rank: None)

    def named() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("watch ")]

    with suppress(ValueError, KeyboardInterrupt), watching(Rank(0, 0, 2), 45, 45):
        assert len(named()) == 2
        if error:
            raise error
    assert named() == []


def test_a_process_that_nobody_joins_ends_in_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It would wait half an hour in silence for one that died before."""
    ends: list[int] = []
    left = threading.Event()

    def leave(code: int) -> None:
        ends.append(code)
        left.set()

    monkeypatch.setattr(distributed, "_MEETING", 0.0)
    monkeypatch.setattr(distributed.os, "_exit", leave)
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    with distributed._meeting(Rank(0, 0, 2)):
        assert left.wait(PATIENCE)
    assert ends == [9] and "not all 2 processes have come" in capsys.readouterr().err
    assert (tmp_path / "failure").read_text().endswith("(exit code 9)")
    monkeypatch.setattr(distributed, "_MEETING", PATIENCE)
    with distributed._meeting(Rank(0, 0, 2)):
        pass
    assert ends == [9]
