"""Flat files of a split on this machine, mapped into memory by all processes.

Opening them takes as long with a million rows as with a thousand, and memory is taken only for what is
read. `.tokens` holds the tokens of all rows as indices, `.ids` the ids that these stand for, `.rows`
(Arrow) the columns of the rows, `.sha256` the digests of the three. Digests of what they hold, which take
a pass over all rows to compute, are kept beside them.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from pyarrow import compute, ipc

from lingotune.config.typed_json import parse_json, sealed, unsealed
from lingotune.data.loader.columns import column_of, numbers_of, view_of
from lingotune.system.arrays import Array
from lingotune.system.files import replace_file, replacing
from lingotune.system.hashing import sha256_of
from lingotune.system.verified import is_as_written

_LANGUAGES = b"languages"
"""Key of the language codes, as JSON, in the metadata of `.rows`."""


class FlatFiles:
    """The flat files of one split in a writable folder. digest: of the prepared data."""

    def __init__(self, folder: Path, name: str, digest: str) -> None:
        self._stem, self._folder = f"{name}-{digest[:12]}", folder
        self._lock = folder / f".{name}.lock"

    def make_unless_there(
        self,
        rows: int,
        tokens: int,
        table: Callable[[], pyarrow.Table],
        chunks: Callable[[], Iterable[Array]],
    ) -> None:
        """Write the files if nobody has, or if they are damaged or have other numbers of rows or tokens.

        table: makes that of the rows, see `rows_table`. chunks: the ids of all tokens, in their order; it
        is called twice.
        """
        with self._locked():
            if self._are_whole() and self._are_of(rows, tokens):
                return
            ids = _distinct(chunks())
            place = np.zeros(int(ids[-1]) + 1, _place_type(ids))  # id -> its index in `ids`
            place[ids] = np.arange(len(ids))
            self._write("ids", [ids.astype(np.uint32)])
            self._write("tokens", (place[chunk] for chunk in chunks()))
            _write_table(self._path("rows"), table())
            sums = {path.name: sha256_of(path) for path in self._files()}
            replace_file(self._path("sha256"), json.dumps(sums))

    def tokens(self) -> tuple[Array, Array]:
        """Map the tokens: indices into the ids, and the ids, int64, ascending."""
        path, ids = self._path("tokens"), self._ids()
        if not path.stat().st_size:  # nothing can be mapped
            return np.zeros(0, np.uint16), ids
        # As a plain array, which costs less to index than numpy's class of mapped ones.
        return np.asarray(np.memmap(path, _place_type(ids), "r")), ids

    def rows(self) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Map the columns of the rows by name, and read the languages that one of them numbers."""
        table = _mapped(self._path("rows"))
        columns = {name: _array(table[name].chunk(0)) for name in table.column_names}
        return columns, tuple(json.loads(table.schema.metadata[_LANGUAGES]))

    def known(self, what: str, of: object, digest: Callable[[], str]) -> str:
        """Return a digest that was computed once on this machine, or compute it and keep it.

        what: its name. of: all that it follows from beside these files, as JSON; a digest of another is
        computed anew.
        """
        path = self._path(f"{what}.known")
        with self._locked():
            with suppress(OSError, ValueError, KeyError):
                found = unsealed(parse_json(path.read_text(encoding="utf-8")))
                if found["of"] == [of, self._sums()]:
                    return str(found["digest"])
            made = digest()
            with suppress(OSError):
                content = sealed({"of": [of, self._sums()], "digest": made})
                replace_file(path, json.dumps(content))
            return made

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._stem}.{kind}"

    def _files(self) -> list[Path]:
        return [self._path(kind) for kind in ("ids", "tokens", "rows")]

    def _ids(self) -> Array:
        return np.fromfile(self._path("ids"), np.uint32).astype(np.int64)

    def _sums(self) -> Any:
        return parse_json(self._path("sha256").read_text(encoding="utf-8"))

    def _are_whole(self) -> bool:
        """Tell whether the files are there as they were written."""
        try:
            sums = self._sums()
            return all(is_as_written(path, sums[path.name]) for path in self._files())
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _are_of(self, rows: int, tokens: int) -> bool:
        """Tell whether the files have so many rows and tokens."""
        size = tokens * np.dtype(_place_type(self._ids())).itemsize
        there = _mapped(self._path("rows")).num_rows
        return there == rows and self._path("tokens").stat().st_size == size

    def _write(self, kind: str, parts: Iterable[Array]) -> None:
        with replacing(self._path(kind)) as unfinished, unfinished.open("wb") as file:
            for part in parts:
                file.write(part.tobytes())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process of the machine at a time into the block."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def rows_table(shards: Iterable[pyarrow.Table], classes: int) -> pyarrow.Table:
    """Turn tables of shards, in their order, into that of the rows; its columns are those of `Split`.

    classes: how many targets a row has, where it has any.
    """
    whole = pyarrow.concat_tables(shards)
    lengths, label = (numbers_of(whole[name]).astype(np.int64) for name in ("length", "label"))
    codes = compute.unique(whole["language"])
    codes = codes.take(compute.array_sort_indices(codes))
    language = compute.index_in(whole["language"], value_set=codes)
    numbers = {
        "starts": np.cumsum(lengths) - lengths,
        "lengths": lengths,
        "label": label,
        "language": numbers_of(language).astype(np.int16),
        "place": np.arange(len(label)),
    }
    if "first" in whole.column_names:
        numbers["first"] = numbers_of(whole["first"]).astype(np.int64)
    columns: dict[str, Any] = {name: column_of(values) for name, values in numbers.items()}
    if "targets" in whole.column_names:
        values = np.concatenate([view_of(chunk.flatten()) for chunk in whole["targets"].chunks])
        values = column_of(values.astype(np.float32))
        columns["targets"] = pyarrow.FixedSizeListArray.from_arrays(values, classes)
    table = pyarrow.table(columns)
    return table.replace_schema_metadata({_LANGUAGES: json.dumps(codes.to_pylist()).encode()})


def _write_table(path: Path, table: pyarrow.Table) -> None:
    whole = table.combine_chunks()  # one chunk, which is one array when it is mapped
    with (
        replacing(path) as unfinished,
        pyarrow.OSFile(str(unfinished), "wb") as file,
        ipc.new_file(file, whole.schema) as writer,
    ):
        writer.write_table(whole)


def _mapped(path: Path) -> pyarrow.Table:
    return ipc.open_file(pyarrow.memory_map(str(path))).read_all()


def _array(values: pyarrow.Array) -> Array:
    """View the values as an array, one of two dimensions if each is a list; copies nothing."""
    if isinstance(values, pyarrow.FixedSizeListArray):
        return view_of(values.flatten()).reshape(len(values), -1)
    return view_of(values)


def _distinct(chunks: Iterable[Array]) -> Array:
    """Collect the ids that occur, int64, ascending; 0 if there is none."""
    used = np.zeros(1, bool)
    for chunk in chunks:
        top = int(chunk.max()) + 1
        if top > len(used):
            used = np.append(used, np.zeros(top - len(used), bool))
        used[chunk] = True
    return np.flatnonzero(used) if used.any() else np.zeros(1, np.int64)


def _place_type(ids: Array) -> type[Any]:
    return np.uint16 if len(ids) <= 1 << 16 else np.uint32
