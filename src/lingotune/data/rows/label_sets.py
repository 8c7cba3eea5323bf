"""What a row says of every class: which of them a text has, or its shares of them.

`data.labels_mode=multi` and `soft`. The row holds a list in one column, or a value in a column for each
class.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lingotune.config.schema import ONE_CLASS, DataConfig, LabelConfig, LabelsMode, Separator
from lingotune.data.rows.findings import Record, Unfit, show
from lingotune.data.rows.labels import Labels, alone, boolean, is_auto, is_no_label

if TYPE_CHECKING:
    from lingotune.system.arrays import Array

Targets = tuple[float, ...]
"""Value of every class for a text: 1 or 0, or shares that add up to 1."""
SEVERAL = -1
"""Class id of a text that may have several: they stand in its targets."""

_SEPARATORS = {
    Separator.pipe: "|",
    Separator.semicolon: ";",
    Separator.tab: "\t",
    Separator.comma: ",",
}
"""Separators of the classes in a cell, in the order in which they are looked for."""
_MOST_KNOWN = 10_000
"""Cells that are remembered, of the few that most sources repeat."""


def class_columns(data: DataConfig) -> list[tuple[str, ...]] | None:
    """List what the column of each class may be called; None where a text has one class of one column."""
    if data.labels_mode in ONE_CLASS:
        return None
    return [] if is_auto(data.labels) else [*map(_names, data.labels)]


def _names(label: LabelConfig) -> tuple[str, ...]:
    return (label.name, *label.values)


class LabelSets:
    """Reads the targets of rows. labels: the mapping of values to classes, which notes unknown ones."""

    def __init__(self, data: DataConfig, labels: Labels) -> None:
        self._labels, self._column = labels, data.columns.label
        self._columns = class_columns(data) or []
        self._names = {name for names in self._columns for name in names}
        self._separator = data.label_separator
        self._soft = data.labels_mode is LabelsMode.soft
        self._known: dict[str, Targets] = {}

    def read(self, record: Record, location: str) -> Targets:
        """Read the value of every class; Unfit if the row does not say it."""
        column = self._column
        if column is None or column not in record:
            values = (self._value(record, names) for names in self._columns)
            return self._normal(tuple(values), "the columns of its classes")
        raw = record[column]
        if self._soft:
            return self._shares(raw, column)
        if isinstance(raw, str) and raw in self._known:
            return self._known[raw]
        found = self._classes(raw, column, location)
        if isinstance(raw, str) and len(self._known) < _MOST_KNOWN:
            self._known[raw] = found
        return found

    def label(self, targets: Targets) -> int:
        """Return the class id of a row: that of its largest share, or `SEVERAL`."""
        return targets.index(max(targets)) if self._soft else SEVERAL

    # --- a list -----------------------------------------------------------------------------------

    def _classes(self, raw: Any, column: str, location: str) -> Targets:
        items = [*_items(raw, self._separator, self._names)]
        found = [self._labels.read(item, column, location) for item in items]
        for item, one in zip(items, found):
            if one is None:
                raise _unlabelled(item, raw, column)
        ids = {one[0] for one in found if one}
        # Classes that are being found in the source have no number yet.
        size = max(len(self._columns), *(id + 1 for id in ids), 0)
        return tuple(float(id in ids) for id in range(size))

    def _shares(self, raw: Any, column: str) -> Targets:
        values = _listed(raw)
        if not isinstance(values, (list, tuple)):
            reason = "no-label" if is_no_label(raw) else "not-shares"
            raise Unfit(reason, f"has no list of shares, but {show(raw)}, in {column!r}")
        if len(values) != len(self._columns):
            what = f"has {len(values)} shares in {column!r}, and data.labels {len(self._columns)} classes"
            raise Unfit("not-shares", what)
        return self._normal(tuple(_share(value, column) for value in values), repr(column))

    # --- a column for each class ------------------------------------------------------------------

    def _value(self, record: Record, names: Sequence[str]) -> float:
        column = next((name for name in names if name in record), None)
        if column is None:
            raise Unfit("no-label", f"has no column {names[0]!r}")
        raw = record[column]
        if is_no_label(raw):
            raise Unfit("no-label", f"has no value in {column!r}")
        if self._soft:
            return _share(raw, column)
        if not (said := boolean(raw)):
            raise Unfit("not-0-or-1", f"has {show(raw)} in {column!r}, neither 0 nor 1")
        return float(said == "true")

    def _normal(self, values: Targets, where: str) -> Targets:
        """Divide shares, or votes, by their sum; 0 and 1 stay."""
        if not self._soft:
            return values
        total = sum(values)
        if not total:
            raise Unfit("no-label", f"has no share above 0 in {where}")
        return tuple(value / total for value in values)


def _items(raw: Any, separator: Separator, known: set[str]) -> Iterator[Any]:
    """Yield what stands for classes in a value: those of a list, or of a text with separators."""
    if is_no_label(raw):
        return
    values = raw if isinstance(raw, str) and raw.strip() in known else _listed(raw)
    if isinstance(values, (list, tuple)):
        yield from values
    elif isinstance(values, str) and values.strip() not in known:
        sign = _separator_in(values, separator)
        yield from (
            (part.strip() for part in values.split(sign) if part.strip()) if sign else [values]
        )
    else:
        yield values


def _separator_in(text: str, separator: Separator) -> str | None:
    if separator is not Separator.auto:
        return _SEPARATORS[separator]
    return next((sign for sign in _SEPARATORS.values() if sign in text), None)


def _listed(raw: Any) -> Any:
    """Read a text that is a list as JSON or Python writes it; all else is returned as it is."""
    if not isinstance(raw, str) or not (raw.strip().startswith("[") and raw.strip().endswith("]")):
        return raw
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(raw.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list):
            return found
    return raw


def _share(raw: Any, column: str) -> float:
    try:
        value = float(raw)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise Unfit("not-shares", f"has {show(raw)} in {column!r}, no share from 0")
    return value


def _unlabelled(item: Any, raw: Any, column: str) -> Unfit:
    value = alone(item)
    if is_no_label(value):
        return Unfit("empty-label", f"has an empty class in {column!r}: {show(raw)}")
    what = f"value {show(value)} in {column!r} is not in data.labels"
    return Unfit("unknown-label", what, noted=True)


def rarest_classes(sets: Array, rows: Array) -> Array:
    """Find the rarest class of each set: int16, (sets,); the number of classes for a set of none.

    Rows of rare classes are spread over the splits first, as iterative stratification does (Sechidis et
    al. 2011). sets: bool, (sets, classes). rows: of each set.
    """
    import numpy as np  # a plan without rows does without

    counts = np.where(sets, rows @ sets, np.iinfo(np.int64).max)
    rarest: Array = np.where(sets.any(axis=1), counts.argmin(axis=1), sets.shape[1])
    return rarest.astype(np.int16)
