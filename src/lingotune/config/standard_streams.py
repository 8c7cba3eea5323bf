"""Standard streams that are there, take every character, and show no secrets, whoever writes to them."""

from __future__ import annotations

import codecs
import functools
import json
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from lingotune.config.secrets import redacted

_ESCAPED = "lingotune-escaped"
"""Name of the error handler for characters that a stream's encoding lacks."""


def prepare_streams() -> None:
    """Prepare what this process reads and writes from now on: prints, logs, warnings of libraries,
    tracebacks. The streams stay the objects that others hold."""
    _open_missing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=_ESCAPED)
        if not hasattr(stream.write, "__wrapped__"):
            stream.write = _redacting(stream.write)  # type: ignore[method-assign]


def _open_missing() -> None:
    """Open what was closed before this process began, such as by `>&-`, on nothing.

    Otherwise the next file that is opened would take its number, and get what children print.
    """
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Given the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Write characters as JSON does, so that JSON stays what it is: é as `\\u00e9`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return json.dumps(lacking)[1:-1], error.end


codecs.register_error(_ESCAPED, _escaped)


def _redacting(write: Callable[[str], int]) -> Callable[[str], int]:
    @functools.wraps(write)
    def redacting(text: str) -> int:
        write(redacted(text))
        return len(text)

    return redacting
