"""Rows of one text and several classes, told with the first of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from lingotune.config.schema import LabelConfig
from lingotune.data.rows.cleaner import Row
from lingotune.data.rows.findings import show
from lingotune.data.rows.pairs import displayed
from lingotune.data.splits.carve import Keys
from lingotune.system.arrays import Array

_SHOWN = 3
"""Texts that are shown."""
_LOOKED_AT = 10_000
"""Contradictory rows among which the first texts are searched; a source may have millions."""


def contradiction_warnings(
    keys: Keys, places: Array, labels: Sequence[LabelConfig], kept: Iterable[Row]
) -> Iterator[str]:
    """Yield a warning if there are contradictory rows, with examples where rows are `kept`.

    places: of the contradictory rows, as `contradictory_rows` finds them.
    """
    if not len(places):
        return
    texts = len(np.unique(keys.text[places]))
    shared = "1 text" if texts == 1 else f"{texts} texts"
    names = [label.name for label in labels]
    examples = "; ".join(_examples(_first_pairs(keys, places), names, kept))
    what = f"{len(places)} rows share {shared} and have different classes"
    yield f"all: {what}" + (f": {examples}" if examples else "")


def _first_pairs(keys: Keys, places: Array) -> list[tuple[int, int]]:
    """Places of two rows each that contradict each other, of the texts whose second comes first."""
    first: dict[int, int] = {}
    pairs: dict[int, tuple[int, int]] = {}
    for place in places[:_LOOKED_AT].tolist():
        text = int(keys.text[place])
        before = first.setdefault(text, place)
        if text not in pairs and keys.label[place] != keys.label[before]:
            pairs[text] = before, place
            if len(pairs) == _SHOWN:
                break
    return list(pairs.values())


def _classes(row: Row, names: Sequence[str]) -> str:
    return " + ".join(names[id] for id in row.classes) or "no class"


def _examples(
    pairs: Sequence[tuple[int, int]], names: Sequence[str], kept: Iterable[Row]
) -> Iterator[str]:
    wanted = {place for pair in pairs for place in pair}
    rows = enumerate(islice(kept, max(wanted, default=-1) + 1))
    found = {place: row for place, row in rows if place in wanted}
    for pair in pairs:
        if found:
            said = " and ".join(
                f"{_classes(row, names)} in {row.id}" for row in map(found.get, pair) if row
            )
            yield f"{show(displayed(found[pair[0]].text))} is {said}"
