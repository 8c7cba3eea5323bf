"""Runs of several processes each, forked from one that has imported everything: seconds instead of tens.

python tests/forked.py PROCESSES JOB_FILE RUN_DIR [JOB_FILE RUN_DIR ...]   exit code 0 if all ended well

Each process's output goes to RUN_DIR.RANK.log; `{rank}` in JOB_FILE is its rank. Those that are left while
others have ended long ago are killed, as torchrun does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

GRACE = 30.0
"""Seconds that the others have to end once one has failed."""


def ranks(
    count: int, job_file: str, run_dir: str, begin: Callable[[int], None] = lambda rank: None
) -> list[int]:
    """Exit codes of a run's processes, each of which begins with `begin`."""
    name_meeting(count)
    children = [_start(rank, job_file, run_dir, begin) for rank in range(count)]
    codes = ended(children)
    print(f"exit codes {codes}", flush=True)
    return codes


def name_meeting(count: int) -> None:
    """Choose where so many processes will meet."""
    from lingotune.launch.free_port import free_port

    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    os.environ |= {**meeting, "WORLD_SIZE": str(count)}


def ended(children: list[int]) -> list[int]:
    """Exit codes of processes, once all have ended."""
    codes: dict[int, int] = {}
    deadline = float("inf")
    while len(codes) < len(children):
        for child in set(children) - set(codes):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
                deadline = min(deadline, time.monotonic() + GRACE) if codes[child] else deadline
            elif time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return [codes[child] for child in children]


def _start(rank: int, job_file: str, run_dir: str, begin: Callable[[int], None]) -> int:
    child = os.fork()
    if child:
        return child
    with Path(f"{run_dir}.{rank}.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    begin(rank)
    from lingotune.config.console import exit_code_of
    from lingotune.training.run import main

    code = exit_code_of(lambda: main(["--job", job_file.format(rank=rank), "--run-dir", run_dir]))
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    import lingotune.report.charts
    import lingotune.report.tables
    import lingotune.training.fit  # noqa: F401  imported once, for all runs

    count, *pairs = sys.argv[1:]
    runs = zip(pairs[::2], pairs[1::2])
    sys.exit(max(abs(code) for pair in runs for code in ranks(int(count), *pair)))
