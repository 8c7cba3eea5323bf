"""Digests of files. Standard library only."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Compute a file's SHA-256, 64 hexadecimal digits, block by block; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
