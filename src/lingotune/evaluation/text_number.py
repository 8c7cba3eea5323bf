"""How many texts a model takes at a time: one, or the two of a pair."""

from __future__ import annotations

from lingotune.data.rows.findings import Unfit

_AS_PAIR = '--pair "the second text"; lines of TEXT<TAB>TEXT; --file with both columns'


def check_number(texts: int, *, pairs: bool) -> None:
    """Unfit if a model of pairs is given one text, or another model two."""
    if pairs and texts == 1:
        what = "has no second text: the model classifies pairs of texts"
        raise Unfit("no-text-pair", what, _AS_PAIR)
    if not pairs and texts == 2:
        what = "is a pair of texts: the model classifies single ones"
        raise Unfit("text-pair", what, "one text")
