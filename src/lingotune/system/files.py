"""Files that are whole at any time."""

from __future__ import annotations

from pathlib import Path


def unused(path: Path) -> Path:
    """Return a path that nothing lies at: this one, or with `-2` and so on behind its name."""
    number, free = 1, path
    while free.exists() or free.is_symlink():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file beside its place, then put it there: whoever reads it finds the old or the new one.

    OSError if it cannot be written; the old one is then left.
    """
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)
