"""The processes of a job on this machine: one per rank, as by torchrun, but their exit codes are kept.

torchrun ends with 1 for any of them, answers a signal with a traceback, and takes seconds to start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lingotune.config.console import say_aside
from lingotune.config.problems import PEER_LOST
from lingotune.launch.free_port import free_port
from lingotune.system.signals import handled

_LOOK = 0.1
"""Seconds between two looks at the processes."""
_GRACE = 60.0
"""Seconds that the others have to end once one has failed; they notice by themselves."""
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_ranks(command: Sequence[str], count: int, output: int | None) -> int:
    """Run a command once for each of `count` ranks, until all have ended; returns the exit code of the job.

    output: where standard output goes, as in subprocess. Signals reach each process once: it saves a
    checkpoint and ends.
    """
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    common |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    common.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does: they share the cores
    started: list[subprocess.Popen[bytes]] = []
    with _forwarding(started) as forwards:
        for rank in map(str, range(count)):
            environment = {**common, "RANK": rank, "LOCAL_RANK": rank}
            started.append(
                subprocess.Popen(
                    command, env=environment, stdout=output, start_new_session=forwards
                )
            )
        try:
            return _code([*_ended(started)])
        finally:
            for process in started:
                process.kill()
                process.wait()


def _ended(started: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Wait for all processes; kills those that are left a while after one has failed."""
    deadline = float("inf")
    while None in (codes := [process.poll() for process in started]):
        if any(codes) and deadline == float("inf"):
            deadline = time.monotonic() + _GRACE
        if time.monotonic() > deadline:
            for process in started:
                process.kill()
        time.sleep(_LOOK)
    ended = [process.wait() for process in started]
    if time.monotonic() < deadline + _LOOK:
        _say_killed(ended)
    return ended


def _say_killed(codes: Sequence[int]) -> None:
    """Name the processes that a signal ended, which could not say so themselves."""
    for rank, code in enumerate(codes):
        if code < 0:
            memory = ", by Linux for want of memory perhaps" if code == -signal.SIGKILL else ""
            known = {number.value: number.name for number in signal.Signals}
            name = known.get(-code, f"signal {-code}")
            say_aside(f"lingotune: rank {rank} was killed by {name}{memory}")


def _code(codes: Sequence[int]) -> int:
    """Choose among the exit codes of all ranks: that of the one for which the others have ended."""
    own = [code for code in codes if code > 0 and code != PEER_LOST]
    return own[0] if own else PEER_LOST if any(codes) else 0


@contextmanager
def _forwarding(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[bool]:
    """Pass signals on to processes during the block; yields False in a thread that gets none."""
    if threading.current_thread() is not threading.main_thread():
        yield False
        return

    def forward(number: int, frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    numbers = [n for n in _FORWARDED if signal.getsignal(n) is not signal.SIG_IGN]
    with handled(numbers, forward):
        yield True
