"""Folders among the checkpoints that are in the way: they get another name, and are kept."""

from __future__ import annotations

from pathlib import Path

from lingotune.system.files import unused

ASIDE = ("unfinished", "damaged", "ahead", "earlier")
"""How the names of folders begin that were set aside: still being written when the run was killed; not as
they were written; newer than what all nodes have; of a training that was started over."""


def set_aside(folder: Path, why: str) -> Path:
    """Rename a folder that is in the way, and keep it; returns its place. why: one of `ASIDE`."""
    assert why in ASIDE
    place = unused(folder.with_name(f"{why}-{folder.name}"))
    folder.rename(place)
    return place


def aside_in(root: Path) -> list[Path]:
    """List the folders that were set aside."""
    return sorted(path for why in ASIDE for path in root.glob(f"{why}-checkpoint-*"))
