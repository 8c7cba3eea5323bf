"""Standard output and standard error without secrets, whoever writes to them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from lingotune.config.secrets import redacted


def redact_output() -> None:
    """Redact all that this process writes to both streams from now on: prints, logs, warnings of
    libraries, tracebacks. The streams stay the objects that others hold."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not hasattr(stream.write, "__wrapped__"):
            stream.write = _redacting(stream.write)  # type: ignore[method-assign]


def _redacting(write: Callable[[str], int]) -> Callable[[str], int]:
    @functools.wraps(write)
    def redacting(text: str) -> int:
        write(redacted(text))
        return len(text)

    return redacting
