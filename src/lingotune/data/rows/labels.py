"""From raw values to class ids: the mapping of `data.labels`, and what was met that is not in it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lingotune.config.problems import Problem
from lingotune.config.schema import DataConfig, LabelConfig
from lingotune.data.rows.findings import closest, show, summarise

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.0+|,00?)?")  # 4,000 is a thousand times 4
_SHOWN_VALUES = 5
_OTHERS = "any other"
_MOST_VALUES = 1000
"""Values that are not in the mapping are told apart up to this number; a text column has no end."""


class Labels:
    """The mapping of `data.labels`, and what was met that is not in it."""

    def __init__(self, data: DataConfig) -> None:
        self._classes = data.labels
        self._offset = data.label_offset
        self._names = {label.name: n for n, label in enumerate(data.labels)}
        self._values = {
            _normal(value): n for n, label in enumerate(data.labels) for value in label.values
        }
        # 1, 1.0 and True are equal as keys, but not the same label: the type belongs to the key.
        self._known: dict[tuple[type, Any], tuple[int, int | None]] = {}
        self._whole: set[int] = set()
        self._found: dict[str, tuple[Any, str, list[str]]] = {}
        self._counts: Counter[str] = Counter()

    def read(self, raw: Any, column: str, location: str) -> tuple[int, int | None] | None:
        """Class id and star (None if not a whole number); None, and a note, if not in the mapping."""
        try:
            return self._known[type(raw), raw]
        except (KeyError, TypeError):
            pass
        read = self._map(raw)
        if read is None:
            self._note(raw, column, location)
        else:
            self._known[type(raw), raw] = read
        return read

    def _note(self, raw: Any, column: str, location: str) -> None:
        shown = show(raw)
        if shown not in self._found and len(self._found) >= _MOST_VALUES:
            shown = _OTHERS
        self._counts[shown] += 1
        locations = self._found.setdefault(shown, (raw, column, []))[2]
        if len(locations) < _SHOWN_VALUES:
            locations.append(location)

    def _map(self, raw: Any) -> tuple[int, int | None] | None:
        whole = _whole(raw)
        if whole is not None:
            if len(self._whole) < _MOST_VALUES:
                self._whole.add(whole)
            star = whole + self._offset
            class_id = self._values.get(str(star), self._names.get(str(star)))
            return None if class_id is None else (class_id, star)
        if not isinstance(raw, str):
            class_id = self._values.get(_normal(raw))
        else:
            class_id = self._names.get(raw, self._values.get(raw.strip()))
        return None if class_id is None else (class_id, None)

    def problems(self) -> list[Problem]:
        """One problem for each of the first unknown values, one for all the others."""
        shifted = self.shift_problems()
        if shifted:
            return shifted
        shown = list(self._found)[:_SHOWN_VALUES]
        problems = [self._unknown(value) for value in shown]
        others = list(self._found)[_SHOWN_VALUES:]
        if others:
            count = sum(self._counts[value] for value in others)
            _, column, locations = self._found[others[0]]
            least = "at least " if _OTHERS in self._found else ""
            what = f"{least}{len(others)} more values in {column!r} are not in data.labels"
            problems.append(Problem(summarise(locations, count), what, "another column?"))
        return problems

    def shift_problems(self) -> list[Problem]:
        """The problem of values that count from 0 where the mapping counts from 1."""
        return [self._shifted()] if self._counted_from_zero() else []

    def _counted_from_zero(self) -> bool:
        """Tell whether adding 1 would bring every value seen into the mapping."""
        fits = all(str(value + 1) in self._values for value in self._whole)
        return self._offset == 0 and fits and 0 in map(_whole, (f[0] for f in self._found.values()))

    def _shifted(self) -> Problem:
        zero = next(shown for shown, found in self._found.items() if _whole(found[0]) == 0)
        _, column, locations = self._found[zero]
        seen = ", ".join(map(str, sorted(self._whole)))
        what = f"value 0 in {column!r} is not in data.labels; with {seen} seen, it counts from 0"
        return Problem(summarise(locations, self._counts[zero]), what, "data.label_offset=1")

    def _unknown(self, shown: str) -> Problem:
        raw, column, locations = self._found[shown]
        where = summarise(locations, self._counts[shown])
        if raw is None or raw == "":
            what = f"has no value in {column!r}"
            return Problem(where, what, "remove these rows, or fill the value in")
        whole = _whole(raw)
        moved = (
            f" with data.label_offset={self._offset} is {whole + self._offset}, which"
            if (whole is not None and self._offset)
            else ""
        )
        known = ", ".join([*self._values, *self._names])
        what = f"value {shown} in {column!r}{moved} is not in data.labels; known: {known}"
        return Problem(where, what, self._works(raw))

    def _works(self, raw: Any) -> str:
        if self._offset:
            return "data.label_offset=0"
        name = self._near(raw) if isinstance(raw, str) else None
        if name is None:
            return "remove these rows, or add the value to a class in data.labels"
        classes = [
            LabelConfig(label.name, [*label.values, *([raw.strip()] * (label.name == name))])
            for label in self._classes
        ]
        return f"{name!r}, or accept it: {format_labels(classes)}"

    def _near(self, raw: str) -> str | None:
        folded = {name.strip().casefold(): name for name in self._names}
        word = raw.strip().casefold()
        return folded.get(word) or folded.get(closest(word, list(folded)))

    def warnings(self) -> list[str]:
        """Labels that count from 0, without a 0 among them, look like stars without the highest."""
        stars = {int(value) for value in self._values if _WHOLE.fullmatch(value)}
        if not self._whole or self._offset or self._whole != stars - {max(stars, default=0)}:
            return []
        name = self._classes[self._values[str(max(stars))]].name
        return [
            f"no row has the value {max(stars)} ({name}); values seen: "
            f"{', '.join(map(str, sorted(self._whole)))}. If they count from 0: data.label_offset=1"
        ]


def class_stars(classes: Sequence[LabelConfig]) -> tuple[float, ...] | None:
    """The rating that each class stands for: the mean of its values; None where one has a value that is
    no whole number, or none."""
    values = [[_whole(value) for value in label.values] for label in classes]
    found = [[star for star in stars if star is not None] for stars in values]
    if not all(stars and len(stars) == len(given) for stars, given in zip(found, values)):
        return None
    return tuple(sum(stars) / len(stars) for stars in found)


def format_labels(classes: Sequence[LabelConfig]) -> str:
    """The override that sets `data.labels`, quoted for a shell."""
    items = [
        f"{{name: {_quoted(c.name)}, values: [{', '.join(map(_quoted, c.values))}]}}"
        for c in classes
    ]
    return f"'data.labels=[{', '.join(items)}]'"


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w.-]+", text) else '"' + text.replace('"', '\\"') + '"'


def _whole(raw: Any) -> int | None:
    """The whole number that a raw value is; 4, 4.0, "4", "4.0" and "4,0" are, True and "04" are not."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return raw
    if isinstance(raw, float):
        return int(raw) if math.isfinite(raw) and raw == int(raw) else None
    if isinstance(raw, str) and len(raw) < 20 and _WHOLE.fullmatch(raw.strip()):
        return int(float(raw.replace(",", ".")))
    return None


def _normal(raw: Any) -> str:
    """A raw or declared value as text: "4" for every way of writing four; True stays a bool."""
    whole = _whole(raw)
    return repr(raw) if isinstance(raw, bool) else str(raw).strip() if whole is None else str(whole)
