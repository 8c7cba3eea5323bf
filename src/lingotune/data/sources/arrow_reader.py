"""Readers of Parquet and Arrow files; pyarrow is imported when one is read.

`name` is what messages call the file. Rows that hold values which cannot be read go to `faults`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lingotune.data.rows.findings import AGAIN, Faults, Located, Record, config_error
from lingotune.data.rows.labels import ClassName
from lingotune.data.sources.arrow_check import arrow_fault, opened_arrow
from lingotune.data.sources.file_format import FileFormat

_BATCH = 8192
"""Rows that are held at a time."""


def read_parquet(path: Path, name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    """Read the rows of a Parquet file, a batch at a time; `how` is for formats that need it."""
    with _arrow_errors(name, "Parquet"):
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            batches = file.iter_batches(_BATCH)
            yield from _batches(file.schema_arrow, batches, name, faults)


def read_arrow(path: Path, name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    """Read the stream format that `datasets` writes, or the file format (Feather)."""
    with _arrow_errors(name, "Arrow"):
        reason = arrow_fault(path)
        if reason:
            raise config_error(name, f"is not a whole Arrow file: {reason}", AGAIN)
        with opened_arrow(path) as (schema, batches):
            yield from _batches(schema, batches, name, faults)


def _batches(schema: Any, batches: Iterable[Any], name: str, faults: Faults) -> Iterator[Located]:
    twice = [column for column, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise config_error(name, f"names a column twice: {', '.join(map(repr, twice))}")
    classes = _class_names(schema)
    plain = _plain_columns(schema)
    number = 0
    for batch in batches:
        # Feather knows batches of a whole table.
        for start in range(0, batch.num_rows, _BATCH):
            for record in _records(batch.slice(start, _BATCH)):
                number += 1
                location = f"{name} row {number}"
                if isinstance(record, ValueError):
                    _note_unreadable(faults, location, record)
                    continue
                for column, names in classes.items():
                    record[column] = _named(record[column], names)
                try:
                    record.update({column: make(record[column]) for column, make in plain.items()})
                except UnicodeDecodeError as error:
                    _note_unreadable(faults, location, error)
                    continue
                yield location, record


def _plain_columns(schema: Any) -> dict[str, Callable[[Any], Any]]:
    """Columns whose values are texts or numbers in another guise: bytes, as older Spark writes texts, and
    decimals; and what makes plain ones of them."""
    from pyarrow import types

    found: dict[str, Callable[[Any], Any]] = {}
    for field in schema:
        if types.is_binary(field.type) or types.is_large_binary(field.type):
            found[field.name] = lambda value: None if value is None else value.decode()
        elif types.is_decimal(field.type):
            found[field.name] = lambda value: value if value is None else _number(value)
    return found


def _number(value: Any) -> int | float:
    return int(value) if value == int(value) else float(value)


def _records(batch: Any) -> Iterable[Record | ValueError]:
    """The rows of a batch; in place of one that has no Python values, the reason."""
    try:
        records: list[Record] = batch.to_pylist()
        return records
    except (ValueError, OverflowError):
        return map(_record, (batch.slice(n, 1) for n in range(batch.num_rows)))


def _record(row: Any) -> Record | ValueError:
    try:
        record: Record = row.to_pylist()[0]
        return record
    except ValueError as error:
        return error
    except OverflowError as error:
        return ValueError(str(error))


def _note_unreadable(faults: Faults, location: str, error: ValueError) -> None:
    if isinstance(error, UnicodeDecodeError):
        raw = error.object.decode("utf-8", "backslashreplace")
        what = f"is not UTF-8: byte 0x{error.object[error.start]:02x}"
        faults.note("not-utf8", location, what, raw=raw)
    else:
        what = f"has a value that cannot be read: {error}"
        faults.note("unreadable-value", location, what)


def _named(value: Any, names: list[ClassName]) -> Any:
    """Put names in place of the number of a class, or of those in a list."""
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _class_names(schema: Any) -> dict[str, list[ClassName]]:
    """Columns that `datasets` stores as numbers of named classes (ClassLabel), or lists of such.

    Without their names the numbers would be taken for stars.
    """
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {
            column: ClassName.all_of(feature["names"])
            for column, whole in features.items()
            for feature in [whole.get("feature") or whole]
            if feature.get("_type") == "ClassLabel" and column in schema.names
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


@contextmanager
def _arrow_errors(name: str, kind: str) -> Iterator[None]:
    try:
        import pyarrow
    except ImportError as error:
        raise config_error(name, f"{kind} files need pyarrow", "pip install pyarrow") from error
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise config_error(name, f"is not a whole {kind} file: {reason}", AGAIN) from error
