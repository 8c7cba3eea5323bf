"""Ports at which processes meet: free ones, and others for each that asks."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from lingotune.launch.free_port import free_port


def test_a_port_that_is_taken_is_passed_over_and_none_is_given_twice() -> None:
    found = [free_port() for _ in range(30)]
    assert len(set(found)) == 30
    assert all(20_000 <= port < 32_000 for port in found), "no outgoing connection is given it"
    following = found[-1] + 1 if found[-1] < 31_999 else 20_000
    with socket.socket() as taken, suppress(OSError):  # or another process has it
        taken.bind(("127.0.0.1", following))
        assert free_port() != following


def test_processes_that_ask_at_once_find_different_ones() -> None:
    """They are forks, of which none listens yet, as commands that start together are."""
    pipes = []
    for _ in range(8):
        reads, writes = os.pipe()
        if not os.fork():
            try:
                os.write(writes, b"%d" % free_port())
            finally:
                os._exit(0)  # whatever happens, it does not go on with the tests
        os.close(writes)
        pipes.append(os.fdopen(reads))
    found = []
    for pipe in pipes:
        with pipe:
            found.append(int(pipe.read()))
        os.wait()
    assert len(set(found)) == len(found)
