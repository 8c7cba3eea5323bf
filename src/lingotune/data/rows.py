"""From raw records to rows that a model can learn from: columns, labels, languages and checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lingotune.data.findings import Findings, Located, Record, closest, show, split_location
from lingotune.data.labels import Labels
from lingotune.schema import ColumnsConfig, ConfigError, DataConfig, Problem

NO_LANGUAGE = "und"
"""Language of rows whose source names none: ISO 639's code for undetermined."""
PATTERN_LANGUAGE = "{language}"
"""Key under which a reader puts the language that stood in the pattern, not in a column."""

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
        self._labels = Labels(data)
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
            what = f"has no language code in {column!r}, but {show(value)}"
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
                what = f"has no text, but {show(title)}, in {self._columns.title!r}"
                self._found.note("title", location, what)
                return None
            if title and not title.isspace() and isinstance(text, str):
                text = f"{title}\n{text}"
        if not isinstance(text, str):
            what = f"has no text, but {show(text)}, in {column!r}"
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
