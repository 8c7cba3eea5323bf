"""Files that are whole at any time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    with replacing(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside a file's place, which takes that place once the block has ended well."""
    unfinished = path.with_name(f"{path.name}.tmp")
    yield unfinished
    unfinished.replace(path)
