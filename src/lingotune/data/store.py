"""Prepared data as a trainer reads it: flat token ids in one file that all processes share, and padded
batches made of them at once.

A file of the store is made from the Parquet shards by whoever comes first, and mapped into memory by
everybody: eight ranks of a machine hold it once.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet

from lingotune.data.manifest import load_manifest
from lingotune.data.shards import Columns
from lingotune.schema import ConfigError, Problem

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Split:
    """One split, in the order of its shards; all arrays but `tokens` have an entry a row.

    tokens: ids of all rows, one after the other (uint16 where the vocabulary fits, else uint32;
    mapped from a file). offsets: int64, where a row's tokens begin; one entry more than rows.
    label: int64. language: int16 places in `languages`.
    """

    tokens: Array
    offsets: Array
    label: Array
    language: Array
    languages: tuple[str, ...]
    padding_id: int

    def __len__(self) -> int:
        return len(self.label)

    @property
    def lengths(self) -> Array:
        """Tokens of each row, int64."""
        lengths: Array = np.diff(self.offsets)
        return lengths

    def batch(self, rows: Sequence[int] | Array, multiple: int = 1) -> dict[str, Array]:
        """input_ids and attention_mask (int64, rows x longest, padded at the end), labels (int64).

        The width is rounded up to a multiple. Without a loop over rows: some 400 000 rows a second.
        """
        at = np.asarray(rows, np.int64)
        starts = self.offsets[at]
        lengths = self.offsets[at + 1] - starts
        width = -(-int(lengths.max()) // multiple) * multiple
        mask = np.arange(width) < lengths[:, None]
        ids = np.full(mask.shape, self.padding_id, np.int64)
        ends = np.cumsum(lengths)
        # Place of every token: its row's start, and how far it is into its row.
        where = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1])
        ids[mask] = self.tokens[where]
        return {
            "input_ids": ids,
            "attention_mask": mask.astype(np.int64),
            "labels": self.label[at],
        }


class Store:
    """The splits of a folder of prepared data.

    `cache` is where the flat files are made: a folder of this machine that may be written to; the
    data's own by default, or a temporary one where that is read-only.
    """

    def __init__(self, folder: str | Path, cache: Path | None = None) -> None:
        self._folder = Path(folder)
        self.manifest = load_manifest(self._folder)
        self._cache = cache

    def split(self, name: str) -> Split:
        """ConfigError where a shard is missing, or holds other rows than the manifest says."""
        found = self.manifest["splits"][name]
        offsets, label, language = self._rows(found["shards"])
        languages, place = np.unique(np.array(language, object).astype(str), return_inverse=True)
        return Split(
            self._tokens(name, found, int(offsets[-1])),
            offsets,
            label,
            place.astype(np.int16),
            tuple(languages.tolist()),
            int(self.manifest["tokenizer"]["padding_id"]),
        )

    def columns(self, name: str) -> Columns:
        """Texts, labels, languages, ids and stars of a split, all in memory."""
        columns = Columns()
        for shard in self.manifest["splits"][name]["shards"]:
            table = self._read(shard, [n for n in vars(columns) if n != "stars"])
            for column in ("text", "label", "language", "id"):
                getattr(columns, column).extend(table[column].to_pylist())
        return columns

    def _rows(self, shards: Sequence[Mapping[str, Any]]) -> tuple[Array, Array, list[str]]:
        lengths, label = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        language: list[str] = []
        for shard in shards:
            table = self._read(shard, ["length", "label", "language"])
            if table.num_rows != shard["rows"]:
                what = f"holds {table.num_rows} rows; the manifest says {shard['rows']}"
                raise self._damaged(shard["file"], what)
            lengths.append(table["length"].to_numpy().astype(np.int64))
            label.append(table["label"].to_numpy().astype(np.int64))
            language += table["language"].to_pylist()
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        return offsets, np.concatenate(label), language

    def _tokens(self, name: str, split: Mapping[str, Any], count: int) -> Array:
        """The flat file of a split, mapped; made if nobody has made it."""
        if not count:
            return np.zeros(0, self._dtype)
        folder = self._writable()
        path = folder / f"{name}-{self.manifest['digest'][:12]}.tokens"
        with (folder / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists() or path.stat().st_size != count * self._dtype.itemsize:
                unfinished = path.with_suffix(".tmp")
                with unfinished.open("wb") as file:
                    for shard in split["shards"]:
                        ids = self._read(shard, ["input_ids"])["input_ids"]
                        for chunk in ids.chunks:
                            file.write(chunk.flatten().to_numpy().astype(self._dtype).tobytes())
                unfinished.replace(path)
        return np.memmap(path, self._dtype, "r")

    @property
    def _dtype(self) -> np.dtype[Any]:
        small = self.manifest["tokenizer"]["vocabulary"] <= 1 << 16
        return np.dtype(np.uint16 if small else np.uint32)

    def _writable(self) -> Path:
        if self._cache is None:
            self._cache = self._folder / "flat"
            try:
                self._cache.mkdir(exist_ok=True)
            except OSError:  # an input channel
                self._cache = Path(tempfile.gettempdir(), f"lingotune-{self.manifest['digest']}")
        self._cache.mkdir(parents=True, exist_ok=True)
        return self._cache

    def _read(self, shard: Mapping[str, Any], columns: list[str]) -> Any:
        path = self._folder / shard["file"]
        try:
            return parquet.read_table(path, columns=columns)
        except Exception as error:  # pyarrow's own, or the system's
            raise self._damaged(shard["file"], f"cannot be read: {error}") from error

    def _damaged(self, file: str, what: str) -> ConfigError:
        works = "python -m lingotune.data ... makes it anew once the folder is removed"
        return ConfigError([Problem(str(self._folder / file), what, works)])
