"""The clock of a simulated account: the machine's own, or one that runs faster."""

from __future__ import annotations

import time
from collections.abc import Callable

_LONGEST_WAIT = 0.05
"""Seconds of this machine between two looks at a condition."""


class Clock:
    """Clock that runs `speed` times as fast as this machine's, from `start` (seconds since 1970) on."""

    def __init__(self, speed: float = 1.0, start: float | None = None) -> None:
        self.speed = speed
        self._start = time.time() if start is None else start
        self._origin = time.monotonic()

    def time(self) -> float:
        """Tell the seconds since 1970."""
        return self._start + (time.monotonic() - self._origin) * self.speed

    def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds of this clock."""
        time.sleep(max(0.0, seconds) / self.speed)

    def wait(self, seconds: float, done: Callable[[], bool]) -> bool:
        """Wait until `done`, at most so many seconds of this clock; returns what `done` says at the end."""
        end = self.time() + seconds
        while not done():
            left = (end - self.time()) / self.speed
            if left <= 0:
                return done()
            time.sleep(min(left, _LONGEST_WAIT))
        return True
