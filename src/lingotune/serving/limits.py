"""Limits on what a server takes: requests a second, and requests that wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MOST_BYTES = 6 * 1024 * 1024
"""Size of a request, that of a real-time endpoint on SageMaker."""
MOST_WAITING = 16
"""Requests that wait for the model; more are turned away."""
SECONDS = 60.0
"""Seconds that a connection may take to send its request."""


class Rate:
    """Token bucket: `per_second` requests on average, twice as many at once."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_second, clock
        self._most = max(1.0, 2 * per_second)
        self._left, self._at = self._most, clock()
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Take a token; False if there is none."""
        with self._lock:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._at) * self._per_second)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True
