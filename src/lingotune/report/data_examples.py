"""Example rows of every class and language of prepared data, drawn at random."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pyarrow import ArrowException, parquet

from lingotune.config.problems import ConfigError, Problem
from lingotune.data.prepared.manifest import anew
from lingotune.data.prepared.shards import read_texts
from lingotune.data.rows.pairs import TEXTS
from lingotune.system.arrays import mixed


class Example(NamedTuple):
    """Id and text, or pair of texts, of a row, as in its shard."""

    id: str
    text: str


Key = tuple[str, int]
"""Language and class id."""
_Place = tuple[int, int, int]
"""Index of the file, of the row group in it, and of the row in that."""


def choose_examples(
    files: Sequence[Path], languages: Collection[str], count: int, seed: int
) -> dict[Key, list[Example]]:
    """Draw at most `count` rows of every class and language.

    The draw follows from the seed and the rows' positions: the same files give the same rows. Language
    and class of all rows are read, one row group at a time, but texts only from groups with a row that
    was drawn. ConfigError if a file cannot be read.
    """
    best: dict[Key, list[tuple[int, _Place]]] = {}
    for key, lot, place in _lots(files, count, seed):
        if key[0] in languages:
            best[key] = sorted([*best.get(key, []), (lot, place)])[:count]
    drawn = {key: [place for _, place in best[key]] for key in sorted(best)}
    found = _read(files, {place for places in drawn.values() for place in places})
    return {key: [found[place] for place in places] for key, places in drawn.items()}


def _lots(files: Sequence[Path], count: int, seed: int) -> Iterator[tuple[Key, int, _Place]]:
    """Yield the rows with the `count` lowest lots of every class and language, per row group."""
    passed = 0
    for number, file in enumerate(files):
        for group, table in _groups(file, ["language", "label"]):
            lots = mixed(np.arange(passed, passed + len(table), dtype=np.uint64), seed)
            passed += len(table)
            codes = table["language"].combine_chunks().dictionary_encode()
            names = codes.dictionary.to_pylist()
            language, label = codes.indices.to_numpy(), table["label"].to_numpy()
            kind = language.astype(np.int64) * 1000 + label
            order = np.lexsort((lots, kind))
            _, first, rows = np.unique(kind[order], return_index=True, return_counts=True)
            for begin, end in zip(first, first + np.minimum(rows, count)):
                for row in order[begin:end].tolist():
                    key = (names[language[row]], int(label[row]))
                    yield key, int(lots[row]), (number, group, row)


def _read(files: Sequence[Path], places: Collection[_Place]) -> dict[_Place, Example]:
    """Read the rows at these places."""
    found = {}
    for number, of_file in groupby(sorted(places), lambda place: place[0]):
        rows: dict[int, list[int]] = {}
        for _, group, row in of_file:
            rows.setdefault(group, []).append(row)
        for group, table in _groups(files[number], ["id", *TEXTS], rows):
            ids, texts = table["id"].to_pylist(), read_texts(table)
            for row in rows[group]:
                found[number, group, row] = Example(ids[row], texts[row])
    return found


def _groups(
    file: Path, columns: list[str], wanted: Collection[int] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield the row groups of a file, all or those wanted, by their number."""
    try:
        with parquet.ParquetFile(file) as shard:
            for group in range(shard.num_row_groups):
                if wanted is None or group in wanted:
                    yield group, shard.read_row_group(group, columns=columns)
    except (OSError, ArrowException) as error:
        raise ConfigError(
            [Problem(str(file), f"cannot be read: {error}", anew(file.parent))]
        ) from error
