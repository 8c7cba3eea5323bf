"""Readers of text: JSON lines, JSON, CSV and TSV, strict UTF-8, with the standard library alone.

CSV values stay strings. All but JSON are read line by line. `name` is what messages call the file.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import shlex
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lingotune.data.findings import AGAIN, Findings, Located, config_error
from lingotune.schema import ConfigError

_JSON_LINE = 'one object a line: {"review_body": "...", "stars": 5}'
_JSON_LIST = 'one list of objects: [{"review_body": "...", "stars": 5}, ...]'
_QUOTING = 'texts with commas, quotes or line ends in "...", quotes in them doubled'


def _lines(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines with their ends; only a newline ends a line, not U+2028."""
    offset = 0
    with _unreadable_named(name), _open(path) as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(name, number, offset + error.start, raw, error.start) from error
            yield number, line.removeprefix("\ufeff") if number == 1 else line
            offset += len(raw)


def _open(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]  # reads like a binary file
    return path.open("rb")


@contextmanager
def _unreadable_named(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise config_error(name, f"is not a whole gzip file: {error}", AGAIN) from error
    except OSError as error:
        raise config_error(name, f"cannot be read: {error.strerror or error}") from error


def _not_utf8(name: str, line: int, offset: int, raw: bytes, at: int) -> ConfigError:
    utf16 = line == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    what = f"is not UTF-8: byte 0x{raw[at]:02x} at offset {offset}"
    target = Path(name.removesuffix(".gz"))
    source = f"<(gunzip -c {shlex.quote(name)})" if name.endswith(".gz") else shlex.quote(name)
    encoding = "utf-16" if utf16 else "latin1"
    new = shlex.quote(str(target.with_suffix(f".utf8{target.suffix}")))
    return config_error(f"{name}:{line}", what, f"iconv -f {encoding} -t utf-8 {source} > {new}")


def read_jsonl(path: Path, name: str) -> Iterator[Located]:
    """One object a line; empty lines do not count."""
    return _json_lines(_lines(path, name), name)


def _json_lines(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Located]:
    found = Findings()
    for number, line in lines:
        if not line.strip():
            continue
        location = f"{name}:{number}"
        try:
            record = json.loads(line.rstrip("\r\n"))
        except (ValueError, RecursionError) as error:
            found.note("json", location, f"is not JSON: {_reason(error)}", _JSON_LINE)
            continue
        if isinstance(record, dict):
            yield location, record
        else:
            what = f"is a JSON {_json_kind(record)}, not an object"
            found.note("object", location, what, _JSON_LINE)
    if found:
        raise ConfigError(found.problems())


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error).splitlines()[0]


def _json_kind(value: Any) -> str:
    kinds = {list: "list", str: "string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "number")


def read_json(path: Path, name: str) -> Iterator[Located]:
    """A list of objects, an object that holds one such list, or JSON lines under another name."""
    text = "".join(line for _, line in _lines(path, name))
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        return _json_list(text, start + 1, name)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    lists = [v for v in value.values() if isinstance(v, list)] if isinstance(value, dict) else []
    if lists and len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]):
        return ((f"{name} row {n}", row) for n, row in enumerate(lists[0], 1))
    if lists or (isinstance(value, dict) and any(isinstance(v, dict) for v in value.values())):
        raise config_error(name, f"is one JSON object with: {', '.join(value or {})}", _JSON_LIST)
    return _json_lines(enumerate(text.split("\n"), 1), name) if text.strip() else iter(())


def _json_list(text: str, at: int, name: str) -> Iterator[Located]:
    """Elements of the list that opens just before `at`, each with the line on which it starts."""
    found, line, counted = Findings(), text.count("\n", 0, at) + 1, at
    try:
        for begin, element in _elements(text, at):
            line, counted = line + text.count("\n", counted, begin), begin
            if isinstance(element, dict):
                yield f"{name}:{line}", element
            else:
                what = f"is a JSON {_json_kind(element)}, not an object"
                found.note("object", f"{name}:{line}", what, _JSON_LIST)
    except json.JSONDecodeError as error:
        what = f"is not JSON: {_reason(error)}"
        found.note("json", f"{name}:{error.lineno}", what, _JSON_LIST)
    except (ValueError, RecursionError) as error:
        found.note("json", f"{name}:{line}", f"is not JSON: {_reason(error)}", _JSON_LIST)
    if found:
        raise ConfigError(found.problems())


def _elements(text: str, at: int) -> Iterator[tuple[int, Any]]:
    """Start and value of each element; JSONDecodeError where the text departs from a list."""
    decode, blank = json.JSONDecoder().raw_decode, re.compile(r"\s*")

    def skip(start: int) -> int:
        return blank.match(text, start).end()  # type: ignore[union-attr]  # matches anything

    at = skip(at)
    while text[at : at + 1] != "]":
        value, end = decode(text, at)
        yield at, value
        at = skip(end)
        if text[at : at + 1] == ",":
            at = skip(at + 1)
        elif text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
    if skip(at + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)


def read_csv(path: Path, name: str) -> Iterator[Located]:
    """Fields between commas; the first row is the header."""
    return _delimited(path, name, ",")


def read_tsv(path: Path, name: str) -> Iterator[Located]:
    """The same between tabs."""
    return _delimited(path, name, "\t")


def _delimited(path: Path, name: str, delimiter: str) -> Iterator[Located]:
    csv.field_size_limit(2**31 - 1)  # the default refuses texts over 131 072 characters
    found = Findings()
    rows = csv.reader((line for _, line in _lines(path, name)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in rows:
            start, line = line, rows.line_num + 1
            if not fields:
                continue
            if header is None:
                header = _checked_header(fields, f"{name}:{start}", delimiter)
            elif len(fields) == len(header):
                yield f"{name}:{start}", dict(zip(header, fields))
            else:
                _note_ragged(found, f"{name}:{start}", fields, header)
    except csv.Error as error:
        found.note("csv", f"{name}:{line}", _csv_reason(error), _QUOTING)
    if found:
        raise ConfigError(found.problems())


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


def _note_ragged(found: Findings, location: str, fields: list[str], header: list[str]) -> None:
    many = len(fields) > len(header)
    what = (
        f"has too {'many' if many else 'few'} fields: {len(fields)}, and the header {len(header)}"
    )
    found.note("many" if many else "few", location, what, _QUOTING)


def _csv_reason(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "the row that starts here has a quote that is never closed"
    return f"is not CSV: {error}"
