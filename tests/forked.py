"""Runs of several processes each, forked from one that has imported everything: seconds instead of tens.

python tests/forked.py PROCESSES JOB_FILE RUN_DIR [JOB_FILE RUN_DIR ...]   exit code 0 if all ended well

Each process's output goes to RUN_DIR.RANK.log; `{rank}` in JOB_FILE is its rank.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def ranks(count: int, job_file: str, run_dir: str) -> list[int]:
    """Exit codes of a run's processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    children = [_start(rank, job_file, run_dir) for rank in range(count)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _start(rank: int, job_file: str, run_dir: str) -> int:
    child = os.fork()
    if child:
        return child
    with Path(f"{run_dir}.{rank}.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
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
