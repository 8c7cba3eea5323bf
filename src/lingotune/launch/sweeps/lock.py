"""One controller of a sweep at a time on this machine."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem

LOCK = "lock"
"""File in the folder of a sweep."""
_HOLDER = "controller"


@contextmanager
def held(folder: Path) -> Iterator[str]:
    """Hold the sweep during the block: yields '', or who holds it already.

    The lock goes with its process, however that ends.
    """
    from filelock import FileLock, Timeout

    holder = folder / _HOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        yield _read(holder)
        return
    except OSError as error:
        what = f"cannot be written: {error}"
        fix = "free space on the disk, or another runs_dir=FOLDER; nothing was started"
        raise ConfigError([Problem(str(folder / LOCK), what, fix)]) from error
    try:
        since = time.strftime("%Y-%m-%d %H:%M")
        with suppress(OSError):  # of a full disk the ledger tells
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}")
        yield ""
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def sole(folder: Path, where: str, fix: str) -> Iterator[None]:
    """Hold the sweep during the block; ConfigError at `where` if another controller does, with a fix."""
    with held(folder) as holder:
        if holder:
            raise ConfigError([Problem(where, f"is run already, by {holder}", fix)])
        yield


def _read(holder: Path) -> str:
    try:
        return holder.read_text() or "another process"
    except OSError:
        return "another process"
