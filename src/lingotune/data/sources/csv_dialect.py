"""Separators and quoting of CSV and TSV files, recognised from their lines."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lingotune.config.schema import Quoting, Separator
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.lines import Line

SEPARATORS = {
    Separator.comma: ",",
    Separator.semicolon: ";",
    Separator.tab: "\t",
    Separator.pipe: "|",
}
_SEP_LINE = re.compile(r'\ufeff?"?sep=(.)"?\s*')
_WHOLE_FIELD = re.compile(r'"(?:[^"]|"")*"')
_IN_APOSTROPHES = re.compile(r"'[^']*'(?:(.)'[^']*')(?:\1'[^']*')*")
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_MOST_VALUES = 1000
"""Values of a column that are remembered; one with more names no row by its value."""
_NUMBER = re.compile(r"\s*[+-]?[0-9]+(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]+)?\s*")
_FEW = 3
"""Rows from which on their values tell what a row looks like."""
_TAUGHT = 1000
"""Rows that show which columns hold numbers alone."""


@dataclass(frozen=True)
class Dialect:
    """Dialect of a file. preamble: lines before the header (`sep=;`, which Excel writes).
    spaced: a blank follows every separator, and belongs to no value. quote: what texts stand in."""

    separator: str
    preamble: int = 0
    spaced: bool = False
    quote: str = '"'


def recognise(head: Sequence[str], usual: str, how: FileFormat) -> Dialect:
    """Recognise the dialect of a file by its first lines.

    The separator is the one that splits header and rows alike; `usual` where several do, or none.
    """
    said = _SEP_LINE.fullmatch(head[0]) if head else None
    rows = head[1:] if said else head
    header = next((line for line in rows if line.strip()), "")
    quoted = how.quoting is Quoting.auto and _IN_APOSTROPHES.fullmatch(header.strip())
    if how.separator is not Separator.auto:
        separator = SEPARATORS[how.separator]
    elif said:
        separator = said[1]
    elif quoted and quoted[1] in SEPARATORS.values():
        separator = quoted[1]
    else:
        options = [usual, *(c for c in SEPARATORS.values() if c != usual)]
        separator = max(options, key=lambda c: _evenness(rows, c))
    count = header.count(separator)
    spaced = 0 < count == header.count(separator + " ")
    quote = "'" if quoted and quoted[1] == separator else '"'
    return Dialect(separator, 1 if said else 0, spaced, quote)


def _evenness(lines: Sequence[str], separator: str) -> float:
    """Share of rows with as many fields as the header; 0 where that has one only."""
    try:
        rows = csv.reader(
            lines,
            delimiter=separator,
            quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
        )
        counts = [len(row) for row in rows if row]
    except csv.Error:
        counts = [line.count(separator) + 1 for line in lines]
    return counts.count(counts[0]) / len(counts) if counts and counts[0] > 1 else 0.0


def unquoted_since(lines: Iterable[Line], columns: int) -> int | None:
    """Find the first line that shows quotes between tabs to be characters like others; None if they are
    syntax.

    It is shown by fields that open a quote and do not close it, on lines that are whole rows and are
    followed by whole rows. Where quotes are syntax, the row goes on in the next line.
    """
    first, unquoted, quoted, opened = None, 0, 0, 0
    for number, line, _ in lines:
        if not opened and '"' not in line:
            continue
        whole = line.count("\t") == columns - 1
        if opened and whole:
            first, unquoted = first or opened, unquoted + 1
        elif opened:
            quoted += 1
        opened = 0
        if _opens_quote(line):
            if whole:
                opened = number
            else:
                quoted += 1
    if opened:
        first, unquoted = first or opened, unquoted + 1
    return first if unquoted > quoted else None


def has_quoted_field(line: str) -> bool:
    """Return True if some tab-separated field is quoted as a whole."""
    return any(map(_WHOLE_FIELD.fullmatch, line.rstrip("\r\n").split("\t")))


def _opens_quote(line: str) -> bool:
    fields = line.rstrip("\r\n").split("\t")
    return any(f.startswith('"') and not _WHOLE_FIELD.fullmatch(f) for f in fields)


def doubled_quotes(line: str) -> str:
    """Write quotes that a backslash marks as part of a text in the way of CSV: doubled."""
    return _ESCAPED_QUOTE.sub(r'\1""', line)


class Rows:
    """The appearance of a file's rows: the values of each column whose values repeat, such as labels, and
    the columns that hold numbers alone."""

    def __init__(self, separator: str, columns: int) -> None:
        self._separator, self._columns = separator, columns
        self._count = 0
        self._values: dict[int, Counter[str]] = {n: Counter() for n in range(columns)}
        self._numbers = set(range(columns))

    def learn(self, fields: Sequence[str]) -> None:
        """Record the values of a row."""
        self._count += 1
        if self._count < _TAUGHT and self._numbers:
            self._numbers = {n for n in self._numbers if _NUMBER.fullmatch(fields[n])}
        for column, values in self._values.items():
            values[fields[column]] += 1
            if len(values) > _MOST_VALUES:
                del self._values[column]
                break

    def learn_lines(self, lines: Iterable[str]) -> None:
        """Record the values of lines that are rows by themselves."""
        for line in lines:
            fields = self._split(line)
            if len(fields) == self._columns:
                self.learn(fields)

    def are(self, lines: Sequence[str]) -> bool:
        """Return True if lines that quotes join into one row each look like a row of their own.

        They may be all that is known of rows: fewer than three, values that come but once and empty ones
        show nothing.
        """
        repeating = {n: v for n, v in self._values.items() if 2 * len(v) <= self._count}
        telling = repeating.keys() | self._numbers
        if not telling or self._count < _FEW:
            return False
        alike = 0
        for line in lines:
            fields = self._split(line)
            if len(fields) == self._columns:
                known = all(values[fields[n]] > 1 for n, values in repeating.items())
                known = known and all(_NUMBER.fullmatch(fields[n]) for n in self._numbers)
                alike += known and any(fields[n] for n in telling)
        return alike >= max(2, 0.9 * len(lines))

    def _split(self, line: str) -> list[str]:
        return [f.strip().strip('"') for f in line.rstrip("\r\n").split(self._separator)]
