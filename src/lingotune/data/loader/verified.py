"""Files that are compared with their SHA-256 when they are opened, once on a machine.

A file of gigabytes takes seconds to hash. That it was found as it should be is remembered under its device,
inode, size and time of change, for all processes and runs of this user.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

from lingotune.system.cache import cache_folder
from lingotune.system.hashing import sha256_of

_SETTLED = 2.0
"""Seconds after which a change of a file shows in its time on any file system."""


def is_as_written(path: Path, sha256: str) -> bool:
    """Tell whether a file has this SHA-256. OSError if it cannot be read."""
    found = path.stat()
    mark = _marks() / _name(found, sha256)
    if mark.exists():
        return True
    with _one_at_a_time():
        if mark.exists():  # another process was faster
            return True
        if sha256_of(path) != sha256:
            return False
    if time.time() - found.st_mtime > _SETTLED and _name(path.stat(), sha256) == mark.name:
        with suppress(OSError):  # a folder that cannot be written to: it is hashed again next time
            mark.touch()
    return True


def _marks() -> Path:
    return cache_folder() / "verified"


def _name(found: os.stat_result, sha256: str) -> str:
    identity = (
        platform.node(),
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        sha256,
    )
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _one_at_a_time() -> IO[str] | nullcontext[None]:
    """Open and lock a file, so that the processes of a machine do not all hash the same bytes."""
    try:
        _marks().mkdir(parents=True, exist_ok=True)
        lock = (_marks() / "lock").open("w")
    except OSError:
        return nullcontext()
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
