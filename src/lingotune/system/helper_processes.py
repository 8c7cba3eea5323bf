"""Processes that help with something, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from threading import Thread

from lingotune.config.problems import ConfigError, Problem


@contextmanager
def helpers(count: int, begin: Callable[[], None] | None = None) -> Iterator[Executor]:
    """At most `count` processes, started when there is work for them; each calls `begin` first.

    They end with the block, at once, whatever they do, and with this process, even if it is killed.
    ConfigError if one of them was killed.
    """
    # Not forked: the tokenizer's threads would not be there in the child.
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, context, _begin, (theirs, begin))
    try:
        yield pool
    except BrokenExecutor as error:
        what = "a process that helps to prepare it was ended from outside, as happens where memory is short"
        fix = "the same command once more: finished shards are kept"
        raise ConfigError([Problem("data", what, fix)]) from error
    finally:
        # First: one that was killed while it took its work would let the others wait for ever.
        ours.close()
        theirs.close()
        pool.shutdown(cancel_futures=True)


def _begin(parent: Connection, begin: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's matter
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    if begin is not None:
        begin()


def _end_with(parent: Connection) -> None:
    """Children of a killed parent would wait for work for ever."""
    try:
        parent.recv()  # nothing is ever sent
    except (EOFError, OSError):
        os._exit(1)
