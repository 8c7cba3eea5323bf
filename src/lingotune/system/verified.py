"""Digests of files that are computed once on a machine.

A file of gigabytes takes seconds to hash. Its SHA-256 is kept under its device, inode, size and times of
change, for all processes and runs of this user.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

from lingotune.system.cache import cache_folder
from lingotune.system.files import replace_file
from lingotune.system.hashing import sha256_of

_SETTLED = 2.0
"""Seconds after which a change of a file shows in its time on any file system."""
_DIGEST = re.compile("[0-9a-f]{64}")


def is_as_written(path: Path, sha256: str) -> bool:
    """Tell whether a file has this SHA-256. OSError if it cannot be read."""
    return known_sha256(path) == sha256


def known_sha256(path: Path) -> str:
    """Return a file's SHA-256, 64 hexadecimal digits, computed again only if the file has changed.

    OSError if it cannot be read.
    """
    found = path.stat()
    kept = _kept() / _name(found)
    if digest := _read(kept):
        return digest
    with _one_at_a_time(kept):
        if digest := _read(kept):  # another process was faster
            return digest
        digest = sha256_of(path)
    if time.time() - found.st_mtime > _SETTLED and _name(path.stat()) == kept.name:
        with suppress(OSError):  # a folder that cannot be written to: it is hashed again next time
            replace_file(kept, digest)
    return digest


def _kept() -> Path:
    return cache_folder() / "verified"


def _read(kept: Path) -> str | None:
    try:
        text = kept.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if _DIGEST.fullmatch(text) else None


def _name(found: os.stat_result) -> str:
    identity = (
        platform.node(),
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _one_at_a_time(kept: Path) -> IO[str] | nullcontext[None]:
    """Open and lock a file, so that the processes of a machine do not all hash the same bytes."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        lock = kept.with_name(f"lock-{kept.name[0]}").open("w")  # other files are hashed meanwhile
    except OSError:
        return nullcontext()
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
