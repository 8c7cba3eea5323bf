"""Carving splits out of one source: by share, per language and class, the same for everybody."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping

from lingotune.data.rows import Rows

_Stratum = tuple[str, int]


def carve(rows: Rows, shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Indices of `train` and of each split in `shares` (a share is a part of all rows).

    The shares must leave something to train: together less than 1. Per language and class, a split
    gets its share rounded down or up, so that the whole comes out (largest remainders); a stratum
    of at least 1/share rows is in every split. Identical texts stay together, which may cost a
    stratum some of that, and every stratum keeps a text in train. Texts are drawn by a hash of
    seed and text: their order in the source does not matter.
    """
    strata = _strata(rows, seed)
    sizes = {key: sum(map(len, groups)) for key, groups in strata.items()}
    quotas = _quotas(sizes, shares, seed)
    taken: dict[str, list[int]] = {split: [] for split in ("train", *shares)}
    for key, groups in strata.items():
        rest = groups
        for split in shares:
            drawn, rest = _draw(rest, quotas[split][key])
            taken[split] += [i for group in drawn for i in group]
        taken["train"] += [i for group in rest for i in group]
    return {split: sorted(indices) for split, indices in taken.items()}


def _strata(rows: Rows, seed: int) -> dict[_Stratum, list[list[int]]]:
    """Groups of identical texts by (language, class), in the order in which they are drawn."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(rows.text):
        groups[text].append(index)
    strata: dict[_Stratum, list[list[int]]] = defaultdict(list)
    for text in sorted(groups, key=lambda text: (_hash(seed, text), text)):
        indices = groups[text]
        # A text in two strata counts for one, and not for the one that comes first in the file.
        strata[min((rows.language[i], rows.label[i]) for i in indices)].append(indices)
    return dict(sorted(strata.items()))


def _hash(seed: int, *parts: object) -> bytes:
    content = "\0".join(map(str, (seed, *parts)))
    return hashlib.blake2b(content.encode(), digest_size=8).digest()


def _quotas(
    sizes: Mapping[_Stratum, int], shares: Mapping[str, float], seed: int
) -> dict[str, dict[_Stratum, int]]:
    """Split -> stratum -> rows, by largest remainders; at least one row is left for train."""
    # Rounded, for 100 x 0.29 is not 29 to a computer.
    exact = {
        s: {key: round(n * share, 9) for key, n in sizes.items()} for s, share in shares.items()
    }
    quotas = {s: {key: math.floor(rows) for key, rows in of.items()} for s, of in exact.items()}
    left = {key: n - 1 - sum(quota[key] for quota in quotas.values()) for key, n in sizes.items()}
    for split, quota in quotas.items():
        remainder = {key: exact[split][key] - quota[key] for key in sizes}
        missing = math.floor(sum(exact[split].values()) + 0.5) - sum(quota.values())
        open_ = [key for key in sizes if left[key] > 0 and remainder[key] > 0]
        open_.sort(key=lambda key: (-remainder[key], _hash(seed, split, *key)))
        for key in open_[:missing]:
            quota[key] += 1
            left[key] -= 1
    return quotas


def _draw(groups: list[list[int]], quota: int) -> tuple[list[list[int]], list[list[int]]]:
    """Groups of `quota` rows together, or nearly, and the rest, which keeps at least one group."""
    drawn: list[list[int]] = []
    rest: list[list[int]] = []
    for position, group in enumerate(groups):
        is_last = position == len(groups) - 1 and not rest
        if len(group) <= quota and not is_last:
            drawn.append(group)
            quota -= len(group)
        else:
            rest.append(group)
    if quota and not drawn and len(rest) > 1:  # only large groups: one is better than none
        drawn = [min(rest, key=len)]
        rest = [group for group in rest if group is not drawn[0]]
    return drawn, rest
