"""Readers of CSV and TSV, strict UTF-8, line by line, with the standard library alone.

All values stay strings. `name` is what messages call the file. Rows that cannot be read go to
`faults`; what leaves open how many rows are lost, such as a quote out of place, is a ConfigError.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from lingotune.data.rows.findings import Faults, Located, config_error
from lingotune.data.sources.json_reader import Line, read_lines

_QUOTING = 'texts with commas, quotes or line ends in "...", quotes in them doubled'
_LONGEST_FIELD = 2**24
"""Characters of a field at most; a quote that is never closed makes a field of all that follows."""
_READS_NUL = sys.version_info >= (3, 11)

_Fault = tuple[str, str]
"""Reason and message."""


def read_csv(path: Path, name: str, faults: Faults) -> Iterator[Located]:
    """Fields between commas; the first row is the header."""
    return _delimited(path, name, ",", faults)


def read_tsv(path: Path, name: str, faults: Faults) -> Iterator[Located]:
    """Read fields between tabs, as `read_csv` does between commas."""
    return _delimited(path, name, "\t", faults)


class _Feed:
    """The lines for the csv module; those of the row that it gives next, and what is wrong with them."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = lines
        self.row: list[str] = []
        self.fault: _Fault | None = None

    def __iter__(self) -> Iterator[str]:
        keep = self.row.append
        for _, line, fault in self._lines:
            keep(line)
            if fault:
                self.fault = "not-utf8", fault
            elif not _READS_NUL and "\0" in line:
                self.fault, line = ("nul-character", "has a NUL character"), line.replace("\0", "")
            yield line


def _delimited(path: Path, name: str, delimiter: str, faults: Faults) -> Iterator[Located]:
    csv.field_size_limit(_LONGEST_FIELD)  # the default refuses texts over 131 072 characters
    feed = _Feed(read_lines(path, name, faults))
    rows = csv.reader(feed, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in rows:
            location, line = f"{name}:{line}", rows.line_num + 1
            if feed.fault:
                _note_fault(faults, location, feed, header)
            elif not fields:
                pass
            elif header is None:
                header = _checked_header(fields, location, delimiter)
            elif len(fields) == len(header):
                yield location, dict(zip(header, fields))
            else:
                _note_ragged(faults, location, fields, header, "".join(feed.row))
            feed.row.clear()
    except csv.Error as error:
        raise config_error(f"{name}:{line}", _csv_reason(error), _QUOTING) from error


def _note_fault(faults: Faults, location: str, feed: _Feed, header: list[str] | None) -> None:
    reason, what = feed.fault or ("", "")
    if header is None:
        raise config_error(location, f"the header {what}", "a header in UTF-8")
    faults.note(reason, location, what, raw="".join(feed.row))
    feed.fault = None


def _checked_header(fields: list[str], location: str, delimiter: str) -> list[str]:
    twice = [column for column, count in Counter(fields).items() if count > 1]
    if twice:
        what = f"the header names a column twice: {', '.join(map(repr, twice))}"
        raise config_error(location, what, "a name for each column")
    others = [c for c in ",;\t|" if c != delimiter and c in fields[0]] if len(fields) == 1 else []
    if others:
        what = f"the header is one column, {fields[0]!r}: {others[0]!r} looks like the separator"
        raise config_error(location, what, "commas in .csv, tabs in .tsv")
    return fields


def _note_ragged(
    faults: Faults, location: str, fields: list[str], header: list[str], raw: str
) -> None:
    size = "many" if len(fields) > len(header) else "few"
    what = f"has too {size} fields: {len(fields)}, and the header {len(header)}"
    faults.note(f"too-{size}-fields", location, what, _QUOTING, raw)


def _csv_reason(error: csv.Error) -> str:
    reason = str(error)
    if "unexpected end of data" in reason:
        return "the row that starts here has a quote that is never closed"
    if "field limit" in reason:
        what = "the row that starts here has a text of more than 16 million characters"
        return f"{what}: a quote that is never closed?"
    return f"is not CSV: {error}"
