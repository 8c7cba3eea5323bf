"""Rows that wait on disk until it is known where they belong."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lingotune.data.rows.cleaner import Row
from lingotune.data.rows.origins import Sources

_BLOCK = 1_000
"""Rows that are written at once."""


class Spool:
    """Rows, to be read in the order in which they were added; a context manager.

    They lie in a file of `folder` without a name, which is gone with the block, and with the process.
    sources: where the rows come from. OSError where there is no room.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._block: list[Row] = []
        self.sources = Sources()

    def __enter__(self) -> Spool:
        self._file = tempfile.TemporaryFile(dir=self._folder)
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, row: Row) -> None:
        """One more row."""
        self._block.append(row)
        self.sources.count(row.source)
        if len(self._block) == _BLOCK:
            self._write()

    def _write(self) -> None:
        # By columns: rows would be pickled as objects, one by one.
        pickle.dump(tuple(zip(*self._block)), self._file, pickle.HIGHEST_PROTOCOL)
        self._block = []

    def __iter__(self) -> Iterator[Row]:
        """Yield all rows that were added; from here on none can be added."""
        if self._block:
            self._write()
        end = self._file.seek(0, 2)
        self._file.seek(0)
        while self._file.tell() < end:
            yield from map(Row._make, zip(*pickle.load(self._file)))
