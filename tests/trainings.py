"""Processes for sweeps on this machine: trainings of a warm process, and what only looks like one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import warm
from conftest import ROOT

from lingotune.launch.sweeps import local

_FAKE = str(ROOT / "tests" / "faketrain.py")


def fake(
    command: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | None, kept: int
) -> local.Process:
    """Start tests/faketrain.py with the plan of this folder in place of a training."""
    given = command[command.index("--job") :]
    return local.spawn(
        [sys.executable, "-S", _FAKE, "plan.json", *given], environment, output, kept
    )


def forked(
    command: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | None, kept: int
) -> local.Process:
    """Start a training as a fork of a warm process, without pictures."""
    whole = {**environment, **warm.WITHOUT_PICTURES}
    start = [str(ROOT / "train.py"), *command[command.index("--job") :]]
    assert warm.is_warm(start, whole)
    out = output or sys.__stdout__
    assert out is not None
    return warm.server_for(start, whole).start(start, Path.cwd(), whole, out, out)
