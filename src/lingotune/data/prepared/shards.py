"""Prepared rows as Parquet files that every supported image can read, and pandas and `datasets` too.

Columns: text, text_pair (of pairs of texts), label (int8, or int16 for ids above 127), language, id, source
(where rows have several, see `rows.origins`), stars (int8, where the source has them), targets (a list of
float32, the value of every class, where a text may have several or shares of them), input_ids (a list of
int32, special tokens included), length (int32, of input_ids), first (int32, how many of them come before
the second segment; of pairs that a tokenizer tells apart by token types). The label of a text with several
classes is the first of them; that of a text with none is the number of all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lingotune.config.typed_json import parse_json
from lingotune.data.prepared.encode import Encoded
from lingotune.data.rows.label_sets import SEVERAL, Targets
from lingotune.data.rows.pairs import TEXTS, columns_of, joined
from lingotune.system.hashing import sha256_of

ROW_GROUP = 5_000
"""Rows that a reader has to hold at least."""


READERS = {"pyarrow": "6.0.0"}
"""Library -> oldest version that is known to read the files: Parquet 2.4, snappy, lists of int32."""
_TARGETS = pa.list_(pa.float32())
_LARGEST = 127
"""Class id that one byte holds."""


@dataclass
class Columns:
    """Rows that wait to become a shard; all lists have the same length."""

    text: list[str] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    language: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    stars: list[int | None] = field(default_factory=list)
    targets: list[Targets | None] = field(default_factory=list)
    source: list[str | None] = field(default_factory=list)
    several: bool = False
    """Whether a text may have several classes, which its targets are."""

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True)
class Shard:
    """A file of prepared rows: its name, its size, its SHA-256, and what there is to count in it.

    counts: language -> class id -> [rows, tokens, rows that were cut, unknown tokens]; where a text may
    have several classes it counts for each, and `SEVERAL` stands for all texts. lengths: language -> rows
    by their tokens before the cut; the last entry stands for all longer ones.
    """

    file: str
    rows: int
    tokens: int
    bytes: int
    sha256: str
    counts: Mapping[str, Mapping[int, Sequence[int]]]
    lengths: Mapping[str, Sequence[int]]


def write_shard(folder: Path, name: str, columns: Columns, encoded: Encoded, longest: int) -> Shard:
    """Write `<name>.parquet` into a folder at once, and `<name>.json` with its figures behind it.

    `longest` is the last length that is counted by itself.
    """
    path = folder / f"{name}.parquet"
    unfinished = path.with_suffix(".tmp")
    parquet.write_table(
        _table(columns, encoded), unfinished, row_group_size=ROW_GROUP, version="2.4",
        compression="snappy", use_dictionary=["language", "source"], write_statistics=False,
    )  # fmt: skip
    shard = Shard(
        path.name, len(columns), int(encoded.lengths.sum()),
        unfinished.stat().st_size, sha256_of(unfinished),
        _counts(columns, encoded), _lengths(columns, encoded, longest),
    )  # fmt: skip
    unfinished.replace(path)
    note = folder / f"{name}.json.tmp"
    note.write_text(json.dumps(asdict(shard)), encoding="utf-8")
    note.replace(folder / f"{name}.json")
    return shard


def finished_shard(folder: Path, name: str) -> Shard | None:
    """Read back a shard that `write_shard` completed; None if it did not."""
    try:
        found = parse_json((folder / f"{name}.json").read_text(encoding="utf-8"))
        whole = (folder / f"{name}.parquet").stat().st_size == found["bytes"]
        counts = {
            language: {int(label): n for label, n in classes.items()}
            for language, classes in found.pop("counts").items()
        }
        return Shard(counts=counts, **found) if whole else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def read_texts(table: pa.Table) -> list[str]:
    """Read the texts, or pairs of texts, of a table with the columns `TEXTS` of a shard, as far as it has
    them."""
    columns = [table[name].to_pylist() for name in TEXTS if name in table.column_names]
    return [*map(joined, *columns)]


def _table(columns: Columns, encoded: Encoded) -> pa.Table:
    firsts, seconds = columns_of(columns.text)
    offsets = np.zeros(len(columns) + 1, np.int32)
    np.cumsum(encoded.lengths, out=offsets[1:])
    arrays = {
        "text": pa.array(firsts, pa.string()),
        **({} if seconds is None else {"text_pair": pa.array(seconds, pa.string())}),
        "label": pa.array(columns.label, label_type(columns.label)),
        "language": pa.array(columns.language, pa.string()),
        "id": pa.array(columns.id, pa.string()),
        **({"source": pa.array(columns.source, pa.string())} if columns.source else {}),
        **({"stars": pa.array(columns.stars, pa.int8())} if _has_stars(columns) else {}),
        **({"targets": pa.array(columns.targets, _TARGETS)} if _has_targets(columns) else {}),
        "input_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(encoded.ids)),
        "length": pa.array(encoded.lengths),
        **({} if encoded.first is None else {"first": pa.array(encoded.first)}),
    }
    return pa.table(arrays)


def label_type(label: Sequence[int]) -> pa.DataType:
    """Return the type that class ids are stored as."""
    return pa.int8() if max(label, default=0) <= _LARGEST else pa.int16()


def _has_stars(columns: Columns) -> bool:
    return any(star is not None for star in columns.stars)


def _has_targets(columns: Columns) -> bool:
    return any(targets is not None for targets in columns.targets)


def _counts(columns: Columns, encoded: Encoded) -> dict[str, dict[int, list[int]]]:
    classes = dict(_rows_by_class(columns))
    cut = encoded.uncut > encoded.lengths
    counts: dict[str, dict[int, list[int]]] = {}
    for language, at in _by_language(columns).items():
        for class_id, has in classes.items():
            rows = at[has[at]]
            if not len(rows):
                continue
            figures = (encoded.lengths[rows], cut[rows], encoded.unknown[rows])
            sums = [int(figure.sum()) for figure in figures]
            counts.setdefault(language, {})[class_id] = [len(rows), *sums]
    return counts


def _rows_by_class(columns: Columns) -> Iterator[tuple[int, Any]]:
    """Yield class ids with the rows that have the class, as masks; `SEVERAL` with all rows."""
    if columns.several:
        yield SEVERAL, np.ones(len(columns), bool)
        yield from enumerate(np.array(columns.targets, np.float32).T > 0)
    else:
        label = np.array(columns.label)
        yield from ((class_id, label == class_id) for class_id in np.unique(label).tolist())


def _lengths(columns: Columns, encoded: Encoded, longest: int) -> dict[str, list[int]]:
    capped = np.minimum(encoded.uncut, longest)
    return {
        language: np.bincount(capped[at], minlength=longest + 1).tolist()
        for language, at in _by_language(columns).items()
    }


def _by_language(columns: Columns) -> dict[str, Any]:
    """Language -> places of its rows."""
    codes, place = np.unique(np.array(columns.language, object).astype(str), return_inverse=True)
    return {str(code): np.flatnonzero(place == n) for n, code in enumerate(codes)}
