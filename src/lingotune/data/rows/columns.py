"""Columns of the source: which there are, and what to type where one that is named is missing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from lingotune.config.problems import Problem, closest
from lingotune.config.quoting import override_text
from lingotune.config.schema import AUTO, DETECT, PATTERN_LANGUAGE, ColumnsConfig, LabelConfig
from lingotune.data.rows.findings import Record, split_location
from lingotune.data.rows.labels import format_labels

_MOST_COLUMNS = 1000
"""Columns that are remembered beside the named ones; JSON lines can have others in every row."""
_IS_TABLE = re.compile(r"\.(csv|tsv|xlsx|xls|ods)\b", re.IGNORECASE)
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
        "premise",
        "sentence1",
        "question",
        "question1",
        "text1",
    ),
    "text_pair": (
        "text_pair",
        "hypothesis",
        "sentence2",
        "answer",
        "question2",
        "text2",
        "passage",
        "context",
        "statement",
    ),
    "title": ("title", "review_title", "summary", "headline"),
    "stars": ("stars", "rating", "star_rating", "score", "overall"),
    "label": ("label", "sentiment", "class", "category", "polarity"),
    "language": ("language", "lang", "locale"),
    "id": (
        "id",
        "review_id",
        "uid",
        "uuid",
        "guid",
        "row_id",
        "text_id",
        "comment_id",
        "tweet_id",
        "document_id",
        "doc_id",
        "example_id",
        "sample_id",
    ),
    "group": ("product_id", "asin", "item_id", "reviewer_id", "user_id"),
    "source": ("source", "dataset", "origin"),
}


_PAIRS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "answer"),
    ("text1", "text2"),
    ("text", "text_pair"),
)
"""Usual names of the two texts of pairs."""


class SeenColumns:
    """The columns met so far; told only where they change, for most rows of a file have the same."""

    def __init__(
        self, columns: ColumnsConfig, classes: Sequence[Sequence[str]] | None = None
    ) -> None:
        """classes: what the column of each class may be called; None = one column holds a text's class."""
        self.names: tuple[str, ...] | None = None
        """The columns of the last row, None before the first."""
        if columns.language == DETECT:
            columns = replace(columns, language=None)
        if columns.id == AUTO:
            columns = replace(columns, id=None)
        if columns.source == AUTO:
            columns = replace(columns, source=None)
        self._columns, self._classes = columns, classes
        self._named = {name for name in vars(columns).values() if name is not None}
        self._named.update(name for names in classes or () for name in names)
        self._all: dict[str, None] = {}
        self._first = ""
        self._prefix = ""
        self._shapes: set[tuple[str, ...]] = set()
        self._by_file: dict[str, set[str]] = defaultdict(set)
        self._lacking: dict[str, tuple[str, ...]] = {}

    def change(
        self, before: str, location: str, names: tuple[str, ...], listed: tuple[str, ...]
    ) -> None:
        """Note that the row at `location` has other columns than the row at `before`.

        listed: names for messages, those in objects included.
        """
        previous, self.names = self.names, names
        prefix = location.rstrip("0123456789")
        if prefix != self._prefix or len(self._shapes) > _MOST_COLUMNS:
            self._prefix, self._shapes = prefix, set()
        elif names in self._shapes:
            return
        self._shapes.add(names)
        file = split_location(location)[0]
        self._first = self._first or file
        self._by_file[file] |= self._named.intersection(names)
        if previous is not None:
            self._by_file[split_location(before)[0]] |= self._named.intersection(previous)
        self._all.update(dict.fromkeys(listed if len(self._all) < _MOST_COLUMNS else ()))
        self._all.update(dict.fromkeys(name for name in names if name in self._named))

    def note_lack(self, location: str, record: Record) -> None:
        """Note the file of a row that cannot be used, if a column that every row needs is not in it."""
        columns = self._columns
        classed = columns.label in record
        if self._classes is None:
            classed = classed or columns.stars in record
        elif not classed:
            classed = not _without_column(self._classes, record)
        given = (columns.text, columns.text_pair, columns.language)
        needed = [column for column in given if column is not None]
        if not classed or not all(column in record for column in needed):
            self._lacking.setdefault(split_location(location)[0], tuple(record))

    def all(self) -> list[str]:
        """Every column, in the order of their first rows."""
        return list(self._all)

    def missing(self) -> list[Problem]:
        """Named columns that no row has."""
        return list(_missing_columns(self._columns, self.all(), self._first, self._classes))

    def missing_in_files(self) -> list[Problem]:
        """Columns that every row needs, and no row of some file has."""
        needed = replace(self._columns, title=None, id=None, group=None, source=None)
        return [
            problem
            for file, names in self._lacking.items()
            for found in [list(dict.fromkeys([*names, *sorted(self._by_file[file])]))]
            for problem in _missing_columns(needed, found, file, self._classes)
        ]


def _missing_columns(
    columns: ColumnsConfig,
    found: list[str],
    file: str,
    several: Sequence[Sequence[str]] | None,
) -> Iterator[Problem]:
    found = [column for column in found if column != PATTERN_LANGUAGE]
    named = [column for column in vars(columns).values() if column is not None]
    table = found and _IS_TABLE.search(file) and not {*named} & {*found}
    header = override_text("data.header", guessed_header(columns, found)) if table else ""
    if header and any(map(is_number, found)):
        first = " | ".join(name if len(name) < 30 else f"{name[:27]}..." for name in found[:10])
        what = f"none of the columns is in {file}, whose first row is no header: {first}"
        yield Problem("data.columns", what, header, key="data.header")
        return
    for name in ("text", "text_pair", "title", "language", "id", "group", "source"):
        column = getattr(columns, name)
        if column is not None and column not in found:
            problem = _missing(name, column, found, file, named)
            if name == "text" and header and any(len(one.split()) > 3 for one in found):
                fix = f"{problem.fix}, or {header} if the first row is no header"
                problem = replace(problem, fix=fix)
            yield problem
    if several is not None:
        yield from _missing_classes(columns.label, several, found, file)
        return
    classes = {n: c for n in ("stars", "label") if (c := getattr(columns, n)) is not None}
    there = [column for column in classes.values() if column in found]
    if not classes:
        near = candidate("label", "label", found) or candidate("stars", "stars", found)
        fix = (
            f"{override_text('data.columns.label', near or 'COLUMN')}, or data.columns.stars=COLUMN"
        )
        yield Problem("data.columns", f"no column of {file} is named as the class", fix)
    elif len(there) > 1:
        both = f"{there[0]!r} and {there[1]!r} are both in {file}"
        if there[0] == there[1]:
            both = f"{there[0]!r} is named as stars and as label"
        what = f"{both}; one of them has to decide"
        yield Problem(
            "data.columns.stars", what, "data.columns.label=null, or data.columns.stars=null"
        )
    elif not there and len(classes) == 1:
        name, column = next(iter(classes.items()))
        yield _missing(name, column, found, file, named)
    elif not there:
        what = f"neither {columns.stars!r} nor {columns.label!r} is in {file}; {_has(found)}"
        options = [
            override_text(f"data.columns.{n}", near)
            for n in classes
            if (near := candidate(n, n, found))
        ]
        fix = ", or ".join(options or ["data.columns.label=COLUMN"])
        yield Problem("data.columns.label", what, fix)


def _without_column(
    classes: Sequence[Sequence[str]], found: Collection[str]
) -> list[Sequence[str]]:
    return [names for names in classes if not any(name in found for name in names)]


def _missing_classes(
    column: str | None, classes: Sequence[Sequence[str]], found: list[str], file: str
) -> Iterator[Problem]:
    """Find classes without a column of their own, where no column holds the list of a text's classes."""
    missing = [names[0] for names in _without_column(classes, found)]
    if column in found or (classes and not missing):
        return
    if missing and len(missing) < len(classes):
        what = f"there is no column for the class {' or '.join(missing)} in {file}; {_has(found)}"
        there = [
            LabelConfig(names[0], [*names[1:]]) for names in classes if names[0] not in missing
        ]
        yield Problem("data.labels", what, format_labels(there))
        return
    near = candidate("label", column or "label", found)
    what = (
        f"no column {column!r} with the classes of a text is in {file}, nor a column for each class"
    )
    fix = override_text("data.columns.label", near or "COLUMN")
    yield Problem(
        "data.columns.label", f"{what}; {_has(found)}", f"{fix}, or 'data.labels=[COLUMN, COLUMN]'"
    )


def is_number(name: str) -> bool:
    """Tell whether what stands in the place of a column's name is a row's value."""
    return name.replace(".", "", 1).isdigit()


def numbered(count: int) -> list[str]:
    """Name columns that have no names: `column 1`, `column 2`, ..."""
    return [f"column {n}" for n in range(1, count + 1)]


def guessed_header(columns: ColumnsConfig, first: Sequence[str]) -> list[str]:
    """Guess the column names of a table without a header from its first row.

    The longest value is the text, the next one the second text of pairs, a digit the stars, two letters are
    the language, and another word is the class.
    """
    names = numbered(len(first))
    left = sorted(range(len(first)), key=lambda n: -len(first[n]))
    names[left.pop(0)] = columns.text
    if columns.text_pair is not None and left:
        names[left.pop(0)] = columns.text_pair
    forms = [(columns.stars, r"\d(\.0)?"), (columns.language, "[A-Za-z]{2}")]
    if columns.stars is None or not any(re.fullmatch(forms[0][1], first[n]) for n in left):
        forms.append((columns.label, r"\S{1,20}"))
    for name, form in forms:
        found = next((n for n in left if re.fullmatch(form, first[n])), None)
        if name is not None and found is not None:
            names[found] = name
            left.remove(found)
    return names


def _missing(
    name: str, column: str, found: list[str], file: str, named: Collection[str]
) -> Problem:
    """Report a column that is missing. named: columns that have a meaning, of which none is offered."""
    key = f"data.columns.{name}"
    near = candidate(name, column, [one for one in found if one not in named])
    options = [override_text(key, near)] if near else []
    if name in ("text_pair", "title", "language", "id", "group", "source"):
        options.append(f"{key}=null")
    if name == "language" and not near:
        options.append(f"{key}={DETECT}")
    what = f"column {column!r} is not in {file}; {_has(found)}"
    return Problem(f"{key}={column}", what, ", or ".join(options) or f"{key}=COLUMN")


def _has(found: list[str]) -> str:
    return f"it has: {', '.join(found)}" if found else "it has no columns"


def usual_column(name: str, found: Sequence[str]) -> str | None:
    """Find the column that has one of the usual names of what is looked for, in any case."""
    lower = {column.strip().lower(): column for column in reversed(found)}
    return next((lower[other] for other in _OTHER_NAMES[name] if other in lower), None)


def usual_pair(found: Sequence[str]) -> tuple[str, str] | None:
    """Find two columns that have usual names of the texts of pairs, in any case."""
    lower = {column.strip().lower(): column for column in reversed(found)}
    pairs = ((lower[one], lower[two]) for one, two in _PAIRS if one in lower and two in lower)
    return next(pairs, None)


def candidate(name: str, column: str, found: Sequence[str]) -> str:
    """A column that is likely meant: its usual other names first, then a near spelling."""
    lower = {column.lower().rpartition(".")[2]: column for column in reversed(found)}
    lower.update({column.lower(): column for column in reversed(found)})
    for other in (column.lower(), *_OTHER_NAMES[name]):
        if other in lower:
            return lower[other]
    return closest(column, found)
