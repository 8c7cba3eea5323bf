"""A compact set of row ids, and the digest of the rows of a split."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence


def rows_digest(rows: Iterable[tuple[str, str, int | str, str]]) -> str:
    """SHA-256 of rows in their order, each (id, language, class id, text); 64 hexadecimal digits.

    In place of the class id may stand what `targets_text` writes. It depends on nothing else, neither code
    nor tokenizer: the same data gives it years later.
    """
    digest = hashlib.sha256()
    for row in rows:
        digest.update("\0".join(map(str, row)).encode() + b"\0")
    return digest.hexdigest()


def targets_text(targets: Sequence[float]) -> str:
    """Write the value of every class, in single precision, as prepared data holds it."""
    return ",".join(f"{value:.6g}" for value in array("f", targets))


class IdHashes:
    """A set of ids: 64-bit hashes in a table that is one to two thirds full, 12 to 24 bytes each.

    With a million rows, the probability of a collision is 3e-8.
    """

    def __init__(self) -> None:
        self._table = array("q")
        self._mask = self._room = 0
        self._grow()

    def add(self, name: str) -> bool:
        """Add an id; return True if it is new."""
        table, mask = self._table, self._mask
        key = hash(name) or 1  # 0 is an empty place
        at = key & mask
        while met := table[at]:
            if met == key:
                return False
            at = (at + 1) & mask
        table[at] = key
        self._room -= 1
        if not self._room:
            self._grow()
        return True

    def _grow(self) -> None:
        """Twice the places, of which two thirds are to be taken."""
        size = 2 * len(self._table) or 1024
        self._room = 2 * size // 3 - 2 * len(self._table) // 3
        old, self._table, self._mask = self._table, array("q", bytes(8 * size)), size - 1
        table, mask = self._table, self._mask
        for key in old:
            if key:
                at = key & mask
                while table[at]:
                    at = (at + 1) & mask
                table[at] = key
