"""Helper processes that never outlive the process they help."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar

from lingotune.config.standard_streams import prepare_streams

_T = TypeVar("_T")


class _Process(SpawnProcess):
    """A spawned process that does not run the user's script again.

    A script that calls the library without `if __name__ == "__main__"` would start over in each helper,
    and wait there for locks that its first run holds. Helpers never need anything from it.
    """

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # multiprocessing's own name
        main = sys.modules["__main__"]
        hidden = {name: vars(main).pop(name, None) for name in ("__spec__", "__file__")}
        main.__spec__ = None
        try:
            return SpawnProcess._Popen(process_obj)
        finally:
            vars(main).update({name: value for name, value in hidden.items() if value is not None})


class _Spawning(SpawnContext):
    """Context that spawns processes, as threads (a tokenizer's, torch's) do not survive a fork."""

    Process = _Process


@contextmanager
def helpers(count: int, begin: Callable[[], None] | None = None) -> Iterator[Executor]:
    """Yield an executor with at most `count` processes, each started on demand and calling `begin` first.

    The processes end at once when the block does, whatever they are doing, and when this process does,
    even if it is killed. If one of them is killed, its futures and every later `submit` raise
    concurrent.futures.BrokenExecutor; it is up to the caller to start new ones.
    """
    context = _Spawning()
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, context, _begin, (theirs, begin))
    try:
        yield pool
    finally:
        # Close the pipe first: if a helper was killed while it took its work, the others would wait
        # forever, and shutdown for them.
        ours.close()
        theirs.close()
        pool.shutdown(cancel_futures=True)


class LastingHelper:
    """One helper process, started on demand, and started anew if it was killed. A context manager, or
    closed with `close`."""

    def __init__(self) -> None:
        self._life = ExitStack()
        self._pool: Executor | None = None

    def __enter__(self) -> LastingHelper:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        self._pool = None
        self._life.close()

    def submit(self, function: Callable[..., _T], *arguments: Any) -> Future[_T]:
        """Start the call in the process; its future raises BrokenExecutor if the process dies.

        OSError or RuntimeError if no process can be started.
        """
        if self._pool is not None:
            try:
                return self._pool.submit(function, *arguments)
            except BrokenExecutor:  # killed since the last call: a broken pool stays broken
                self.close()
        self._pool = self._life.enter_context(helpers(1))
        return self._pool.submit(function, *arguments)


def _begin(parent: Connection, begin: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    prepare_streams()
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    if begin is not None:
        begin()


def _end_with(parent: Connection) -> None:
    """Exit when the parent does; an orphaned helper would wait for work forever."""
    try:
        parent.recv()  # nothing is ever sent: this returns when the other end is closed
    except (EOFError, OSError):
        os._exit(1)
