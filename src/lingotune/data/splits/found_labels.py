"""The classes of a source that has not been told them: `data.labels=auto`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.quoting import override_text
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
_MOST_ODD = 100
"""Values that name no class and are told apart."""


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
    values = _Values(lenient)
    for name, read in readers_of(data).items():
        cleaner = Cleaner(lenient, name, labels=values)
        for row in cleaner.rows(read(cleaner.on_fault, _ignore)):
            for class_id in row.classes:
                values.count(class_id)
            if len(values.rows) > MOST_CLASSES:
                raise ConfigError([_too_many(values)])
    if len(values.rows) < 2:
        raise ConfigError(_why_too_few(data, values))
    return FoundLabels(_classes(values, join=join), values.rows, values.column)


def _why_too_few(data: DataConfig, values: _Values) -> list[Problem]:
    """What keeps the rows of a source from having two classes: rows that cannot be used come first."""
    if values.odd:
        shown = ", ".join(f"{value} ({count})" for value, count in values.odd.most_common(_SHOWN))
        what = f"values in {values.column!r} that name no class: {shown}"
        inner = next(iter(values.inner), "")
        fix = override_text("data.columns.label", f"{values.column}.{inner}" if inner else "COLUMN")
        return [Problem(_WHERE, what, fix)]
    strict, problems = replace(data, on_error=OnError.stop), []
    for name, read in readers_of(strict).items():
        cleaner = Cleaner(strict, name, labels=_Values(strict))
        for _ in cleaner.rows(read(None, _ignore)):
            pass
        problems += cleaner.problems()
    if problems:
        return problems
    if not values.rows:
        what = f"finds no classes: {values.column!r} holds none"
        return [Problem(_WHERE, what, "data.columns.label=COLUMN")]
    (only,) = values.rows
    return [_one_class(values, only)]


def _one_class(values: _Values, name: str) -> Problem:
    what = f"finds one class in {values.column!r}, {show(name)}; a classifier needs two"
    return Problem(_WHERE, what, "data.columns.label=COLUMN")


def _ignore(told: object) -> None:
    """Leave remarks on files, and rows that cannot be read, to whoever reads them next."""


class _Values(Labels):
    """Takes each value for a class of its own, and remembers what it is called.

    odd: values that cannot be one, with their rows. inner: names in those that are objects.
    """

    def __init__(self, data: DataConfig) -> None:
        super().__init__(replace(data, labels=[]))
        self.column = data.columns.label or data.columns.stars or ""
        self.rows: Counter[str] = Counter()
        self.odd: Counter[str] = Counter()
        self.inner: dict[str, None] = {}
        self._ids: dict[str, int] = {}
        self._texts: list[str] = []

    def read(self, raw: Any, column: str, location: str) -> tuple[int, int | None] | None:
        """Give each value the next number."""
        value = alone(raw)
        text = None if is_no_label(value) else value_text(value, self._offset)
        self.column = column
        if text is None:
            self._note_odd(value)
            return None
        if text not in self._ids:
            self._ids[text] = len(self._texts)
            self._texts.append(text)
        return self._ids[text], None

    def _note_odd(self, value: Any) -> None:
        if is_no_label(value) or len(self.odd) >= _MOST_ODD:
            return
        self.odd[show(value)] += 1
        if isinstance(value, dict):
            self.inner |= dict.fromkeys(k for k, v in value.items() if isinstance(v, (str, int)))

    def count(self, class_id: int) -> None:
        """Count a row that is kept."""
        self.rows[self._texts[class_id]] += 1


def _too_many(values: _Values) -> Problem:
    shown = ", ".join(show(value) for value in list(values.rows)[:3])
    what = f"{values.column!r} has more than {MOST_CLASSES} values, such as {shown}"
    fix = (
        "data.columns.label=COLUMN: another column, whose values are classes; or all classes by name in"
        " data.labels, if these are meant"
    )
    return Problem(_WHERE, what, fix)


def _classes(values: _Values, *, join: bool) -> list[LabelConfig]:
    """Make classes of the values; ConfigError if some differ by spelling only."""
    classes = join_spellings(list(values.rows))
    if len(classes) < 2:
        raise ConfigError([_one_class(values, classes[0].name)])
    several = [label for label in classes if label.values]
    if several and not join:
        spelled = ", ".join(
            show(text) for label in several[:3] for text in _spellings(label, values)
        )
        what = f"values in {values.column!r} differ by case or blanks only: {spelled}"
        raise ConfigError([Problem(_WHERE, what, format_labels(classes))])
    return classes


def _spellings(label: LabelConfig, values: _Values) -> list[str]:
    return [text for text in (label.name, *label.values) if text in values.rows]
