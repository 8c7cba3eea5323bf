"""The classes of a source that has not been told them: `data.labels=auto`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import AUTO, DataConfig, LabelConfig, OnError
from lingotune.data.rows.cleaner import Cleaner
from lingotune.data.rows.findings import show
from lingotune.data.rows.labels import (
    MOST_CLASSES,
    Labels,
    alone,
    format_labels,
    is_no_label,
    join_spellings,
    value_text,
)
from lingotune.data.splits.readers import readers_of

_WHERE = f"data.labels={AUTO}"
_SHOWN = 8


@dataclass(frozen=True)
class FoundLabels:
    """Classes of a source, sorted, with their rows by name, and the column that holds them."""

    labels: list[LabelConfig]
    rows: dict[str, int]
    column: str


def find_labels(data: DataConfig, *, join: bool = False) -> FoundLabels:
    """Read a source for its classes; rows that cannot be used are left out.

    join: values that differ by case or blanks only become one class.

    ConfigError if no column holds classes, if they are too many or differ by spelling only, or if the
    source cannot be read.
    """
    columns = replace(data.columns, id=None, group=None)
    lenient = replace(data, columns=columns, on_error=OnError.skip, max_rejected=1.0)
    values, problems = _Values(lenient), []
    for name, read in readers_of(data).items():
        cleaner = Cleaner(lenient, name, labels=values)
        for row in cleaner.rows(read(cleaner.on_fault, _ignore)):
            values.count(row.label)
            if len(values.rows) > MOST_CLASSES:
                raise ConfigError([_too_many(values)])
        problems += cleaner.problems()
    if not values.rows:
        what = f"finds no classes: {values.column!r} holds none"
        raise ConfigError(problems or [Problem(_WHERE, what, "data.columns.label=COLUMN")])
    return FoundLabels(_classes(values, join=join), values.rows, values.column)


def _ignore(remark: str) -> None:
    """Leave remarks on files to whoever reads them next."""


class _Values(Labels):
    """Takes each value for a class of its own, and remembers what it is called."""

    def __init__(self, data: DataConfig) -> None:
        super().__init__(replace(data, labels=[]))
        self.column = data.columns.label or data.columns.stars or ""
        self.rows: Counter[str] = Counter()
        self._ids: dict[str, int] = {}
        self._texts: list[str] = []

    def read(self, raw: Any, column: str, location: str) -> tuple[int, int | None] | None:
        """Give each value the next number."""
        value = alone(raw)
        text = None if is_no_label(value) else value_text(value, self._offset)
        if text is None:
            return None
        self.column = column
        if text not in self._ids:
            self._ids[text] = len(self._texts)
            self._texts.append(text)
        return self._ids[text], None

    def count(self, class_id: int) -> None:
        """Count a row that is kept."""
        self.rows[self._texts[class_id]] += 1


def _too_many(values: _Values) -> Problem:
    shown = ", ".join(show(value) for value in list(values.rows)[:3])
    what = f"{values.column!r} has more than {MOST_CLASSES} values, such as {shown}"
    return Problem(
        _WHERE, what, "data.columns.label=COLUMN: another column, whose values are classes"
    )


def _classes(values: _Values, *, join: bool) -> list[LabelConfig]:
    """Make classes of the values; ConfigError if some differ by spelling only, or are fewer than two."""
    classes = join_spellings(list(values.rows))
    several = [label for label in classes if label.values]
    if several and not join:
        spelled = ", ".join(
            show(text) for label in several[:3] for text in _spellings(label, values)
        )
        what = f"values in {values.column!r} differ by case or blanks only: {spelled}"
        raise ConfigError([Problem(_WHERE, what, format_labels(classes))])
    if len(classes) < 2:
        what = (
            f"finds one class in {values.column!r}, {show(classes[0].name)}; a classifier needs two"
        )
        raise ConfigError([Problem(_WHERE, what, "data.columns.label=COLUMN")])
    return classes


def _spellings(label: LabelConfig, values: _Values) -> list[str]:
    return [text for text in (label.name, *label.values) if text in values.rows]
