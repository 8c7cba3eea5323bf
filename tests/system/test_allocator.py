"""What is freed is kept for the next tensor, where glibc can be told so."""

from __future__ import annotations

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lingotune.config.schema import JobConfig
from lingotune.system import allocator
from lingotune.training import distributed
from lingotune.training.distributed import Rank

FAULTS = """
import resource, sys
from lingotune.system.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for number in range(11):
    taken = bytearray(64 << 20)  # far above any threshold of glibc
    taken[::4096] = b"x" * len(taken[::4096])
    del taken
    if not number:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_that_is_freed_is_not_mapped_anew() -> None:
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", FAULTS, how], text=True))
        for how in ("kept", "given back")
    }
    assert faults["kept"] * 10 < faults["given back"]


def test_a_process_that_trains_on_a_cpu_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(distributed, "keep_freed_memory", lambda: told.append(True))
    job = JobConfig()
    distributed.join(job, Rank(0, 0, 1))
    assert told == [True]
    job.training.fit_memory = True
    distributed.join(job, Rank(0, 0, 1))
    assert told == [True]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not allocator.keep_freed_memory()
