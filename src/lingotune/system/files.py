"""Files that are whole at any time."""

from __future__ import annotations

from pathlib import Path


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file beside its place, then put it there: whoever reads it finds the old or the new one.

    OSError if it cannot be written; the old one is then left.
    """
    unfinished = path.with_name(f"{path.name}.tmp")
    unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
    unfinished.replace(path)
