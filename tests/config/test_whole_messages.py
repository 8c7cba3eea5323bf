"""Processes that write to one pipe: the lines of a message and their end are written at once."""

from __future__ import annotations

import io
import sys

import pytest

from lingotune.config.console import say, say_aside


class Pipe(io.RawIOBase):
    """A pipe that keeps apart what the system is asked to write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.writes.append(bytes(data))
        return len(data)


def stream_of(pipe: Pipe) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(pipe), encoding="utf-8", line_buffering=True)


@pytest.mark.parametrize(("tell", "name"), [(say, "stdout"), (say_aside, "stderr")])
def test_a_message_of_several_lines_is_one_write(
    tell: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = Pipe()
    monkeypatch.setattr(sys, name, stream_of(pipe))
    assert callable(tell)
    tell("lingotune: 1 problem\n  lr=0\n      is out of range")
    assert pipe.writes == [b"lingotune: 1 problem\n  lr=0\n      is out of range\n"]


def test_the_control_print_parts_it() -> None:
    pipe = Pipe()
    print("one\ntwo", file=stream_of(pipe), flush=True)
    assert pipe.writes == [b"one\ntwo", b"\n"]
