"""Selecting the rows to train on from the training split."""

from __future__ import annotations

import numpy as np

from lingotune.config.schema import DataConfig
from lingotune.data.loader.store import Split, Store
from lingotune.data.rows.label_sets import rarest_classes
from lingotune.data.rows.training_rows import chosen_places, trained_languages, trains_all


def training_split(store: Store, split: Split, data: DataConfig) -> Split:
    """Select the rows that `data.train_languages` and `data.max_rows` choose, in their order.

    A text that may have several classes counts for the rarest of its own in the whole split. ConfigError
    as `trained_languages`.
    """
    if trains_all(data):
        return split
    there = [split.languages[place] for place in np.unique(split.language).tolist()]
    trained = [split.languages.index(code) for code in trained_languages(data, there)]
    chosen_rows = np.flatnonzero(np.isin(split.language, trained))
    chosen = split.select(chosen_rows)
    if data.max_rows is None:
        return chosen
    ids, _ = store.ids_and_stars("train", chosen)
    label = chosen.label
    if split.several:
        label = rarest_classes(split.true, np.ones(len(split), np.int64))[chosen_rows]
    kinds = list(zip(chosen.language.tolist(), label.tolist()))
    return chosen.select(chosen_places(kinds, ids, data.max_rows))
