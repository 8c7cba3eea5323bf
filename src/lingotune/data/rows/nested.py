"""Columns that lie deeper in a record: `review.text` is the text of the object `review`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lingotune.config.schema import ColumnsConfig
from lingotune.data.rows.findings import Record

_DEEPEST = 4


def nested_columns(columns: ColumnsConfig) -> list[str]:
    """Return the named columns that have a dot in their name."""
    return [name for name in vars(columns).values() if name is not None and "." in name]


def add_nested(record: Record, columns: Sequence[str]) -> None:
    """Add columns that a record has deeper down; one that it has under its whole name stays."""
    for column in columns:
        if column not in record:
            found, value = _look_up(record, column.split("."))
            if found:
                record[column] = value


def _look_up(record: Record, path: Sequence[str]) -> tuple[bool, Any]:
    value: Any = record
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return False, None
        value = value[name]
    return True, value


def column_names(record: Record) -> Iterator[str]:
    """Yield the columns of a record; in place of an object those in it, by dotted names."""
    return _names(record, "", _DEEPEST)


def _names(record: Record, before: str, depth: int) -> Iterator[str]:
    for name, value in record.items():
        whole = f"{before}{name}"
        if isinstance(value, dict) and value and depth > 1 and f"{whole}." not in before:
            yield from _names(value, f"{whole}.", depth - 1)
        else:
            yield whole
