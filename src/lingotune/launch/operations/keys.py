"""Keys that are typed while something is shown on a terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable
from types import TracebackType


class Keys:
    """Context manager that takes single keys without Enter and without showing them.

    Ctrl-C still interrupts. Where standard input is no terminal, or the process is in the background,
    nothing is read. sleep: waits there.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._before: list[object] | None = None

    def __enter__(self) -> Keys:
        if sys.stdin is not None and sys.stdin.isatty() and _in_front():
            self._before = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)  # type: ignore[arg-type]

    @property
    def work(self) -> bool:
        """True if keys are read."""
        return self._before is not None

    def typed(self, seconds: float) -> str:
        """Wait for keys, at most so long; '' if none came."""
        if self._before is None:
            self._sleep(seconds)
            return ""
        if not select.select([sys.stdin], [], [], seconds)[0]:
            return ""
        keys = os.read(sys.stdin.fileno(), 64)
        if not keys:  # the terminal was closed
            self._sleep(seconds)
        return keys.decode("ascii", "replace")


def _in_front() -> bool:
    """Tell whether the process may change the terminal: one in the background would be stopped."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False
