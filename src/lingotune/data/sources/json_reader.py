"""Readers of JSON lines and JSON, strict UTF-8, with the standard library alone.

JSON lines are read line by line, a JSON file is held as a whole. `name` is what messages call the
file. Rows that cannot be read go to `faults`; what leaves open how many rows are lost is a
ConfigError.
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lingotune.data.rows.findings import AGAIN, Faults, Located, config_error, written

_JSON_LINE = 'one object a line: {"review_body": "...", "stars": 5}'
_JSON_LIST = 'one list of objects: [{"review_body": "...", "stars": 5}, ...]'
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_decode = json.JSONDecoder().raw_decode
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # what raw_decode is built upon
# What `surrogateescape` makes of bytes that are not UTF-8.
_UNDECODED = re.compile("[\udc80-\udcff]")

Line = tuple[int, str, str]
"""Number from 1; text with its end; what keeps it from being UTF-8, or nothing."""


def read_lines(path: Path, name: str, faults: Faults) -> Iterator[Line]:
    """The lines of a file; only a newline ends one, not U+2028.

    Bytes that are not UTF-8 end the reading, unless faults are told one by one.
    """
    offset = 0
    with _unreadable_named(name), _open(path) as file:
        for number, raw in enumerate(file, 1):
            fault = ""
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                at, utf16 = error.start, number == 1 and raw[:2] in _UTF16_MARKS
                fault = f"is not UTF-8: byte 0x{raw[at]:02x} at offset {offset + at}"
                if utf16 or faults.listener is None:
                    fix = _conversion(name, "utf-16" if utf16 else "latin1")
                    raise config_error(f"{name}:{number}", fault, fix) from error
                line = raw.decode("utf-8", "surrogateescape")
            if number == 1:
                line = line.removeprefix("\ufeff")
            yield number, line, fault
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


def _conversion(name: str, encoding: str) -> str:
    """The command that makes UTF-8 of a file."""
    target = Path(name.removesuffix(".gz"))
    source = f"<(gunzip -c {shlex.quote(name)})" if name.endswith(".gz") else shlex.quote(name)
    new = shlex.quote(str(target.with_suffix(f".utf8{target.suffix}")))
    return f"iconv -f {encoding} -t utf-8 {source} > {new}"


def read_jsonl(path: Path, name: str, faults: Faults) -> Iterator[Located]:
    """One object a line; empty lines do not count."""
    return _json_lines(read_lines(path, name, faults), name, faults)


def _json_lines(lines: Iterable[Line], name: str, faults: Faults) -> Iterator[Located]:
    for number, line, fault in lines:
        if not line or line.isspace():
            continue
        location = f"{name}:{number}"
        if fault:
            faults.note("not-utf8", location, fault, _conversion(name, "latin1"), line)
            continue
        try:
            record = _parsed(line)
        except (ValueError, RecursionError) as error:
            faults.note("broken-json", location, f"is not JSON: {_reason(error)}", _JSON_LINE, line)
            continue
        if isinstance(record, dict):
            yield location, record
        else:
            what = f"is a JSON {_json_kind(record)}, not an object"
            faults.note("not-an-object", location, what, _JSON_LINE, line)


def _parsed(line: str) -> Any:
    """Parse a line as `json.loads` does, in half the time if nothing surrounds the value."""
    try:
        value, end = _scan(line, 0)
        if line[end:] in ("\n", "", "\r\n"):
            return value
    except (ValueError, StopIteration):
        pass
    return json.loads(line.rstrip("\r\n"))


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error).splitlines()[0]


def _json_kind(value: Any) -> str:
    kinds = {list: "list", str: "string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "number")


def read_json(path: Path, name: str, faults: Faults) -> Iterator[Located]:
    """A list of objects, an object that holds one such list, or JSON lines under another name."""
    lines = list(read_lines(path, name, faults))
    text = "".join(line for _, line, _ in lines)
    undecoded = any(fault for _, _, fault in lines)
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        return _objects(_json_list(text, start + 1, name), undecoded, faults)
    rows = _wrapped(text, name, faults)
    if rows is not None:
        located = ((f"{name} row {n}", row) for n, row in enumerate(rows, 1))
        return _objects(located, undecoded, faults)
    return _json_lines(lines, name, faults)


def _wrapped(text: str, name: str, faults: Faults) -> list[Any] | None:
    """The one list of objects in an object; None if the text is something else than an object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    lists = [v for v in value.values() if isinstance(v, list)]
    enough = any if faults.listener else all
    if lists and len(lists) == 1 and enough(isinstance(row, dict) for row in lists[0]):
        return lists[0]
    if lists or any(isinstance(v, dict) for v in value.values()):
        raise config_error(name, f"is one JSON object with: {', '.join(value)}", _JSON_LIST)
    return None


def _objects(
    values: Iterable[tuple[str, Any]], undecoded: bool, faults: Faults
) -> Iterator[Located]:
    """The values that are objects and, in a file with undecoded bytes, hold none of them."""
    for location, value in values:
        raw = written(value) if undecoded else ""
        if _UNDECODED.search(raw):
            faults.note("not-utf8", location, "is not UTF-8", raw=raw)
        elif isinstance(value, dict):
            yield location, value
        else:
            what = f"is a JSON {_json_kind(value)}, not an object"
            faults.note("not-an-object", location, what, _JSON_LIST, written(value))


def _json_list(text: str, at: int, name: str) -> Iterator[tuple[str, Any]]:
    """Elements of the list that opens just before `at`, each with the line on which it starts."""
    line, counted = text.count("\n", 0, at) + 1, at
    try:
        for begin, element in _elements(text, at):
            line, counted = line + text.count("\n", counted, begin), begin
            yield f"{name}:{line}", element
    except json.JSONDecodeError as error:
        what = f"is not JSON: {_reason(error)}"
        raise config_error(f"{name}:{error.lineno}", what, _JSON_LIST) from error
    except (ValueError, RecursionError) as error:
        what = f"is not JSON: {_reason(error)}"
        raise config_error(f"{name}:{line}", what, _JSON_LIST) from error


def _elements(text: str, at: int) -> Iterator[tuple[int, Any]]:
    """Start and value of each element; JSONDecodeError where the text departs from a list."""
    blank = re.compile(r"\s*")

    def skip(start: int) -> int:
        return blank.match(text, start).end()  # type: ignore[union-attr]  # matches anything

    at = skip(at)
    while text[at : at + 1] != "]":
        value, end = _decode(text, at)
        yield at, value
        at = skip(end)
        if text[at : at + 1] == ",":
            at = skip(at + 1)
        elif text[at : at + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
    if skip(at + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)
