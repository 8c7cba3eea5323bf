"""Rows of all splits on their way into shards, tokenised by several processes where that pays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import fields
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lingotune.config.schema import SPLITS
from lingotune.data.prepared.encode import Encoded, Encoder, Vocabulary
from lingotune.data.prepared.shards import Columns, Shard, finished_shard, write_shard
from lingotune.data.rows.cleaner import Row
from lingotune.data.rows.label_sets import SEVERAL
from lingotune.system.helper_processes import helpers

ROWS = 25_000
"""Rows of a shard: some MB, and a few seconds to make anew where a run was cut short."""
_BATCH = 5_000
"""Texts tokenised at once."""
_LENGTHS = 4
"""Lengths are counted up to so many times max_length."""
_MOST_PROCESSES = 8


class ShardWriter:
    """Takes rows one by one and makes shards of them; a context manager.

    vocabulary: gives that of the tokenizer, once it is there; rows are taken before. total: rows that
    will come. sources: of rows -> their names, empty where they are not written. Shards that are there
    already, whole, are taken as they are. Memory holds the texts of one shard for each split and for each
    process, and as many again that wait.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary: Callable[[], Vocabulary],
        total: int,
        tell: Callable[[str], None],
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self._sources = sources or {}
        self._folder, self._vocabulary, self._tell, self._total = folder, vocabulary, tell, total
        self._waiting = {split: Columns() for split in range(len(SPLITS))}
        self._shards: dict[int, list[Future[Shard]]] = {split: [] for split in self._waiting}
        self._running: list[Future[Shard]] = []
        # A process has to be started and to meet the words anew.
        self._processes = max(1, min(os.cpu_count() or 1, _MOST_PROCESSES, total // ROWS))
        self._pool: Executor | None = None
        self._exit = ExitStack()
        self._told, self._reused = 0, 0
        self._begun = time.monotonic()

    def __enter__(self) -> ShardWriter:
        # Each thread waits for the vocabulary, and then for a process that makes its shard.
        self._threads = self._exit.enter_context(ThreadPoolExecutor(self._processes))
        self._exit.callback(_encoder_of.cache_clear)
        if self._processes > 1:
            self._pool = self._exit.enter_context(helpers(self._processes, _begin))
        self._exit.callback(self._threads.shutdown, wait=False, cancel_futures=True)
        return self

    def __exit__(self, *error: Any) -> None:
        self._exit.__exit__(*error)

    def add(self, split: int, row: Row) -> None:
        """One more row of a split, by its place in `SPLITS`."""
        columns = self._waiting[split]
        columns.text.append(row.text)
        columns.label.append(_first_class(row))
        columns.language.append(row.language)
        columns.id.append(row.id)
        columns.stars.append(row.stars)
        columns.targets.append(row.targets)
        if self._sources:
            columns.source.append(self._sources.get(row.source or ""))
        columns.several = row.label == SEVERAL
        if len(columns) == ROWS:
            self._close(split)
            self._progress()

    def finish(self) -> dict[str, list[Shard]]:
        """Make shards of what is left; split -> its shards."""
        for split, columns in self._waiting.items():
            if len(columns):
                self._close(split)
        for _ in as_completed(chain.from_iterable(self._shards.values())):
            self._progress()
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
            if len(self._running) == 2 * self._processes:
                self._running.pop(0).result()
            future = self._threads.submit(self._make, name, columns)
            self._running.append(future)
        self._shards[split].append(future)

    def _make(self, name: str, columns: Columns) -> Shard:
        given = self._vocabulary(), self._folder, name, columns
        return self._pool.submit(_make, *given).result() if self._pool else _make(*given)

    def _progress(self) -> None:
        """Tell of shards that were finished since; an error of one of them is raised."""
        futures = chain.from_iterable(self._shards.values())
        done = sum(future.result().rows for future in futures if future.done())
        if done > self._told and self._total > ROWS:  # few rows are ready in a moment
            self._told = done
            rate = (done - self._reused) / (time.monotonic() - self._begun)
            left = f", {(self._total - done) / rate:.0f} s left" if rate else ""
            self._tell(f"  {done} of {self._total} rows, {rate:.0f} rows/s{left}")


def _first_class(row: Row) -> int:
    if row.label != SEVERAL or row.targets is None:
        return row.label
    return next(iter(row.classes), len(row.targets))


def _begin() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are what is parallel


_encoder_of = lru_cache(maxsize=1)(Encoder)
"""The words that it has met stay known from shard to shard."""


def _make(vocabulary: Vocabulary, folder: Path, name: str, columns: Columns) -> Shard:
    encoder = _encoder_of(vocabulary)
    parts = [
        encoder.encode(columns.text[start : start + _BATCH])
        for start in range(0, len(columns), _BATCH)
    ]
    encoded = Encoded(**{one.name: _joined(parts, one.name) for one in fields(Encoded)})
    return write_shard(folder, name, columns, encoded, _LENGTHS * encoder.max_length)


def _joined(parts: Sequence[Encoded], name: str) -> Any:
    arrays = [getattr(part, name) for part in parts]
    return None if arrays[0] is None else np.concatenate(arrays)
