"""Who may read what a command writes: run folders, prepared data and caches hold people's texts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lingotune.config.schema import RunsMode

_VARIABLE = "LINGOTUNE_RUNS_MODE"
"""Variable that hands `runs_mode` to the processes that this one starts."""
_MASKS = {RunsMode.private: 0o077, RunsMode.group: 0o027, RunsMode.everyone: 0o022}
_UNSAID = (0o022, 0o002)
"""What systems set where nobody has said who may read files."""


@contextmanager
def private_files() -> Iterator[None]:
    """Write files in the block for this user alone (0600, folders 0700), unless a umask of somebody's
    choice says otherwise, or `allow_readers` has been called."""
    usual = os.umask(0o077)
    chosen = _MASKS.get(_of_environment())  # type: ignore[arg-type]
    if chosen is not None or usual not in _UNSAID:
        os.umask(usual if chosen is None else chosen)
    try:
        yield
    finally:
        os.umask(usual)


def allow_readers(mode: RunsMode) -> None:
    """Let others read what this process and those it starts write from now on."""
    if mode is not RunsMode.private:
        os.environ[_VARIABLE] = mode.value
        os.umask(_MASKS[mode])


def _of_environment() -> RunsMode | None:
    try:
        return RunsMode(os.environ.get(_VARIABLE))
    except ValueError:
        return None
