"""Rows of all splits on their way into shards, tokenised by several processes where that pays."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import TracebackType

import numpy as np

from lingotune.data.clean import Row
from lingotune.data.encode import Encoded, Encoder, Vocabulary
from lingotune.data.parts import SPLITS
from lingotune.data.shards import Columns, Shard, finished_shard, write_shard
from lingotune.schema import ConfigError, Problem

ROWS = 25_000
"""Rows of a shard: some MB, and a few seconds to make anew where a run was cut short."""
_BATCH = 5_000
"""Texts tokenised at once."""
_LENGTHS = 4
"""Lengths are counted up to so many times max_length."""
_MOST_PROCESSES = 8


class ShardWriter:
    """Takes rows one by one and makes shards of them; a context manager.

    total: rows that will come. Shards that are there already, whole, are taken as they are. Memory
    holds the texts of one shard for each split and for each process, and as many again that wait.
    """

    def __init__(
        self, folder: Path, vocabulary: Vocabulary, total: int, tell: Callable[[str], None]
    ) -> None:
        self._folder, self._tell, self._total = folder, tell, total
        self._waiting = {split: Columns() for split in range(len(SPLITS))}
        self._shards: dict[int, list[Future[Shard]]] = {split: [] for split in self._waiting}
        self._running: list[Future[Shard]] = []
        # A process has to be started and to meet the words anew.
        count = min(os.cpu_count() or 1, _MOST_PROCESSES, total // ROWS)
        self._most = 2 * max(1, count)
        self._pool = _pool(count, vocabulary)
        self._written, self._reused = 0, 0
        self._begun = time.monotonic()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, split: int, row: Row) -> None:
        """One more row of a split, by its place in `SPLITS`."""
        columns = self._waiting[split]
        columns.text.append(row.text)
        columns.label.append(row.label)
        columns.language.append(row.language)
        columns.id.append(row.id)
        columns.stars.append(row.stars)
        if len(columns) == ROWS:
            self._close(split)
            self._progress()

    def finish(self) -> dict[str, list[Shard]]:
        """Make shards of what is left; split -> its shards."""
        for split, columns in self._waiting.items():
            if len(columns):
                self._close(split)
        with _told_if_killed():
            return {
                SPLITS[split]: [future.result() for future in futures]
                for split, futures in self._shards.items()
            }

    def _close(self, split: int) -> None:
        columns, self._waiting[split] = self._waiting[split], Columns()
        name = f"{SPLITS[split]}-{len(self._shards[split]):05d}"
        found = finished_shard(self._folder, name)
        if found is not None:
            future: Future[Shard] = Future()
            future.set_result(found)
            self._reused += len(columns)
        else:
            with _told_if_killed():
                if len(self._running) == self._most:
                    self._running.pop(0).result()
                future = self._pool.submit(_make, self._folder, name, columns)
            self._running.append(future)
            self._written += len(columns)
        self._shards[split].append(future)

    def _progress(self) -> None:
        done = self._written + self._reused
        rate = self._written / (time.monotonic() - self._begun)
        left = f", {(self._total - done) / rate:.0f} s left" if rate else ""
        self._tell(f"  {done} of {self._total} rows, {rate:.0f} rows/s{left}")


@contextmanager
def _told_if_killed() -> Iterator[None]:
    try:
        yield
    except BrokenExecutor as error:
        what = "a process that tokenises was ended from outside, as happens where memory is short"
        works = "the same command once more: finished shards are kept"
        raise ConfigError([Problem("data", what, works)]) from error


def _pool(processes: int, vocabulary: Vocabulary) -> Executor:
    if processes < 2:
        return ThreadPoolExecutor(1, initializer=_begin, initargs=(vocabulary,))
    # Not forked: the tokenizer's threads would not be there in the child.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin_process, initargs=(vocabulary,)
    )


_encoder: Encoder | None = None


def _begin_process(vocabulary: Vocabulary) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are what is parallel
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _begin(vocabulary)


def _end_with(parent: int) -> None:
    """A killed parent takes nobody along: its children would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _begin(vocabulary: Vocabulary) -> None:
    global _encoder
    _encoder = Encoder(vocabulary)


def _make(folder: Path, name: str, columns: Columns) -> Shard:
    assert _encoder is not None
    parts = [
        _encoder.encode(columns.text[start : start + _BATCH])
        for start in range(0, len(columns), _BATCH)
    ]
    fields = ("ids", "lengths", "uncut", "unknown")
    encoded = Encoded(*(np.concatenate([getattr(part, f) for part in parts]) for f in fields))
    return write_shard(folder, name, columns, encoded, _LENGTHS * _encoder.max_length)
