"""A port at which processes of this machine can meet."""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _COUNT = 20_000, 12_000
"""Ports that no outgoing connection is given, on Linux (from 32768) and macOS (from 49152)."""
_APART = 31
_calls = itertools.count()


def free_port() -> int:
    """Find a port that nobody listens on; OSError if there is none.

    Another process could take it before it is used. Each process, and each call, begins elsewhere, so that
    commands that start at once find different ones.
    """
    start = _APART * os.getpid() + next(_calls)
    for number in range(start, start + _COUNT):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", _FIRST + number % _COUNT))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    raise OSError(f"no port from {_FIRST} to {_FIRST + _COUNT} is free")
