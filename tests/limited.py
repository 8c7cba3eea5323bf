"""Runs whose processes may take only so much more memory than they have: below `ulimit -v`, as on a GPU.

python tests/limited.py MIB PROCESSES JOB_FILE RUN_DIR   exit code: the largest of the processes'

MIB may be a number for each process, with commas. Each process's output goes to RUN_DIR.RANK.log, as with
tests/forked.py.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

from forked import ranks

_MALLOPT = {-8: 1, -3: 1 << 20}
"""M_ARENA_MAX: a heap for each thread would take all there is. M_MMAP_THRESHOLD: what is freed is given
back, as the larger tensors of a real training are."""


def limit(mib: int) -> None:
    """Let this process, and its forks, map `mib` MiB more than now."""
    for name, value in _MALLOPT.items():
        ctypes.CDLL(None).mallopt(name, value)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + (mib << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def of_rank(each: str, rank: int) -> int:
    """Return the MiB of a process: its own number, or the only one."""
    numbers = each.split(",")
    return int(numbers[rank % len(numbers)])


if __name__ == "__main__":
    import lingotune.report.charts
    import lingotune.report.tables
    import lingotune.training.fit  # noqa: F401  mapped before the limit

    each, processes, *run = sys.argv[1:]
    sys.exit(max(ranks(int(processes), *run, begin=lambda rank: limit(of_rank(each, rank)))))
