"""Helper processes: what their caller sees if one is killed, and that they end when it does."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest
from conftest import run
from waiting import PATIENCE

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
        pool.submit(time.sleep, 2 * PATIENCE)
    assert time.monotonic() - begun < PATIENCE and not Path(f"/proc/{process}").exists()


def test_a_script_without_a_guard_is_not_run_again(tmp_path: Path) -> None:
    """As a user's script calls the library: helpers would run it once more, and wait for one another."""
    script = tmp_path / "script.py"
    script.write_text(
        "from lingotune.system.helper_processes import helpers\n"
        "print('begun')\n"
        "with helpers(2) as pool:\n"
        "    print(pool.submit(abs, -3).result(), __file__.rpartition('/')[2])\n"
    )
    assert run(str(script)).stdout == "begun\n3 script.py\n"
