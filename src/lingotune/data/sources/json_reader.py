"""Readers of JSON lines and JSON, with the standard library alone.

JSON lines are read line by line, a JSON file is held as a whole. `name` is what messages call the
file. Rows that cannot be read go to `faults`; what leaves open how many rows are lost is a
ConfigError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from lingotune.config.schema import AUTO
from lingotune.config.undecodable import UNDECODED
from lingotune.data.rows.findings import SKIP, Faults, Located, config_error, written
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.lines import Line, read_lines, undecoded_fix

_JSON_LINE = 'one object a line: {"review_body": "...", "stars": 5}'
_JSON_LIST = 'one list of objects: [{"review_body": "...", "stars": 5}, ...]'
_SKIP_LINE, _SKIP_ITEM = f"{SKIP}, or {_JSON_LINE}", f"{SKIP}, or {_JSON_LIST}"
_decode = json.JSONDecoder().raw_decode
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # what raw_decode is built upon
_BLANK = re.compile(r"\s*")
_OPENING = re.compile(r"\s*(\[\s*(\{.*)?|\{)\s*", re.DOTALL)
"""A line that opens a list of objects, or an object that goes on in the next line."""


def read_jsonl(path: Path, name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    """Read one object a line; empty lines do not count.

    A file that begins with a list, or with an object over several lines, is read as `read_json` does.
    """
    lines = read_lines(path, name, faults, how)
    before: list[Line] = []
    for line in lines:
        before.append(line)
        if line[1] and not line[1].isspace():
            break
    lines = chain(before, lines)
    if before and _begins_document(before[-1][1]):
        return _document(list(lines), name, faults, how)
    return _json_lines(lines, name, faults, how)


def _begins_document(line: str) -> bool:
    """Tell whether a file's first line is only a part of a JSON value, or a list of objects."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return _OPENING.fullmatch(line) is not None
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _json_lines(
    lines: Iterable[Line], name: str, faults: Faults, how: FileFormat
) -> Iterator[Located]:
    for number, line, fault in lines:
        if not line or line.isspace():
            continue
        location = f"{name}:{number}"
        if fault:
            faults.note("not-utf8", location, fault, undecoded_fix(how), line)
            continue
        try:
            record = _parsed(line)
        except (ValueError, RecursionError) as error:
            faults.note("broken-json", location, f"is not JSON: {_reason(error)}", _SKIP_LINE, line)
            continue
        if isinstance(record, dict):
            yield location, record
        else:
            what = f"is a JSON {_json_kind(record)}, not an object"
            faults.note("not-an-object", location, what, _SKIP_LINE, line)


def _parsed(line: str) -> Any:
    """Parse a line as `json.loads` does, in half the time if nothing surrounds the value."""
    try:
        value, end = _scan(line, 0)
        if line[end:] in ("\n", "", "\r\n"):
            return value
    except (ValueError, StopIteration):
        pass
    line = line.strip()
    return json.loads(line[:-1] if line.endswith("},") else line)  # taken out of a list


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error).splitlines()[0]


def _json_kind(value: Any) -> str:
    kinds = {list: "list", str: "string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "number")


def read_json(path: Path, name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    """Read a list of objects, an object that holds one such list, one object that is a row, objects one
    after another, or JSON lines under another name."""
    return _document(list(read_lines(path, name, faults, how)), name, faults, how)


def _document(lines: list[Line], name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    text = "".join(line for _, line, _ in lines)
    undecoded = any(fault for _, _, fault in lines)
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        return _objects(_json_list(text, start + 1, name), undecoded, faults, how)
    rows = _wrapped(text, name, faults)
    if rows is not None:
        return _objects(rows, undecoded, faults, how)
    if _begins_document(next((line for _, line, _ in lines if line.strip()), "")):
        return _objects(_json_sequence(text, start, name), undecoded, faults, how)
    return _json_lines(lines, name, faults, how)


def _wrapped(text: str, name: str, faults: Faults) -> Iterable[tuple[str, Any]] | None:
    """The one list of objects in an object, or the object itself as a row; None if the text is something
    else than one object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    table = _table_rows(value)
    if table is not None:
        return ((f"{name} row {n}", row) for n, row in enumerate(table, 1))
    lists = [v for v in value.values() if isinstance(v, list)]
    enough = any if faults.listener else all
    if lists and len(lists) == 1 and enough(isinstance(row, dict) for row in lists[0]):
        return ((f"{name} row {n}", row) for n, row in enumerate(lists[0], 1))
    if _is_row(value):
        line = text.count("\n", 0, text.index("{")) + 1
        return [(f"{name}:{line}", value)]
    raise config_error(name, f"is one JSON object with: {', '.join(value)}", _JSON_LIST)


def _table_rows(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of a table as pandas writes one: by columns, by rows with numbers, or split; None if it is
    none of these."""
    inner = list(value.values())
    names, data = value.get("columns"), value.get("data")
    if (
        isinstance(names, list)
        and isinstance(data, list)
        and set(value) <= {"columns", "index", "data"}
    ):
        fits = all(isinstance(row, list) and len(row) == len(names) for row in data)
        return [dict(zip(names, row)) for row in data] if fits else None
    if len(inner) > 1 and all(isinstance(v, list) and len(v) == len(inner[0]) for v in inner):
        plain = not any(isinstance(cell, dict) for v in inner for cell in v)
        return [dict(zip(value, row)) for row in zip(*inner)] if plain and inner[0] else None
    if not inner or not all(isinstance(v, dict) and v for v in inner):
        return None
    if all(key.isdigit() for key in value):
        return inner
    if all(v.keys() == inner[0].keys() and all(map(str.isdigit, v)) for v in inner):
        return [{name: v[key] for name, v in value.items()} for key in inner[0]]
    return None


def _is_row(value: dict[str, Any]) -> bool:
    """Tell a row, which may hold lists and objects, from a table: columns, or rows under some keys."""
    nested = [v for v in value.values() if isinstance(v, (dict, list))]
    if any(isinstance(v, list) and any(isinstance(row, dict) for row in v) for v in nested):
        return False
    if len(nested) < len(value) or not value:
        return True
    columns = all(isinstance(v, list) for v in nested)
    indexed = all(isinstance(v, dict) and all(key.isdigit() for key in v) for v in nested)
    return not (columns or indexed)


def _objects(
    values: Iterable[tuple[str, Any]], undecoded: bool, faults: Faults, how: FileFormat
) -> Iterator[Located]:
    """The values that are objects and, in a file with undecoded bytes, hold none of them."""
    for location, value in values:
        raw = written(value) if undecoded else ""
        if UNDECODED.search(raw):
            what = "is not UTF-8" if how.encoding == AUTO else f"is not {how.encoding}"
            faults.note("not-utf8", location, what, undecoded_fix(how), raw)
        elif isinstance(value, dict):
            yield location, value
        else:
            what = f"is a JSON {_json_kind(value)}, not an object"
            faults.note("not-an-object", location, what, _SKIP_ITEM, written(value))


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


def _json_sequence(text: str, at: int, name: str) -> Iterator[tuple[str, Any]]:
    """Values one after another, each with the line on which it starts."""
    line, counted = 1, 0
    try:
        while at < len(text):
            line, counted = line + text.count("\n", counted, at), at
            value, end = _decode(text, at)
            yield f"{name}:{line}", value
            at = _BLANK.match(text, end).end()  # type: ignore[union-attr]  # matches anything
    except (ValueError, RecursionError) as error:
        at_line = error.lineno if isinstance(error, json.JSONDecodeError) else line
        what = f"is not JSON: {_reason(error)}"
        raise config_error(f"{name}:{at_line}", what, _JSON_LINE) from error


def _elements(text: str, at: int) -> Iterator[tuple[int, Any]]:
    """Start and value of each element; JSONDecodeError where the text departs from a list."""

    def skip(start: int) -> int:
        return _BLANK.match(text, start).end()  # type: ignore[union-attr]  # matches anything

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
