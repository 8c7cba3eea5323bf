"""Rows with their predictions as a file: CSV, JSONL or Parquet, by its suffix.

JSONL is written as rows come. The others need all columns, and their types, before the first row: until
then rows wait in a temporary file.
"""

from __future__ import annotations

import csv
import json
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

from lingotune.config.problems import ConfigError, Problem
from lingotune.data.rows.findings import Record
from lingotune.data.rows.labels import ClassName

_BLOCK = 1_000
"""Rows that are held at a time."""


def check_output(typed: str) -> Path:
    """Return the path of an output; ConfigError if its format is unknown, or it is there already."""
    path = Path(typed).expanduser()
    where = f"--output {typed}"
    if path.suffix not in _WRITERS:
        what = f"is none of the formats {', '.join(_WRITERS)}"
        raise ConfigError([Problem(where, what, f"--output {path.with_suffix('.csv')}")])
    if path.exists():
        raise ConfigError([Problem(where, "is there already", "another name, or remove it first")])
    if not path.parent.is_dir():
        raise ConfigError(
            [Problem(where, f"there is no folder {path.parent}", f"--output {path.name}")]
        )
    return path


def write_rows(rows: Iterable[Record], path: Path) -> int:
    """Write rows in the format of the path's suffix; returns how many.

    The file appears once it is whole. ConfigError where it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        count = _WRITERS[path.suffix](map(_plain, rows), part)
        part.replace(path)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise ConfigError([Problem(f"--output {path}", what)]) from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _plain(row: Record) -> Record:
    """Texts as plain ones: pickle takes no others."""
    return {str(k): str(v) if isinstance(v, ClassName) else v for k, v in row.items()}


def _write_jsonl(rows: Iterable[Record], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
    return count


def _write_csv(rows: Iterable[Record], path: Path) -> int:
    with tempfile.TemporaryFile() as waiting:
        columns: dict[str, None] = {}
        count = _store(rows, waiting, lambda block: columns.update(dict.fromkeys(_names(block))))
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(columns))
            writer.writeheader()
            for block in _stored(waiting):
                writer.writerows({k: _cell(v) for k, v in row.items()} for row in block)
    return count


def _cell(value: Any) -> Any:
    return (
        json.dumps(value, ensure_ascii=False, default=str)
        if isinstance(value, (dict, list))
        else value
    )


def _write_parquet(rows: Iterable[Record], path: Path) -> int:
    with tempfile.TemporaryFile() as waiting:
        types: dict[str, pa.DataType] = {}
        count = _store(rows, waiting, lambda block: _widen(types, block))
        # A column without any value has no type of its own.
        schema = pa.schema(
            [(n, pa.string() if pa.types.is_null(t) else t) for n, t in types.items()]
        )
        with parquet.ParquetWriter(path, schema) as writer:
            for block in _stored(waiting):
                fitting = [{n: _fitting(row.get(n), t) for n, t in types.items()} for row in block]
                writer.write_table(pa.Table.from_pylist(fitting, schema))
    return count


def _widen(types: dict[str, pa.DataType], block: list[Record]) -> None:
    """Widen the types of columns to those of a block; text where values have nothing in common."""
    for name in _names(block):
        try:
            values = pa.array([row.get(name) for row in block])
            fields = [pa.field(name, types.get(name, values.type)), pa.field(name, values.type)]
            merged = pa.unify_schemas(
                [pa.schema([field]) for field in fields], promote_options="permissive"
            )
            types[name] = merged.field(name).type
        except (pa.ArrowException, OverflowError):
            types[name] = pa.string()


def _fitting(value: Any, kind: pa.DataType) -> Any:
    if value is None or not pa.types.is_string(kind) or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


# --- rows that wait -----------------------------------------------------------------------------


def _store(rows: Iterable[Record], file: IO[bytes], look: Callable[[list[Record]], None]) -> int:
    """Store rows block by block, each after a look at it; returns how many."""
    count, block = 0, []
    for row in rows:
        block.append(row)
        if len(block) == _BLOCK:
            look(block)
            pickle.dump(block, file)
            count, block = count + len(block), []
    look(block)
    pickle.dump(block, file)
    return count + len(block)


def _stored(file: IO[bytes]) -> Iterator[list[Record]]:
    end = file.tell()
    file.seek(0)
    while file.tell() < end:
        yield pickle.load(file)


def _names(block: list[Record]) -> dict[str, None]:
    return {name: None for row in block for name in row}


_WRITERS: dict[str, Callable[[Iterable[Record], Path], int]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
