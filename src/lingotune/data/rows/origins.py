"""Where rows come from: what a column says, or else their file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lingotune.config.schema import AUTO, ColumnsConfig, DataConfig, Source
from lingotune.data.rows.columns import usual_column
from lingotune.data.rows.findings import Record, split_location
from lingotune.data.rows.unicode import check_encodable

MOST = 1_000
"""Sources that are told apart."""
_FEWEST = 20
"""Rows of each source, on average, from which on a column or a file that nobody named tells sources
apart: others may hold the addresses of single texts."""


class Origins:
    """Reads the source of each row, as `data.columns.source` says; the generated sample has none."""

    def __init__(self, data: DataConfig) -> None:
        columns = data.columns
        self._column = None if columns.source == AUTO else columns.source
        self._finds = columns.source == AUTO and data.source is not Source.sample
        self._taken = {name for name in vars(columns).values() if name is not None}
        self._begins, self._file = "\0", ""

    def look(self, names: Sequence[str]) -> None:
        """Take note of the columns of the rows that come next."""
        if self._finds:
            free = [name for name in names if name not in self._taken]
            self._column = usual_column("source", free)

    def of(self, location: str, record: Record) -> str | None:
        """Return the source of a row: a value of the column, or the file's path. Unfit where the value is
        no text that can be stored."""
        if self._column is not None:
            return _value(record.get(self._column), self._column)
        if not self._finds:
            return None
        if not location.startswith(self._begins):  # one file's rows come together
            self._begins = location.rstrip("0123456789")
            self._file = split_location(location)[0]
        return self._file


def _value(value: object, column: str) -> str | None:
    if not isinstance(value, (str, int)):
        return None
    name = str(value).strip()
    if not name.isascii():
        check_encodable(name, column)
    return name or None


class Sources:
    """Sources of rows with their numbers of rows; of more than `MOST` only that there are so many."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()

    def count(self, source: str | None) -> None:
        """Count a row; None = its source is not known."""
        if source is not None and len(self._rows) <= MOST:
            self._rows[source] += 1

    def names(self, columns: ColumnsConfig) -> dict[str, str]:
        """Map sources to their names; empty where there is nothing to tell apart.

        Files are named without the folders that all of them are in, which differ between a laptop and a
        worker.
        """
        found = [*self._rows]
        if not 1 < len(found) <= MOST:
            return {}
        if columns.source != AUTO:
            return {source: source for source in found}
        if self._rows.total() < _FEWEST * len(found):
            return {}
        return dict(zip(found, _without_shared_folders(found)))

    def warnings(self, columns: ColumnsConfig) -> list[str]:
        """Tell that a column which was named has too many values."""
        if columns.source == AUTO or len(self._rows) <= MOST:
            return []
        what = f"has more than {MOST:,} values: there are no scores by source"
        return [f"data.columns.source={columns.source} {what}"]


def _without_shared_folders(paths: Sequence[str]) -> list[str]:
    parts = [path.split("/") for path in paths]
    shared = 0
    while all(len(of) > shared + 1 and of[shared] == parts[0][shared] for of in parts):
        shared += 1
    return ["/".join(of[shared:]) for of in parts]
