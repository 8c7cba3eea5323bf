"""How far a transfer is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

PAUSE = 5.0
"""Seconds between two lines where there is no terminal for a bar."""

Tell = Callable[[str], None]


@contextmanager
def progress(total: int, tell: Tell) -> Iterator[Callable[[int], None]]:
    """Told of bytes as they go: a bar with rate and time left on a terminal, else a line now and then."""
    if not (total and sys.stderr.isatty()):
        yield _Lines(total, tell)
        return
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
    except ImportError:  # a worker has none
        yield _Lines(total, tell)
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    # What is printed meanwhile belongs to stdout, wherever that goes.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)


class _Lines:
    """Progress as lines."""

    def __init__(self, total: int, tell: Tell) -> None:
        self._total, self._tell, self._lock = total, tell, Lock()
        self._done, self._begun = 0, time.monotonic()
        self._next = self._begun + PAUSE

    def __call__(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now < self._next or self._done <= 0:  # nothing is through where all is sent again
                return
            self._next = now + PAUSE
            rate = self._done / (now - self._begun)
            left = max(0, self._total - self._done) / rate
            done, total = self._done / 1e6, self._total / 1e6
            self._tell(f"  {done:.0f} of {total:.0f} MB, {rate / 1e6:.1f} MB/s, {left:.0f} s left")
