"""Helper processes: what their caller sees when one is killed, and that they end with it."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from lingotune.system.helper_processes import helpers


def test_a_killed_helper_breaks_the_pool_and_nothing_else() -> None:
    """What that means is for the caller to say: no ConfigError comes out of here."""
    with pytest.raises(BrokenExecutor), helpers(1) as pool:
        os.kill(pool.submit(os.getpid).result(), signal.SIGKILL)
        while True:  # until the pool has noticed
            pool.submit(os.getpid).result()
    with helpers(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()


def test_helpers_end_with_the_block_whatever_they_are_doing() -> None:
    begun = time.monotonic()
    with helpers(1) as pool:
        process = pool.submit(os.getpid).result()
        pool.submit(time.sleep, 60)
    assert time.monotonic() - begun < 50 and not Path(f"/proc/{process}").exists()
