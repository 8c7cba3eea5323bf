"""Classes of one model found among those of another, by their names. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from unicodedata import normalize

UNNAMED = re.compile("LABEL_[0-9]+")
"""Names that transformers gives to classes without names."""
_SHOWN = 6
"""Classes that a line lists before it counts the others."""


def rows_by_name(known: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """Find the place in `known` of each wanted name; None where there is no such name, or two of it.

    Names that differ by case, blanks or Unicode form alone are the same, where no other is meant.
    """
    rows: list[int | None] = [None] * len(wanted)
    for form in (_as_written, _folded):
        taken = set(rows)
        left = [place for place in range(len(known)) if place not in taken]
        open_ = [place for place, row in enumerate(rows) if row is None]
        places = _unique((form(known[place]), place) for place in left)
        asked = _unique((form(wanted[place]), place) for place in open_)
        for name, place in asked.items():
            rows[place] = places.get(name)
    return rows


def listed(names: Sequence[str]) -> str:
    """Write names in a line, of many the first ones."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _as_written(name: str) -> str:
    return name


def _folded(name: str) -> str:
    return "".join(normalize("NFKC", name).casefold().split())


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Map the names that stand there once to their places."""
    pairs = list(pairs)
    counts = Counter(name for name, _ in pairs)
    return {name: place for name, place in pairs if counts[name] == 1}
