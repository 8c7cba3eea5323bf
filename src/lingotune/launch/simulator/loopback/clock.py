"""The clock of a simulated account: the machine's own, or one that runs faster."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Clock:
    """Clock that runs `speed` times as fast as this machine's.

    It says `start` (seconds since 1970) where this machine's monotonic clock, the same in all processes,
    says `origin`.
    """

    speed: float = 1.0
    start: float = field(default_factory=time.time)
    origin: float = field(default_factory=time.monotonic)

    def time(self) -> float:
        """Tell the seconds since 1970."""
        return self.start + (time.monotonic() - self.origin) * self.speed

    def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds of this clock."""
        time.sleep(max(0.0, seconds) / self.speed)
