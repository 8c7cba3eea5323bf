"""Assigning rows to splits: carved out of one source, with no text in two splits. Pure numpy.

Rows are represented by numbers alone: eight bytes for a text, eight for its group, three for class and
language. Memory stays small with millions of rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lingotune.config.schema import ALL, SPLITS
from lingotune.system.arrays import Array, mixed

INPUTS = (*SPLITS, ALL)
"""What a source may be of, by its place here: a split, or all rows before they are carved."""
REMOVED = -1
"""In place of a split: the row's text stands in a later split too."""


@dataclass(frozen=True)
class Keys:
    """Keys of the rows of a source, in order; all arrays have shape (rows,).

    text, group: uint64, hashes of the text and of what has to stay together (the text, where the row
    names no group). label: int16 class ids; where a text may have several, int32 numbers of their sets.
    language: int16 places in a list of codes.
    source: int8 places in `INPUTS`. strata: what is spread over the splits, int16; None = label.
    """

    text: Array
    group: Array
    label: Array
    language: Array
    source: Array
    strata: Array | None = None

    def __len__(self) -> int:
        return len(self.text)


def hash_text(text: str) -> int:
    """Hash a text to 64 bits with BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def hash_group(name: str) -> int:
    """Hash a group's name, apart from the hashes of texts, which have no NUL."""
    return hash_text(f"\0{name}")


def removed_of(keys: Keys, chosen: Array) -> dict[str, int]:
    """Input -> rows that were removed, where there are any."""
    counts = np.bincount(keys.source[chosen == REMOVED], minlength=len(INPUTS)).tolist()
    return {name: count for name, count in zip(INPUTS, counts) if count}


def repeated_in(hashes: Array, chosen: Array) -> list[tuple[str, str, int, int]]:
    """(split, earlier split, how many texts or groups both have, how many the split has), where there
    are any."""
    held = {split: np.unique(hashes[chosen == n]) for n, split in enumerate(SPLITS)}
    found = []
    for later, earlier in (("validation", "train"), ("test", "train"), ("test", "validation")):
        both = int(np.isin(held[later], held[earlier]).sum())
        if both:
            found.append((later, earlier, both, len(held[later])))
    return found


def contradictory_rows(keys: Keys) -> Array:
    """Find the rows whose text stands with different classes; int64 places, in order."""
    order = np.lexsort((keys.label, keys.text))
    text, label = keys.text[order], keys.label[order]
    # Sorted by text and then by class, neighbours of one text and two classes contradict each other.
    differ = (text[1:] == text[:-1]) & (label[1:] != label[:-1])
    places: Array = np.flatnonzero(np.isin(keys.text, np.unique(text[1:][differ])))
    return places


def choose_splits(keys: Keys, shares: Mapping[str, float], seed: int, *, unique: bool) -> Array:
    """Choose the split of each row: int8, (rows,), index into `SPLITS`, or `REMOVED`.

    shares: of the splits that are carved, out of `all` or else out of `train`. unique: a text stays
    in the last of the splits that hold it: test before validation before train. What is carved keeps
    its groups together; given splits stay as they are.
    """
    whole = INPUTS.index(ALL)
    chosen = keys.source.astype(np.int8)
    carved_from = whole if (keys.source == whole).any() else 0
    if unique:  # first, so that what is carved gets its share of what is left
        chosen[_repeated(keys.text, chosen)] = REMOVED
    at = np.flatnonzero(chosen == carved_from)
    if shares and len(at):
        chosen[at] = _carved(keys, at, shares, seed)
    chosen[chosen == whole] = 0
    if unique:  # again: groups that went different ways may have a text in common
        chosen[_repeated(keys.text, chosen)] = REMOVED
    return chosen


def _repeated(text: Array, chosen: Array) -> Array:
    """Mark the rows whose text stands in a later split as well; bool, one a row."""
    found = np.zeros(len(text), bool)
    for later in (2, 1):
        held = np.unique(text[chosen == later])
        earlier = (chosen >= 0) & (chosen < later)
        found |= earlier & np.isin(text, held)
    return found


# --- carving ------------------------------------------------------------------------------------


def _carved(keys: Keys, at: Array, shares: Mapping[str, float], seed: int) -> Array:
    """Splits of the rows at these places.

    Per language and class each split gets its share, rounded so that the whole comes out (largest
    remainders). Groups stay together, which may cost a stratum some of that; every stratum keeps a
    group in train. Groups are drawn by a hash with the seed: the order of the source does not matter.
    """
    _, first, of_row, sizes = np.unique(
        keys.group[at], return_index=True, return_inverse=True, return_counts=True
    )
    # A group of several languages or classes counts for the smallest of them.
    kind = keys.label if keys.strata is None else keys.strata
    stratum_of_row = keys.language[at].astype(np.int64) * 1000 + kind[at]
    stratum = np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(stratum, of_row, stratum_of_row)
    drawn = mixed(keys.group[at][first], seed)
    order = np.lexsort((drawn, stratum))
    strata = {int(s): order[stratum[order] == s] for s in np.unique(stratum)}
    quotas = _quotas({s: int(sizes[groups].sum()) for s, groups in strata.items()}, shares, seed)
    split_of = np.zeros(len(first), np.int8)
    for key, groups in strata.items():
        rest = groups.tolist()
        for split in shares:
            taken, rest = _draw(rest, sizes, quotas[split][key])
            split_of[taken] = SPLITS.index(split)
    result: Array = split_of[of_row]
    return result


def _quotas(
    sizes: Mapping[int, int], shares: Mapping[str, float], seed: int
) -> dict[str, dict[int, int]]:
    """Split -> stratum -> rows, by largest remainders; at least one row is left for train."""
    # Rounded, for 100 x 0.29 is not 29 to a computer.
    exact = {
        s: {key: round(n * share, 9) for key, n in sizes.items()} for s, share in shares.items()
    }
    quotas = {s: {key: math.floor(rows) for key, rows in of.items()} for s, of in exact.items()}
    left = {key: n - 1 - sum(quota[key] for quota in quotas.values()) for key, n in sizes.items()}
    ranks = mixed(np.array(list(sizes), np.uint64), seed)
    rank = dict(zip(sizes, ranks.tolist()))
    for split, quota in quotas.items():
        remainder = {key: exact[split][key] - quota[key] for key in sizes}
        missing = math.floor(sum(exact[split].values()) + 0.5) - sum(quota.values())
        open_ = [key for key in sizes if left[key] > 0 and remainder[key] > 0]
        open_.sort(key=lambda key: (-remainder[key], rank[key]))
        for key in open_[:missing]:
            quota[key] += 1
            left[key] -= 1
    return quotas


def _draw(groups: Sequence[int], sizes: Array, quota: int) -> tuple[list[int], list[int]]:
    """Groups of `quota` rows together, or nearly, and the rest, which keeps at least one group."""
    drawn: list[int] = []
    rest: list[int] = []
    for position, group in enumerate(groups):
        is_last = position == len(groups) - 1 and not rest
        if sizes[group] <= quota and not is_last:
            drawn.append(group)
            quota -= int(sizes[group])
        else:
            rest.append(group)
    if quota and not drawn and len(rest) > 1:  # only large groups: one is better than none
        drawn = [min(rest, key=lambda group: int(sizes[group]))]
        rest = [group for group in rest if group != drawn[0]]
    return drawn, rest
