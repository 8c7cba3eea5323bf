"""From raw records to rows that a model can learn from: columns, labels, languages and checks."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lingotune.data.sources import (
    Findings,
    Located,
    Record,
    closest,
    split_location,
    summarise,
)
from lingotune.schema import ColumnsConfig, ConfigError, DataConfig, LabelConfig, Problem

NO_LANGUAGE = "und"
"""Language of rows whose source names none: ISO 639's code for undetermined."""
PATTERN_LANGUAGE = "{language}"
"""Key under which a reader puts the language that stood in the pattern, not in a column."""

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.0+)?")
_SHOWN_VALUES = 5
_OTHER_NAMES = {
    "text": (
        "text",
        "review_body",
        "review_text",
        "review",
        "body",
        "content",
        "comment",
        "sentence",
    ),
    "title": ("title", "review_title", "summary", "headline"),
    "stars": ("stars", "rating", "star_rating", "score", "overall"),
    "label": ("label", "sentiment", "class", "category", "polarity"),
    "language": ("language", "lang", "locale"),
    "id": ("id", "review_id", "uid"),
}


@dataclass
class Rows:
    """Labelled texts by column; all lists have the same length.

    label: class ids, places in `data.labels`. language: codes, `und` where the source has none.
    id: the id column, or file and line. stars: ratings after the offset; None where the source
    rates otherwise. warnings: what is odd, for the caller to print.
    """

    text: list[str]
    label: list[int]
    language: list[str]
    id: list[str]
    stars: list[int] | None = None
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.text)

    def select(self, indices: Sequence[int]) -> Rows:
        """The rows of these places, in this order, without the warnings."""
        return Rows(
            [self.text[i] for i in indices],
            [self.label[i] for i in indices],
            [self.language[i] for i in indices],
            [self.id[i] for i in indices],
            None if self.stars is None else [self.stars[i] for i in indices],
        )


def collect(records: Iterable[Located], data: DataConfig, split: str) -> Rows:
    """Map, filter and check the records of one split.

    ConfigError names everything wrong with them, each kind of problem once, and what the reader
    itself found at its end.
    """
    collector = _Collector(data)
    problems: list[Problem] = []
    try:
        for location, record in records:
            collector.add(location, record)
    except ConfigError as error:
        problems += error.problems
    problems += collector.problems()
    if not problems and not collector.rows.text:
        problems.append(Problem(f"data.{split}", f"no rows were read for {split}"))
    if problems:
        raise ConfigError(problems)
    return collector.result()


class _Collector:
    """Keeps the wanted columns of good rows and notes what is wrong with the others."""

    def __init__(self, data: DataConfig) -> None:
        self._columns = data.columns
        self._wanted = list(data.languages)
        self._languages: Counter[str] = Counter()
        self._labels = _Labels(data)
        self._found = Findings()
        self._shape: tuple[str, ...] | None = None
        self._seen: dict[str, None] = {}
        self._file = ""
        self._stars: list[int | None] = []
        self.rows = Rows([], [], [], [])

    def add(self, location: str, record: Record) -> None:
        """Take one record: its language decides whether it counts, then everything is checked."""
        shape = tuple(record)
        if shape != self._shape:
            self._shape = shape
            self._seen.update(dict.fromkeys(shape))
            self._file = self._file or split_location(location)[0]
        language = self._language(location, record)
        if language is None or (self._wanted and language not in self._wanted):
            return
        text = self._text(location, record)
        labelled = self._label(location, record)
        if text is None or labelled is None:
            return
        rows = self.rows
        rows.text.append(text)
        rows.label.append(labelled[0])
        rows.language.append(language)
        rows.id.append(self._id(location, record))
        self._stars.append(labelled[1])

    def _language(self, location: str, record: Record) -> str | None:
        column = self._columns.language
        value = record.get(column or PATTERN_LANGUAGE, None if column else NO_LANGUAGE)
        if not isinstance(value, str) or not value.strip():
            what = f"has no language code in {column!r}, but {_show(value)}"
            self._found.note("language", location, what)
            return None
        language = value.strip()
        self._languages[language] += 1
        return language

    def _text(self, location: str, record: Record) -> str | None:
        column = self._columns.text
        text = record.get(column)
        if text is None or text == "" or (isinstance(text, str) and text.isspace()):
            self._found.note("empty", location, f"has no text in {column!r}")
            return None
        if self._columns.title is not None:
            title = record.get(self._columns.title)
            if title is not None and not isinstance(title, str):
                what = f"has no text, but {_show(title)}, in {self._columns.title!r}"
                self._found.note("title", location, what)
                return None
            if title and not title.isspace() and isinstance(text, str):
                text = f"{title}\n{text}"
        if not isinstance(text, str):
            what = f"has no text, but {_show(text)}, in {column!r}"
            self._found.note("type", location, what)
            return None
        wrong = _unencodable(text)
        if wrong:
            self._found.note("character", location, f"has {wrong} in {column!r}")
            return None
        return text

    def _label(self, location: str, record: Record) -> tuple[int, int | None] | None:
        stars, label = self._columns.stars, self._columns.label
        column = label if label in record or stars is None else stars
        read = self._labels.read(record.get(column or ""), column or "", location)
        return (read[0], None) if read and column != stars else read

    def _id(self, location: str, record: Record) -> str:
        if self._columns.id is not None:
            value = record.get(self._columns.id)
            if value is not None:
                return str(value)
        # The file's folder differs between laptop and worker; ids must not.
        file, place = split_location(location)
        return file.rsplit("/", 1)[-1] + place

    def problems(self) -> list[Problem]:
        """Everything wrong; problems of rows that follow from a missing column are left out."""
        if self._shape is None:
            return []
        columns = list(self._seen)
        missing = list(_missing_columns(self._columns, columns, self._file))
        absent = {problem.where.split("=")[0].split(".")[-1] for problem in missing}
        follows = {"text": ("empty",), "language": ("language",), "title": ("title",)}
        found = self._found.without([kind for name in absent for kind in follows.get(name, ())])
        problems = missing + found
        if not absent & {"stars", "label", "columns"}:
            problems += self._labels.problems()
        if "language" not in absent:
            problems += self._language_problems(columns)
        return problems

    def _language_problems(self, columns: list[str]) -> Iterator[Problem]:
        if self._wanted and self._columns.language is None and PATTERN_LANGUAGE not in columns:
            near = _candidate("language", "language", columns) or "COLUMN"
            what = "needs to know each row's language, and no column is named"
            works = f"data.columns.language={near}, or data.languages=[]"
            yield Problem("data.languages", what, works)
            return
        unknown = [code for code in self._wanted if code not in self._languages]
        if unknown:
            found = ", ".join(f"{code} ({n})" for code, n in sorted(self._languages.items()))
            what = f"no row is in {', '.join(map(repr, unknown))}; found: {found or 'none'}"
            known = [c for c in self._wanted if c in self._languages] or sorted(self._languages)
            yield Problem("data.languages", what, f"'data.languages=[{','.join(known)}]'")

    def result(self) -> Rows:
        """The rows, once there are no problems."""
        if all(star is not None for star in self._stars):
            self.rows.stars = [star for star in self._stars if star is not None]
        self.rows.warnings += self._labels.warnings()
        return self.rows


def _unencodable(text: str) -> str:
    """What keeps a text from a tokenizer, or nothing."""
    if "\0" in text:
        return "a NUL character"
    if text.isascii():
        return ""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"half a surrogate pair, U+{ord(text[error.start]):04X},"
    return ""


def _show(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


# --- columns ------------------------------------------------------------------------------------


def _missing_columns(columns: ColumnsConfig, found: list[str], file: str) -> Iterator[Problem]:
    found = [column for column in found if column != PATTERN_LANGUAGE]
    for name in ("text", "title", "language", "id"):
        column = getattr(columns, name)
        if column is not None and column not in found:
            yield _missing(name, column, found, file)
    named = {n: c for n in ("stars", "label") if (c := getattr(columns, n)) is not None}
    there = [column for column in named.values() if column in found]
    if not named:
        near = _candidate("label", "label", found) or _candidate("stars", "stars", found)
        works = f"data.columns.label={near or 'COLUMN'}, or data.columns.stars=COLUMN"
        yield Problem("data.columns", f"no column of {file} is named as the class", works)
    elif len(there) > 1:
        what = f"{there[0]!r} and {there[1]!r} are both in {file}; one of them has to decide"
        yield Problem(
            "data.columns.stars", what, "data.columns.label=null, or data.columns.stars=null"
        )
    elif not there and len(named) == 1:
        name, column = next(iter(named.items()))
        yield _missing(name, column, found, file)
    elif not there:
        what = f"neither {columns.stars!r} nor {columns.label!r} is in {file}; {_has(found)}"
        options = [f"data.columns.{n}={near}" for n in named if (near := _candidate(n, n, found))]
        works = ", or ".join(options or ["data.columns.label=COLUMN"])
        yield Problem("data.columns.label", what, works)


def _missing(name: str, column: str, found: list[str], file: str) -> Problem:
    key = f"data.columns.{name}"
    near = _candidate(name, column, found)
    options = [f"{key}={near}"] if near else []
    if name in ("title", "language", "id"):
        options.append(f"{key}=null")
    what = f"column {column!r} is not in {file}; {_has(found)}"
    return Problem(f"{key}={column}", what, ", or ".join(options) or f"{key}=COLUMN")


def _has(found: list[str]) -> str:
    return f"it has: {', '.join(found)}" if found else "it has no columns"


def _candidate(name: str, column: str, found: list[str]) -> str:
    """A column that is likely meant: its usual other names first, then a near spelling."""
    lower = {column.lower(): column for column in reversed(found)}
    for other in (column.lower(), *_OTHER_NAMES[name]):
        if other in lower:
            return lower[other]
    return closest(column, found)


# --- labels -------------------------------------------------------------------------------------


class _Labels:
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
            shown = _show(raw)
            self._counts[shown] += 1
            locations = self._found.setdefault(shown, (raw, column, []))[2]
            if len(locations) < _SHOWN_VALUES:
                locations.append(location)
        else:
            self._known[type(raw), raw] = read
        return read

    def _map(self, raw: Any) -> tuple[int, int | None] | None:
        whole = _whole(raw)
        if whole is not None:
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
        if self._counted_from_zero():
            return [self._shifted()]
        shown = list(self._found)[:_SHOWN_VALUES]
        problems = [self._unknown(value) for value in shown]
        others = list(self._found)[_SHOWN_VALUES:]
        if others:
            count = sum(self._counts[value] for value in others)
            _, column, locations = self._found[others[0]]
            what = f"{len(others)} more values in {column!r} are not in data.labels"
            problems.append(Problem(summarise(locations, count), what, "another column?"))
        return problems

    def _counted_from_zero(self) -> bool:
        """Whether adding 1 would bring every value seen into the mapping."""
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
    """The whole number that a raw value is; 4, 4.0, "4" and "4.0" are, True and "04" are not."""
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return raw
    if isinstance(raw, float):
        return int(raw) if math.isfinite(raw) and raw == int(raw) else None
    if isinstance(raw, str) and len(raw) < 20 and _WHOLE.fullmatch(raw.strip()):
        return int(float(raw))
    return None


def _normal(raw: Any) -> str:
    """A raw or declared value as text: "4" for every way of writing four; True stays a bool."""
    whole = _whole(raw)
    return repr(raw) if isinstance(raw, bool) else str(raw).strip() if whole is None else str(whole)
