"""Rows that know where they stand, and what is wrong with them, gathered.

A row comes with its location: `reviews.jsonl:17` (the line, from 1, on which it starts) or
`reviews.parquet row 17`. Problems of one kind are told once, with their first locations.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lingotune.config.problems import DATA_FAILED, ConfigError, Problem
from lingotune.config.undecodable import with_bytes

Record = dict[str, Any]
Located = tuple[str, Record]

RAW_CHARACTERS = 2000
"""Characters of a row that is left out that are kept for its reader."""

AGAIN = "write, copy or download it again"
"""What mends a file that is not whole."""

SKIP = "data.on_error=skip"
"""The override that leaves out rows which cannot be used."""

_MOST_LEFT_OUT = 0.5
"""Share of rows from which on it is no way to leave them out: then it is the source that is wrong."""
_SHOWN = 3
_KEPT = 20
_LOCATION = re.compile(r"(.*?)(:\d+| row \d+)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Counts:
    """Rows of one input: read = kept + rejected + filtered. rejected: reason -> rows."""

    read: int
    kept: int
    rejected: dict[str, int]
    filtered: int


@dataclass(frozen=True)
class Rejected:
    """A row that is left out.

    reason: a short id that stays, such as `empty-text`. message: the same in words. raw: the line,
    or the record as JSON, at most 2000 characters; fit for UTF-8. fix: what mends it, if known.
    """

    location: str
    reason: str
    message: str
    raw: str
    fix: str = ""

    @property
    def file(self) -> str:
        """The file as messages call it."""
        return split_location(self.location)[0]

    @property
    def place(self) -> int:
        """Line on which the row starts, or number of the row in a file without lines; from 1."""
        place = split_location(self.location)[1]
        return int(place.lstrip(": row")) if place else 0


class Unfit(Exception):
    """A record that cannot become a row. noted: somebody else tells of it, with others of its kind."""

    def __init__(self, reason: str, what: str, fix: str = "", noted: bool = False) -> None:
        self.reason, self.what, self.fix, self.noted = reason, what, fix, noted
        super().__init__(what)


OnReject = Callable[[Rejected], None]
OnRemark = Callable[[str], None]


class Faults:
    """Rows that a reader cannot give: told one by one to a listener, or gathered without one.

    remark: is told what is odd about a file that can be read.
    """

    def __init__(
        self, listener: OnReject | None = None, remark: OnRemark = lambda text: None
    ) -> None:
        self.listener, self.remark = listener, remark
        self.count = 0
        self._found = Findings()

    def note(self, reason: str, location: str, what: str, fix: str = "", raw: str = "") -> None:
        """One more row."""
        self.count += 1
        if self.listener is None:
            self._found.note(reason, location, what, fix)
        else:
            self.listener(Rejected(location, reason, what, shortened(raw), _without_skip(fix)))

    def problems(self) -> list[Problem]:
        """Return what was gathered, as problems."""
        return self._found.problems()


def _without_skip(fix: str) -> str:
    """The options of a fix, without that to skip rows, which is taken already."""
    return ", or ".join(option for option in fix.split(", or ") if option != SKIP)


def skipping(share: float, allowed: float) -> str:
    """Write the overrides that leave out this share of rows; '' where that is half of them or more.

    allowed: the share that may be left out (`data.max_rejected`).
    """
    if share >= _MOST_LEFT_OUT:
        return ""
    return (
        SKIP if share <= allowed else f"{SKIP} data.max_rejected={math.ceil(share * 100) / 100:g}"
    )


def written(value: Any) -> str:
    """A value as JSON; Python's way of writing it where JSON knows none."""
    try:
        return json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, TypeError, RecursionError):
        return f"a {type(value).__name__} that cannot be written"


def shortened(raw: str) -> str:
    """The start of a row, every undecodable byte or half surrogate written out."""
    bytes_out = with_bytes(raw[:RAW_CHARACTERS])
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", bytes_out)[:RAW_CHARACTERS]


def split_location(location: str) -> tuple[str, str]:
    """File and place within it: `a/b.jsonl:17` is (`a/b.jsonl`, `:17`)."""
    match = _LOCATION.fullmatch(location)
    return (match[1], match[2]) if match else (location, "")


def summarise(locations: Sequence[str], count: int) -> str:
    """The first three locations and how many more there are: `a.jsonl:3, :17, :20 and 5 more`."""
    shown: list[str] = []
    previous = None
    for location in locations[:_SHOWN]:
        file, place = split_location(location)
        shown.append(place.strip() if file == previous and place else location)
        previous = file
    more = count - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


class Findings:
    """Problems of rows: each kind once, with its first locations and its count.

    fix: what gets past the rows of a kind that has no fix of its own.
    """

    def __init__(self, fix: str = SKIP) -> None:
        self._fix = fix
        self._kinds: dict[Hashable, tuple[str, str, list[str]]] = {}
        self._counts: Counter[Hashable] = Counter()

    def __bool__(self) -> bool:
        return bool(self._kinds)

    @property
    def kinds(self) -> list[Hashable]:
        """Return the kinds that were noted."""
        return list(self._kinds)

    def note(self, kind: Hashable, location: str, what: str, fix: str = "") -> None:
        """One more row of a kind; the kind's first row gives the wording."""
        self._counts[kind] += 1
        _, _, locations = self._kinds.setdefault(kind, (what, fix, []))
        if len(locations) < _KEPT:
            locations.append(location)

    def without(self, kinds: Sequence[Hashable]) -> list[Problem]:
        """The problems of all other kinds."""
        rest = Findings(self._fix)
        rest._kinds = {kind: found for kind, found in self._kinds.items() if kind not in kinds}
        rest._counts = self._counts
        return rest.problems()

    def problems(self) -> list[Problem]:
        """One problem a kind, in the order of their first rows."""
        return [
            Problem(
                summarise(locations, self._counts[kind]),
                what,
                fix or self._fix,
                rows=self._counts[kind],
                code=DATA_FAILED,
            )
            for kind, (what, fix, locations) in self._kinds.items()
        ]


def config_error(where: str, what: str, fix: str = "") -> ConfigError:
    """The error of one problem: of the data, unless `where` is a setting or an option."""
    problem = Problem(where, what, fix)
    is_typed = problem.key or where.startswith("-")
    return ConfigError([problem if is_typed else replace(problem, code=DATA_FAILED)])


def all_or_problems(jobs: Sequence[Callable[[], _T]]) -> list[_T]:
    """The result of every job, or one ConfigError with the problems of all."""
    results, problems = [], []
    for job in jobs:
        try:
            results.append(job())
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return results


def show(value: Any) -> str:
    """A value as messages show it: at most 40 characters."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
