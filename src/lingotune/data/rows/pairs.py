"""Pairs of texts: two texts of a row that are classified together.

Between reading and tokenizing a pair travels as one string, its texts with a NUL between them, which no
text may contain. So whatever compares texts (duplicates, leaks, contradictions, digests) compares pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

BETWEEN = "\0"
"""Character between the texts of a pair."""
TEXTS = ("text", "text_pair")
"""Names of the two, where no column has named them."""
_SHOWN = " \u2016 "


def joined(first: str, second: str | None = None) -> str:
    """Join the texts of a pair; a text alone stays as it is."""
    return first if second is None else f"{first}{BETWEEN}{second}"


def parts_of(text: str) -> list[str]:
    """Return the texts of a pair, or the text alone."""
    return text.split(BETWEEN)


def columns_of(texts: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Separate texts into first and second ones, as tokenizers take them; None without pairs.

    All of them are pairs, or none is.
    """
    if not texts or BETWEEN not in texts[0]:
        return list(texts), None
    both = [text.split(BETWEEN) for text in texts]
    return [first for first, _ in both], [second for _, second in both]


def displayed(text: str) -> str:
    """Write a pair on one line for people, with a double bar between its texts."""
    return text.replace(BETWEEN, _SHOWN)
