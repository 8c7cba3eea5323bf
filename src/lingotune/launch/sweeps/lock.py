"""The lock of a sweep: one controller at a time."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program

LOCK = "lock"
"""File in the folder of a sweep."""


@contextmanager
def only_controller(folder: Path) -> Iterator[None]:
    """Hold a sweep until the block ends; ConfigError if another process does, or no file can be made."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        what = "another process is running this sweep"
        fix = f"wait for it; what it has: {program('results')} {shlex.quote(str(folder))}"
        raise ConfigError([Problem(str(folder), what, fix)]) from None
    except OSError as error:
        what = f"no file can be written there: {error.strerror or error}"
        raise ConfigError([Problem(str(folder), what, "runs_dir=FOLDER")]) from error
    with lock:
        yield
