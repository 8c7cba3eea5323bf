"""From raw values to class ids: the mapping of `data.labels`, and what was met that is not in it."""

from __future__ import annotations

import math
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from lingotune.config.problems import DATA_FAILED, Problem
from lingotune.config.quoting import hydra_value
from lingotune.config.schema import AUTO, DataConfig, LabelConfig, OnError
from lingotune.data.rows.findings import show, skipping, split_location, summarise
from lingotune.data.rows.unicode import is_blank, visible_part

MOST_CLASSES = 100
"""Values that are taken for classes; a column with more holds texts or numbers."""

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.0+|,00?)?")  # 4,000 is a thousand times 4
_NUMBER = re.compile(r"0|[1-9][0-9]*|[0-9]\.[0-9]*[1-9]", re.ASCII)
"""Numbers that Hydra's grammar gives back as they are written."""
_SHOWN_VALUES = 5
_OTHERS = "any other"
_LONGEST_VALUE = 500
"""Characters by which values that are not in the mapping are told apart."""
_MOST_VALUES = 1000
"""Values that are not in the mapping are told apart up to this number; a text column has no end."""


class ClassName(str):
    """Name of a class that its column stores by number (ClassLabel of `datasets`).

    id: the number. names: those of all classes of the column, by number.
    """

    id: int
    names: tuple[str, ...]

    @classmethod
    def all_of(cls, names: Sequence[str]) -> list[ClassName]:
        """Make the names of a column, each at the place of its number."""
        made = [cls(name) for name in names]
        for number, name in enumerate(made):
            name.id, name.names = number, tuple(names)
        return made


def is_auto(classes: Sequence[LabelConfig]) -> bool:
    """Tell whether the classes are those that the source holds: `data.labels=auto`."""
    return list(classes) == [LabelConfig(AUTO)]


class Labels:
    """The mapping of `data.labels`, and what was met that is not in it, over all inputs of a source.

    rejected_share: the largest share of an input's rows that cannot be used; inputs report theirs.
    """

    def __init__(self, data: DataConfig) -> None:
        self.rejected_share = 0.0
        self._classes = data.labels
        self._offset = data.label_offset
        self._skips, self._max_rejected = data.on_error is OnError.skip, data.max_rejected
        self._names = {label.name: n for n, label in enumerate(data.labels)}
        self._values = {
            normal_value(value): n for n, label in enumerate(data.labels) for value in label.values
        }
        self._booleans = _booleans(self._names | self._values)
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
        value = alone(raw)
        read = self._map(value)
        if read is None:
            if not is_no_label(value):  # the split tells of those
                self._note(value, column, location)
        else:
            self._known[type(value), value] = read
        return read

    def _note(self, raw: Any, column: str, location: str) -> None:
        value = repr(raw)[:_LONGEST_VALUE]
        if value not in self._found and len(self._found) >= _MOST_VALUES:
            value = _OTHERS
        self._counts[value] += 1
        locations = self._found.setdefault(value, (raw, column, []))[2]
        if len(locations) < _SHOWN_VALUES:
            locations.append(location)

    def _map(self, raw: Any) -> tuple[int, int | None] | None:
        if isinstance(raw, ClassName):
            return self._map_class(raw)
        whole = whole_number(raw)
        if whole is not None:
            if len(self._whole) < _MOST_VALUES:
                self._whole.add(whole)
            star = whole + self._offset
            class_id = self._values.get(str(star), self._names.get(str(star)))
            if class_id is not None:
                return class_id, star
        elif isinstance(raw, str):
            class_id = self._names.get(raw, self._values.get(raw.strip()))
        else:
            class_id = self._values.get(normal_value(raw), self._names.get(normal_value(raw)))
        if class_id is None:
            class_id = self._booleans.get(boolean(raw))
        return None if class_id is None else (class_id, None)

    def _map_class(self, raw: ClassName) -> tuple[int, int | None] | None:
        """Map a class by its name, or by its number where the mapping has those of the whole column."""
        class_id = self._names.get(raw, self._values.get(raw.strip()))
        if class_id is not None:
            return class_id, None
        numbers = [str(number + self._offset) for number in range(len(raw.names))]
        by_name = any(name in self._names or name.strip() in self._values for name in raw.names)
        by_number = [self._values.get(n, self._names.get(n)) for n in numbers]
        class_id = by_number[raw.id]
        if by_name or None in by_number or class_id is None:
            return None
        return class_id, raw.id + self._offset

    def problems(self) -> list[Problem]:
        """Return a problem for all unknown values together, and another for rows with several."""
        shifted = self.shift_problems()
        if shifted:
            return shifted
        several = [
            value for value, found in self._found.items() if isinstance(found[0], (list, tuple))
        ]
        unknown = [value for value in self._found if value not in several]
        kinds = (unknown, self._unknown), (several, self._several)
        return [problem_of(values) for values, problem_of in kinds if values]

    def forget(self, value: str, count: int) -> None:
        """Forget a value, as `repr` writes it, that was met so often and nowhere else."""
        if self._counts[value] == count:
            self._found.pop(value, None)

    def shift_problems(self) -> list[Problem]:
        """Return the problem of values that count from 0 where the mapping counts from 1."""
        return [self._shifted()] if self._counted_from_zero() else []

    def _counted_from_zero(self) -> bool:
        """Tell whether adding 1 would bring every value seen into the mapping."""
        fits = all(str(value + 1) in self._values for value in self._whole)
        found = (whole_number(found[0]) for found in self._found.values())
        return self._offset == 0 and fits and 0 in found

    def _shifted(self) -> Problem:
        zero = next(shown for shown, found in self._found.items() if whole_number(found[0]) == 0)
        _, column, locations = self._found[zero]
        seen = ", ".join(map(str, sorted(self._whole)))
        what = f"value 0 in {column!r} is not in data.labels; with {seen} seen, it counts from 0"
        return Problem(summarise(locations, self._counts[zero]), what, "data.label_offset=1")

    def _where(self, values: Sequence[str]) -> str:
        """Summarise the rows of these values."""
        locations = [location for value in values for location in self._found[value][2]]
        places = sorted(locations, key=_place) if len({*map(_file, locations)}) == 1 else locations
        return summarise(places, sum(self._counts[value] for value in values))

    def _several(self, values: Sequence[str]) -> Problem:
        raw, column, _ = self._found[values[0]]
        what = (
            f"has several classes in {column!r}, such as {show(raw)}; here a text has exactly one"
        )
        return Problem(
            self._where(values),
            what,
            ", or ".join(filter(None, [self.leaving_out(), "data.labels_mode=multi"])),
            code=DATA_FAILED,
        )

    def leaving_out(self) -> str:
        """Write the overrides that leave rows out; '' where that is done already, or half would go."""
        return "" if self._skips else skipping(self.rejected_share, self._max_rejected)

    def _unknown(self, values: Sequence[str]) -> Problem:
        column, known = self._found[values[0]][1], ", ".join([*self._values, *self._names])
        if len(values) == 1:
            value = self._shown(values[0])
            what = f"value {value} in {column!r}{self._moved(values[0])} is not in data.labels"
        else:
            told = [f"{self._shown(v)} ({self._counts[v]})" for v in values[:_SHOWN_VALUES]]
            more = len(values) - len(told)
            least = "at least " if _OTHERS in values else ""
            what = f"{least}{len(values)} values in {column!r} are not in data.labels: {', '.join(told)}"
            what += f" and {more} more" if more else ""
        return Problem(
            self._where(values), f"{what}; known: {known}", self._fix(values), code=DATA_FAILED
        )

    def _shown(self, value: str) -> str:
        return value if value == _OTHERS else show(self._found[value][0])

    def _moved(self, value: str) -> str:
        whole = whole_number(self._found[value][0])
        if whole is None or not self._offset:
            return ""
        return f" with data.label_offset={self._offset} is {whole + self._offset}, which"

    def _fix(self, values: Sequence[str]) -> str:
        """Write what to paste: all classes with what was met, or what leads to another column."""
        if self._offset and all(
            whole_number(self._found[value][0]) is not None for value in values
        ):
            return "data.label_offset=0"
        count = sum(self._counts[value] for value in values)
        if len(values) > MOST_CLASSES or (len(values) > 20 and count < 2 * len(values)):
            return "data.columns.label=COLUMN: another column, whose values are classes"
        met = [text for value in values if (text := value_text(self._found[value][0])) is not None]
        classes, is_joined = self._with(met)
        if len(classes) < 2 or len(met) < len(values):
            return self.leaving_out() or "data.columns.label=COLUMN: another column"
        options = [format_labels(classes)]
        if not self._known and not any(label.values for label in classes):
            options.append(f"data.labels={AUTO}")
        elif not is_joined and self.leaving_out():
            options.append(self.leaving_out())
        return ", or ".join(options)

    def _with(self, met: Sequence[str]) -> tuple[list[LabelConfig], bool]:
        """Add values to the classes that were met: to one that differs by case or blanks only, or is
        spelled alike, else as new classes. Also tells whether no new class was needed."""
        values = {n: [*label.values] for n, label in enumerate(self._classes)}
        used = {class_id for class_id, _ in self._known.values()}
        own: dict[str, int] = {}
        for n, label in enumerate(self._classes):
            own |= {folded(text): n for text in (label.name, *label.values)}
        others = []
        for text in met:
            target = own.get(folded(text), own.get(_alike(folded(text), list(own))))
            if target is None:
                others.append(text)
            else:
                used.add(target)
                values[target].append(text)
        kept = [LabelConfig(self._classes[n].name, values[n]) for n in sorted(used)]
        return kept + join_spellings(others), not others

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


# --- values -------------------------------------------------------------------------------------


def alone(raw: Any) -> Any:
    """Take the value out of a list of one."""
    return raw[0] if isinstance(raw, (list, tuple)) and len(raw) == 1 else raw


def is_no_label(raw: Any) -> bool:
    """Tell whether a value says nothing: null, NaN, a blank text or an empty list."""
    if isinstance(raw, str):
        return is_blank(raw)
    return raw is None or raw in ([], ()) or (isinstance(raw, float) and math.isnan(raw))


def is_placeholder(raw: Any) -> bool:
    """Tell whether a value stands in place of a label: -1, as many test sets have it in all rows."""
    return whole_number(raw) == -1


def boolean(raw: Any) -> str:
    """Read `true` or `false` in any of their spellings, 1 and 0 included; '' for all else."""
    if isinstance(raw, bool):
        return str(raw).lower()
    whole = whole_number(raw)
    if whole is not None:
        return {0: "false", 1: "true"}.get(whole, "")
    word = raw.strip().lower() if isinstance(raw, str) else ""
    return word if word in ("true", "false") else ""


def _booleans(mapping: Mapping[str, int]) -> dict[str, int]:
    """Find the class ids of true and false: of the words, or of 0 and 1 where they are the only numbers."""
    words = {w.lower(): n for w, n in mapping.items() if w.lower() in ("true", "false")}
    if words:
        return words
    numbers = {whole_number(value): n for value, n in mapping.items() if _WHOLE.fullmatch(value)}
    return {"false": numbers[0], "true": numbers[1]} if numbers.keys() == {0, 1} else {}


def folded(text: str) -> str:
    """Bring texts together that differ by case, or by blanks around them, only."""
    return visible_part(unicodedata.normalize("NFC", text)).casefold()


def join_spellings(texts: Sequence[str]) -> list[LabelConfig]:
    """Make classes of values: one for all that differ by case or blanks only, sorted by name.

    A class is called like its first value, and has the values that are not its name.
    """
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(folded(text), []).append(text)
    classes = [_spelled(spellings) for spellings in groups.values()]
    if all(_WHOLE.fullmatch(label.name) for label in classes):
        return sorted(classes, key=lambda label: float(label.name))
    return sorted(classes, key=lambda label: (label.name.casefold(), label.name))


def _spelled(spellings: Sequence[str]) -> LabelConfig:
    name = visible_part(spellings[0])
    return LabelConfig(name, [text for text in spellings if text != name])


def value_text(raw: Any, offset: int = 0) -> str | None:
    """Write a value as `data.labels` takes it, whole numbers after the offset; None if it cannot be one."""
    if isinstance(raw, bool):
        return str(raw).lower()
    whole = whole_number(raw)
    if whole is not None:
        return str(whole + offset)
    if isinstance(raw, str):
        return None if "${" in raw else str(raw)
    return str(raw) if isinstance(raw, float) and math.isfinite(raw) else None


def _alike(word: str, known: Sequence[str]) -> str:
    """Find a word with a slip of the keyboard in it: nearly the same, from the same letter and numbers.

    Less is no evidence: `positive` and `negative` are more alike than many slips.
    """
    near = get_close_matches(word, known, n=1, cutoff=0.9)
    numbers = re.compile("[0-9]+").findall
    same = near and near[0][:1] == word[:1] and numbers(near[0]) == numbers(word)
    return near[0] if same else ""


def _file(location: str) -> str:
    return split_location(location)[0]


def _place(location: str) -> int:
    place = split_location(location)[1]
    return int(place.lstrip(": row")) if place else 0


def class_stars(classes: Sequence[LabelConfig]) -> tuple[float, ...] | None:
    """The rating that each class stands for: the mean of its values; None where one has a value that is
    no whole number, or none."""
    values = [[whole_number(value) for value in label.values] for label in classes]
    found = [[star for star in stars if star is not None] for stars in values]
    if not all(stars and len(stars) == len(given) for stars, given in zip(found, values)):
        return None
    return tuple(sum(stars) / len(stars) for stars in found)


def format_labels(classes: Sequence[LabelConfig]) -> str:
    """The override that sets `data.labels`, quoted for a shell."""
    if any(label.values for label in classes):
        items = [
            f"{{name: {_written(c.name)}, values: [{', '.join(map(_written, c.values))}]}}"
            for c in classes
        ]
    else:
        items = [_written(label.name) for label in classes]
    return shlex.quote(f"data.labels=[{', '.join(items)}]")


def _written(text: str) -> str:
    """Write a class or a value of it; numbers stand bare, since a list of texts makes them texts again."""
    return text if _NUMBER.fullmatch(text) else hydra_value(text)


def whole_number(raw: Any) -> int | None:
    """The whole number that a raw value is; 4, 4.0, "4", "4.0" and "4,0" are, True and "04" are not."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return raw
    if isinstance(raw, float):
        return int(raw) if math.isfinite(raw) and raw == int(raw) else None
    # strip() takes control characters for blanks, and float() does not.
    text = raw.strip() if isinstance(raw, str) and len(raw) < 20 else ""
    return int(float(text.replace(",", "."))) if _WHOLE.fullmatch(text) else None


def normal_value(raw: Any) -> str:
    """A raw or declared value as text: "4" for every way of writing four; True stays a bool."""
    whole = whole_number(raw)
    return repr(raw) if isinstance(raw, bool) else str(raw).strip() if whole is None else str(whole)
