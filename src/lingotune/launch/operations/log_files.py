"""Evaluations from the log of a fetched job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.launch.operations.progress import evaluations_in
from lingotune.launch.sweeps.trial import Evaluation

LOG = "log.txt"
"""File in a run folder: the lines of all hosts."""


def evaluations_of(folder: Path) -> Sequence[Evaluation]:
    """Read the evaluations from a run folder's log; none without one."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    return evaluations_in(lines)
