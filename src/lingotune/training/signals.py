"""Signals that ask a training to end: it saves a checkpoint first, and exits with the code for "go on".

A thread reads them from Python's wakeup pipe, as handlers run only between two bytecodes: never while the
main thread waits for other processes inside a library. Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lingotune.config.console import say_aside
from lingotune.config.faults import KILLED
from lingotune.config.problems import INTERRUPTED, PREEMPTED
from lingotune.system.signals import handled
from lingotune.training import failure

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""Signals that end a run: of a stopped job or a spot machine, of a closed terminal, of Ctrl-C."""
_ONE_PRESS = 0.5
"""Seconds within which a signal that comes again is the same: a terminal sends Ctrl-C to torchrun and to
its processes, and torchrun passes it on to them."""

_ALONE = "the job was stopped"
_OTHERS = f"another rank failed, or the job was stopped. {KILLED.rstrip('.')}"


@dataclass
class _State:
    """What the thread knows. seconds: for saving a checkpoint; None where there is nothing to save."""

    rank: int = 0
    seconds: float | None = None
    asked: int = 0
    at: float = 0.0


_state: _State | None = None


@contextmanager
def armed(rank: int) -> Iterator[None]:
    """Have SIGTERM and SIGHUP end this process with a message and an exit code while the block runs.

    In the main thread only. A signal that the parent has this process ignore (nohup) stays ignored. Ctrl-C
    remains a KeyboardInterrupt, except within `deferred`.
    """
    global _state
    if threading.current_thread() is not threading.main_thread() or _state is not None:
        yield
        return
    _state = _State(rank)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    numbers = [
        n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN
    ]
    with handled(numbers, _nothing):
        waking = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watch = threading.Thread(target=_watch, args=(reading, _state), daemon=True, name="signals")
        watch.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(waking)
            os.close(writing)  # which ends the thread
            _state = None


@contextmanager
def deferred(seconds: float) -> Iterator[None]:
    """Keep signals for `asked` while the block runs, at most so many seconds; the next one ends at once.

    Nothing changes in a process that is not armed.
    """
    if _state is None:
        yield
        return
    with handled([signal.SIGINT], _nothing):
        _state.seconds = seconds
        try:
            yield
        finally:
            _state.seconds = None


def asked() -> int:
    """Return the number of the signal that this process has been sent within `deferred`; 0 for none."""
    return _state.asked if _state else 0


@contextmanager
def importing(said: str = "") -> Iterator[None]:
    """End the process at once, without a traceback, for a signal that comes during the block.

    Libraries that are being imported turn a KeyboardInterrupt into errors of their own. said: what is told
    then, on standard error.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in ENDING if signal.getsignal(n) not in (signal.SIG_IGN, _nothing)]

    def end(number: int, frame: object) -> None:
        os.write(2, f"{said}lingotune: stopped\n".encode())
        os._exit(_code(number))

    try:
        with handled(numbers, end):
            yield
    finally:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # of an entry point of ours
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _nothing(number: int, frame: object) -> None:
    """Handle a signal: the thread does."""


def _watch(reading: int, state: _State) -> None:
    while True:
        left = None
        if state.asked and state.seconds is not None:
            left = max(0.0, state.at + state.seconds - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            _leave(state, state.asked, f"no checkpoint could be saved within {state.seconds:g} s")
        numbers = os.read(reading, 64)
        if not numbers:
            os.close(reading)
            return
        for number in numbers:
            if number in ENDING:
                _take(state, number)


def _take(state: _State, number: int) -> None:
    if state.seconds is None:
        if number != signal.SIGINT:  # that is a KeyboardInterrupt
            _leave(state, number, _OTHERS if os.environ.get("WORLD_SIZE", "1") != "1" else _ALONE)
    elif not state.asked:
        state.asked, state.at = number, time.monotonic()
        if state.rank == 0:
            name = signal.Signals(number).name
            say_aside(
                f"{name}: a checkpoint is saved, then this run stops; once more stops at once"
            )
    elif time.monotonic() - state.at > _ONE_PRESS:
        _leave(state, number, "the second signal")


def _leave(state: _State, number: int, why: str) -> None:
    name, code = signal.Signals(number).name, _code(number)
    said = f"ended from outside ({name}): {why}. The last checkpoint is kept."
    text = failure.told(said, state.rank, code)
    failure.write(os.environ, text)
    say_aside(f"lingotune: {text}")
    os._exit(code)


def _code(number: int) -> int:
    return INTERRUPTED if number == signal.SIGINT else PREEMPTED
