"""Digests of files. Standard library only."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

_SETTLED = 2.0
"""Seconds after which a change of a file shows in its times on any file system."""
_known: dict[tuple[str, int, int, int, int], str] = {}


def sha256_of(path: Path) -> str:
    """Compute a file's SHA-256, 64 hexadecimal digits, block by block; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_once(path: Path) -> str:
    """Compute a file's SHA-256 once in a process, and again only if the file has changed.

    For files that take seconds: each job of a sweep asks for those of its model. OSError if it cannot be
    read.
    """
    found = path.stat()
    state = (
        str(path.absolute()),
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )
    known = _known.get(state)
    if known is None:
        known = sha256_of(path)
        if time.time() - max(found.st_mtime, found.st_ctime) > _SETTLED:
            _known[state] = known
    return known
