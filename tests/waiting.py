"""Waiting for a state that another process or thread brings about, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 600.0
"""Seconds after which something hangs. Only there to end it: a busy machine may be ten times slower."""

T = TypeVar("T")


def wait_until(met: Callable[[], T], going: Callable[[], bool] = lambda: True) -> T:
    """Return what `met` returns once that is true; AssertionError if it is not when `going` has ended."""
    deadline = time.monotonic() + PATIENCE
    while True:
        last = not going()
        if found := met():
            return found
        assert not last, "it ended before that"
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s"
        time.sleep(0.02)
