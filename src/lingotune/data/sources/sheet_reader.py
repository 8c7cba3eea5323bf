"""Reader of spreadsheets; python-calamine is imported when one is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lingotune.config.quoting import override_text
from lingotune.data.rows.findings import AGAIN, Faults, Located, config_error
from lingotune.data.sources.file_format import FileFormat, check_once


def read_sheet(path: Path, name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    """Read the rows of the one sheet that has some, or of the sheet that `how` names.

    The first row that is not empty is the header, unless `how` has the names. Locations count rows as the
    spreadsheet does. Numbers in a column of texts are texts, too: spreadsheets make numbers of whatever
    looks like one.
    ConfigError if the file is no spreadsheet, or several sheets have rows and none is named.
    """
    table = list(_rows(path, name, how))
    texts = _text_columns(table, 0 if how.header else 1)
    numbers = [0] * len(texts)
    rows = enumerate(table, 1)
    header = [*how.header]
    for number, values in rows:
        location = f"{name} row {number}"
        if all(value == "" for value in values):
            continue
        if not header:
            header = _checked_header(values, location)
            continue
        if any(value != "" for value in values[len(header) :]):
            what = f"has too many fields: {len(values)}, and the header {len(header)}"
            faults.note("too-many-fields", location, what, raw=" | ".join(map(str, values)))
            continue
        cells = [*map(_plain, values)]
        for n, cell in enumerate(cells):
            if texts[n] and cell is not None and not isinstance(cell, str):
                cells[n] = str(cell).upper() if isinstance(cell, bool) else str(cell)
                numbers[n] += 1
        yield location, {column: cell for column, cell in zip(header, cells) if column}
    for column, count in zip(header, numbers):
        if count:
            what = "1 value is" if count == 1 else f"{count} values are"
            faults.remark(f"{name}: {what} no text in {column!r}, and read as written there")


def _text_columns(table: Sequence[Sequence[Any]], headers: int) -> list[bool]:
    """Tell for each column whether some row below the header has a text there."""
    filled = [row for row in table if any(value != "" for value in row)][headers:]
    width = max(map(len, table), default=0)
    return [
        any(n < len(row) and isinstance(row[n], str) and row[n] for row in filled)
        for n in range(width)
    ]


def _rows(path: Path, name: str, how: FileFormat) -> Iterator[list[Any]]:
    try:
        import python_calamine as calamine
    except ImportError as error:
        fix = "pip install 'lingotune[xlsx]'"
        raise config_error(name, "spreadsheets need python-calamine", fix) from error
    try:
        book = calamine.CalamineWorkbook.from_path(path)
        sheet = book.get_sheet_by_name(_chosen(book, name, how.sheet))
        yield from sheet.iter_rows()
    except calamine.CalamineError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise config_error(name, f"is not a whole spreadsheet: {reason}", AGAIN) from error


def _chosen(book: Any, name: str, wanted: str | None) -> str:
    names: list[str] = book.sheet_names
    filled = [sheet for sheet in names if book.get_sheet_by_name(sheet).total_height > 0]
    if wanted is not None:
        if wanted in names:
            return wanted
        what = f"has no sheet {wanted!r}; it has: {', '.join(map(repr, names))}"
    elif len(filled) < 2:
        return (filled or names)[0]
    else:
        what = f"has rows in {len(filled)} sheets: {', '.join(map(repr, filled))}; one is read"
    choices = (override_text("data.sheet", sheet) for sheet in filled or names)
    raise config_error(name, what, ", or ".join(choices))


def _checked_header(values: Sequence[Any], location: str) -> list[str]:
    names = [str(_plain(value) or "").strip() for value in values]
    while names and not names[-1]:
        names.pop()
    check_once(names, location)
    return names


def _plain(value: Any) -> Any:
    """A cell as the formats with text have it: nothing for an empty one, whole numbers, dates as text."""
    if value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (str, bool, int, float)) else str(value)
