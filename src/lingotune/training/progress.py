"""Progress of this process's main thread, for the watch over the processes: how far, since when, how fast.

Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

UPDATE, SCORING = "update", "scoring"
"""Kinds of work that go in steps of about the same length: micro-batches, batches that are scored."""
_FIRST = 3
"""Steps of a kind before the longest so far says how long one may take."""
_TIMES_THE_LONGEST = 10


class Progress:
    """Steps of a main thread.

    moves: how many so far. busy: seconds in `computing`, without waiting for other processes. steady: False
    where any step may take minutes, as it may compile.
    """

    def __init__(self) -> None:
        self.moves, self.busy, self.steady = 0, 0.0, True
        self._kind, self._at = "", time.monotonic()
        self._counts: dict[str, int] = {}
        self._longest: dict[str, float] = {}

    def move(self, kind: str) -> None:
        """Note that a step begins."""
        now, before = time.monotonic(), self._at
        if kind == self._kind and self._counts[kind] >= _FIRST:
            self._longest[kind] = max(self._longest.get(kind, 0.0), now - before)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        self._kind, self._at = kind, now
        self.moves += 1

    def pause(self) -> None:
        """Note that something else comes, which may take long: computing scores, saving, the end."""
        self._kind, self._at = "", time.monotonic()

    def skip(self, seconds: float) -> None:
        """Leave out a time in which this process was stopped itself."""
        self._at += seconds

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Count the block as work of this process alone."""
        begun = time.perf_counter()
        yield
        self.busy += time.perf_counter() - begun

    def still(self) -> float:
        """Return the seconds since the last step or pause."""
        return time.monotonic() - self._at

    def limit(self, hang_timeout: float, otherwise: float) -> float:
        """Return the seconds without a step after which this process hangs.

        otherwise: for what does not go in steps, and for the first ones.
        """
        if not self.steady or self._counts.get(self._kind, 0) <= _FIRST:
            return otherwise
        return max(hang_timeout, _TIMES_THE_LONGEST * self._longest.get(self._kind, 0.0))


progress = Progress()
"""That of this process."""
