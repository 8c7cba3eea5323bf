"""The rows of the training split that a job trains on: all, or a choice from the same prepared data."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TypeVar

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.quoting import listing, override_text
from lingotune.config.schema import DataConfig, SelectMetric
from lingotune.data.rows.language_tags import tags_of

_KEY = "data.train_languages"
_Class = TypeVar("_Class", bound=Hashable)
Counts = Mapping[str, Mapping[_Class, int]]
"""Rows by language and class."""


def trains_all(data: DataConfig) -> bool:
    """Tell whether every row of the training split is trained on."""
    return not data.train_languages and data.max_rows is None


def trained_languages(data: DataConfig, there: Collection[str]) -> list[str]:
    """Select the languages to train on from those of the training rows, in their order.

    ConfigError names those of `data.train_languages` that no training row is in.
    """
    wanted = tags_of(data.train_languages)
    missing = [code for code in wanted if code not in there]
    if missing:
        what = f"no training row is in {', '.join(missing)}; there are {', '.join(sorted(there))}"
        fix = override_text(_KEY, [code for code in wanted if code in there] or sorted(there)[:1])
        raise ConfigError([Problem(listing(_KEY, data.train_languages), what, fix, key=_KEY)])
    return [code for code in there if code in wanted or not wanted]


def check_select(
    select: SelectMetric, trained: Collection[str], validation: Collection[str]
) -> None:
    """ConfigError if validation has no rows of the languages by which `select` chooses a checkpoint."""
    by_seen = select is SelectMetric.seen_macro_f1
    by_unseen = select is SelectMetric.unseen_macro_f1
    unseen = set(validation) - set(trained)
    if (by_seen or by_unseen) and not unseen:
        lacking = "not trained on"
    elif by_seen and unseen == set(validation):
        lacking = "trained on"
    else:
        return
    what = f"validation has no row in a language that is {lacking}; it has {', '.join(sorted(validation))}"
    fix = "evaluation.select=macro_f1"
    raise ConfigError([Problem(f"evaluation.select={select.value}", what, fix)])


def limit_warnings(data: DataConfig, rows: Counts[_Class]) -> list[str]:
    """Tell of a `data.max_rows` that leaves out no row. rows: those of the training split."""
    most = max((max(rows[code].values()) for code in trained_languages(data, rows)), default=0)
    if data.max_rows is None or data.max_rows < most:
        return []
    what = f"no class of a language has more than {most} training rows"
    return [f"data.max_rows={data.max_rows} leaves out no row: {what}"]


def count_trained(data: DataConfig, rows: Counts[_Class]) -> int:
    """Count the rows that are trained on. rows: those of the training split. ConfigError as above."""
    most = data.max_rows
    return sum(
        count if most is None else min(count, most)
        for language in trained_languages(data, rows)
        for count in rows[language].values()
    )


def chosen_places(kinds: Sequence[Hashable], ids: Sequence[str], most: int) -> list[int]:
    """Choose at most so many rows of each kind; returns their places, ascending.

    The choice follows from the ids alone: more rows of a kind contain those of fewer, and what other rows
    there are changes nothing.
    """
    by_kind: dict[Hashable, list[int]] = {}
    for place, kind in enumerate(kinds):
        by_kind.setdefault(kind, []).append(place)
    return sorted(
        place
        for places in by_kind.values()
        for place in heapq.nsmallest(most, places, key=lambda at: (_hash(ids[at]), at))
    )


def _hash(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
