"""Readers of CSV and TSV, line by line, with the standard library alone.

All values stay strings. `name` is what messages call the file. Rows that cannot be read go to
`faults`; what leaves open how many rows are lost, such as a quote out of place, is a ConfigError,
unless rows are skipped: then the line with the quote is one of them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Generator, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from lingotune.config.problems import DATA_FAILED, ConfigError, Problem
from lingotune.config.quoting import override_text
from lingotune.config.schema import AUTO, Quoting, Separator
from lingotune.data.rows.columns import numbered
from lingotune.data.rows.findings import SKIP, Faults, Located, config_error
from lingotune.data.rows.unicode import visible_part
from lingotune.data.sources.csv_dialect import (
    SEPARATORS,
    Dialect,
    Rows,
    doubled_quotes,
    has_quoted_field,
    recognise,
    unquoted_since,
)
from lingotune.data.sources.encodings import UTF8
from lingotune.data.sources.file_format import FileFormat, check_once
from lingotune.data.sources.lines import Line, TextFile, undecoded_fix

_HEAD = 200
"""Lines that a file is recognised by."""
_LONGEST_FIELD = 2**24
"""Characters of a field at most; a quote that is never closed makes a field of all that follows."""
_READS_NUL = sys.version_info >= (3, 11)
_NO_QUOTES = "data.quoting=none"
_QUOTED = 'texts with commas, quotes or line ends in "...", quotes in them doubled'

_Fault = tuple[str, str]
"""Reason and message."""


def read_csv(path: Path, name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    """Read fields between commas, or the separator that the file has; the first row is the header."""
    return _delimited(path, name, ",", faults, how)


def read_tsv(path: Path, name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    """Read fields between tabs, as `read_csv` does between commas."""
    return _delimited(path, name, "\t", faults, how)


def written_with(path: Path, usual: str, how: FileFormat) -> FileFormat:
    """Return the encoding and the separator that a file is found to have; usual ones are left at auto."""
    file = TextFile(path, str(path), Faults(), how)
    found = how if file.codec == UTF8 else replace(how, encoding=file.codec)
    if not usual:
        return found
    dialect = recognise([text for _, text, _ in islice(file.lines(), _HEAD)], usual, how)
    names = {c: name for name, c in SEPARATORS.items() if c != usual}
    return replace(found, separator=names.get(dialect.separator, Separator.auto))


class _Feed:
    """The lines for the csv module; those of the row that it gives next, and what is wrong with them."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._again: list[Line] = []
        self.row: list[Line] = []
        self.fault: _Fault | None = None

    def __iter__(self) -> Iterator[str]:
        keep = self.row.append
        while self._again:
            keep(self._again.pop())
            yield self._checked(self.row[-1])
        for one in self._lines:
            keep(one)
            yield (
                one[1] if not one[2] and (_READS_NUL or "\0" not in one[1]) else self._checked(one)
            )

    def _checked(self, line: Line) -> str:
        _, text, fault = line
        if fault:
            self.fault = "not-in-encoding" if "UTF-8" not in fault else "not-utf8", fault
        elif not _READS_NUL and "\0" in text:
            self.fault, text = ("nul-character", "has a NUL character"), text.replace("\0", "")
        return text

    def raw(self) -> str:
        """Return the text of the lines of the row."""
        return "".join(text for _, text, _ in self.row)

    def read_again(self, lines: list[Line]) -> None:
        """Give these lines in place of those of the row."""
        self._again.extend(reversed(lines))
        self.row.clear()
        self.fault = None

    def retry(self) -> str:
        """Give the lines of the row once more, as rows of their own, but the first, which is returned."""
        (_, first, _), *others = self.row
        self.read_again(others)
        return first


def _delimited(
    path: Path, name: str, usual: str, faults: Faults, how: FileFormat
) -> Iterator[Located]:
    csv.field_size_limit(_LONGEST_FIELD)  # the default refuses texts over 131 072 characters
    file = TextFile(path, name, faults, how)
    head = [text for _, text, _ in islice(file.lines(), _HEAD)]
    dialect = recognise(head, usual, how)
    quoted = _is_quoted(file, head, dialect, name, faults, how)
    if dialect.quote != '"':
        faults.remark(f"{name}: its texts stand in {dialect.quote}, as the header's names do")
    yield from _Table(name, dialect, quoted, faults, how).rows(file.lines(), head)


def _is_quoted(
    file: TextFile, head: list[str], dialect: Dialect, name: str, faults: Faults, how: FileFormat
) -> bool:
    """Tell whether quotes are syntax; between tabs they need not be, which takes all lines to see."""
    if how.quoting is not Quoting.auto:
        return how.quoting is Quoting.standard
    header = next((line for line in head[dialect.preamble :] if line.strip()), "")
    if dialect.separator != "\t" or dialect.quote != '"' or has_quoted_field(header):
        return True
    if not file.may_open_quotes():
        return True
    rows = islice(file.lines(), dialect.preamble, None)
    line = unquoted_since(rows, header.count("\t") + 1)
    if line is None:
        return True
    what = "its quotes do not balance, and are read as characters like others (data.quoting=none)"
    faults.remark(f"{name}: {what}; the first is in line {line}")
    return False


class _Table:
    """The rows of one file."""

    def __init__(
        self, name: str, dialect: Dialect, quoted: bool, faults: Faults, how: FileFormat
    ) -> None:
        self._name, self._dialect, self._quoted = name, dialect, quoted
        self._faults, self._how = faults, how
        self._header: list[str] | None = None
        self._last = ""
        self._escapes = False
        self._seen: Rows | None = None

    def rows(self, lines: Iterator[Line], head: list[str]) -> Iterator[Located]:
        """Yield the rows; lines that quotes hold together wrongly are read again, one by one."""
        if self._how.header:
            self._header = [*self._how.header]
            self._last = self._header[-1]
            self._seen = self._looks(self._header, ["", *head])
        feed = _Feed(islice(lines, self._dialect.preamble, None))
        first = self._dialect.preamble + 1
        while first:
            first = yield from self._rows(feed, first, head)

    def _rows(self, feed: _Feed, first: int, head: list[str]) -> Generator[Located, None, int]:
        """Yield rows from a line on; returns the line to begin anew at, or 0 at the end."""
        rows, line = self._parsed(feed), first
        faults, name = self._faults, self._name
        header, seen = self._header, self._seen
        try:
            for fields in rows:
                location, start, line = f"{name}:{line}", line, first + rows.line_num
                if feed.fault:
                    self._note_fault(location, feed)
                elif not fields:
                    pass
                elif header is None:
                    header = self._header = self._checked_header(fields, location)
                    seen = self._seen = self._looks(header, head)
                elif seen is not None and len(feed.row) > 1 and self._is_melted(feed, seen):
                    self._note_melted(location, feed, head)
                    return start + 1
                elif len(fields) == len(header):
                    if fields[-1] == self._last and self._is_header(fields):
                        what = "is the header once more"
                        faults.note("header-again", location, what, SKIP, feed.raw())
                        feed.row.clear()
                        continue
                    if seen is not None:
                        seen.learn(fields)
                    yield location, dict(zip(header, fields))
                elif len(fields) > len(header) and not any(fields[len(header) :]):
                    yield location, dict(zip(header, fields))
                else:
                    self._note_ragged(location, fields, header, feed.raw())
                feed.row.clear()
        except csv.Error as error:
            if self._escapes_quotes(feed):
                return line
            where, what = f"{name}:{line}", _csv_reason(error)
            if faults.listener is None or header is None:
                fix = self._fix(error, head) if header else _NO_QUOTES
                raise ConfigError([Problem(where, what, fix, rows=1, code=DATA_FAILED)]) from error
            faults.note("quote-out-of-place", where, what, self._fix(error, head), feed.retry())
            return line + 1
        return 0

    def _is_header(self, fields: list[str]) -> bool:
        """Tell whether a row names the columns, as the second of two files that were joined begins."""
        return [visible_part(field) for field in fields] == self._header

    def _escapes_quotes(self, feed: _Feed) -> bool:
        """Read the row again if a backslash marks quotes in it as part of a text."""
        if not self._quoted or self._how.quoting is not Quoting.auto or self._dialect.quote != '"':
            return False
        lines = [(number, doubled_quotes(text), fault) for number, text, fault in feed.row]
        if lines == feed.row:
            return False
        if not self._escapes:
            self._escapes = True
            line = next(a[0] for a, b in zip(feed.row, lines) if a != b)
            what = f'\\" is read as a quote within a text; the first is in line {line}'
            self._faults.remark(f"{self._name}: {what}")
        feed.read_again(lines)
        return True

    def _parsed(self, feed: _Feed) -> Any:
        return csv.reader(
            feed,
            delimiter=self._dialect.separator,
            quotechar=self._dialect.quote,
            quoting=csv.QUOTE_MINIMAL if self._quoted else csv.QUOTE_NONE,
            skipinitialspace=self._dialect.spaced,
            strict=True,
        )

    def _looks(self, header: list[str], head: list[str]) -> Rows | None:
        """Return the appearance of rows; None if quotes may join anything."""
        if not self._quoted or self._how.quoting is not Quoting.auto:
            return None
        seen = Rows(self._dialect.separator, len(header))
        seen.learn_lines(head[self._dialect.preamble + 1 :])
        return seen

    def _is_melted(self, feed: _Feed, seen: Rows) -> bool:
        return seen.are([text for _, text, _ in feed.row])

    def _checked_header(self, fields: list[str], location: str) -> list[str]:
        names = [visible_part(field) for field in fields]
        self._last = fields[-1]
        if names.count("") > 1:  # as spreadsheets write them: columns that are empty
            names = [name or other for name, other in zip(names, numbered(len(names)))]
        check_once(names, location)
        separator = self._dialect.separator
        others = [
            (setting.name, c)
            for setting, c in SEPARATORS.items()
            if c != separator and c in fields[0] and len(fields) == 1
        ]
        if others:
            setting, other = others[0]
            what = f"the header is one column, {fields[0]!r}: {other!r} looks like the separator"
            raise config_error(location, what, f"data.separator={setting}")
        return names

    # --- what is wrong --------------------------------------------------------------------------

    def _note_fault(self, location: str, feed: _Feed) -> None:
        reason, what = feed.fault or ("", "")
        undecoded = reason.startswith("not-")
        fix = undecoded_fix(self._how) if undecoded else ""
        if self._header is None:
            other = "cp1252" if self._how.encoding == AUTO else AUTO
            another = f"data.encoding={other}" if undecoded else "a header without it"
            raise config_error(location, f"the header {what}", another)
        self._faults.note(reason, location, what, fix, feed.raw())
        feed.fault = None

    def _fix(self, error: csv.Error, head: list[str]) -> str:
        return SKIP if "new-line" in str(error) else self._quote_fix(head)

    def _quote_fix(self, head: list[str]) -> str:
        """Return the overrides that get past a misplaced quote, the best for the other rows first."""
        separator = self._dialect.separator
        lines = [line for line in head[self._dialect.preamble :] if line.strip()]
        need_quotes = any(line.count(separator) > lines[0].count(separator) for line in lines)
        return f"{SKIP}, or {_NO_QUOTES}" if need_quotes else f"{_NO_QUOTES}, or {SKIP}"

    def _note_melted(self, location: str, feed: _Feed, head: list[str]) -> None:
        more = len(feed.row) - 1
        further = "1 line further" if more == 1 else f"{more} lines further"
        what = f"opens a quote that is closed {further}, and each line looks like a row"
        fix = f"{self._quote_fix(head)}, or data.quoting=standard if it is one text"
        self._faults.note("quote-out-of-place", location, what, fix, feed.retry())

    def _note_ragged(self, location: str, fields: list[str], header: list[str], raw: str) -> None:
        size = "many" if len(fields) > len(header) else "few"
        called = "data.header" if self._how.header else "the header"
        what = f"has too {size} fields: {len(fields)}, and {called} {len(header)}"
        fix = f"{SKIP}, or {_QUOTED}"
        if self._how.header:
            names = [*header, *numbered(len(fields))[len(header) :]][: len(fields)]
            fix = f"{override_text('data.header', names)}, or {SKIP}"
        self._faults.note(f"too-{size}-fields", location, what, fix, raw)


def _csv_reason(error: csv.Error) -> str:
    reason = str(error)
    if "unexpected end of data" in reason:
        return "the row that starts here has a quote that is never closed"
    if "field limit" in reason:
        what = "the row that starts here has a text of more than 16 million characters"
        return f"{what}: a quote that is never closed?"
    if "new-line" in reason:
        return "has a carriage return within a field without quotes"
    return f"is not CSV: {error}"
