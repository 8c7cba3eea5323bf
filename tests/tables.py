"""The rows of all splits as lists, for tests; the program itself never holds them in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lingotune.config.problems import ConfigError
from lingotune.config.schema import (
    SPLITS,
    DataConfig,
    LabelConfig,
    ModelConfig,
)
from lingotune.data.rows.cleaner import Cleaner, Row
from lingotune.data.rows.findings import Located
from lingotune.data.splits.carve import INPUTS, Keys, hash_text
from lingotune.data.splits.survey import survey
from lingotune.system.arrays import Array


def star_labels(*names: str) -> list[LabelConfig]:
    """Three classes: one and two stars, three, four and five."""
    stars = (["1", "2"], ["3"], ["4", "5"])
    return [LabelConfig(name, values) for name, values in zip(names, stars)]


_COLUMNS = ("text", "label", "language", "id", "stars")


@dataclass
class Rows:
    """Rows of a split by column; all lists have the same length. warnings: those about the split."""

    text: list[str] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    language: list[str] = field(default_factory=list)
    id: list[str] = field(default_factory=list)
    stars: list[int | None] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.text)

    def add(self, row: Row) -> None:
        for name in _COLUMNS:
            getattr(self, name).append(getattr(row, name))

    def select(self, indices: list[int]) -> Rows:
        """The rows of these places, in this order, without the warnings."""
        return Rows(
            **{
                name: [getattr(self, name)[i] for i in indices]
                for name in _COLUMNS
                if getattr(self, name)
            }
        )


def load_splits(data: DataConfig, seed: int) -> Mapping[str, Rows]:
    """The splits of a source, as its preparation would write them."""
    kept: list[Row] = []
    found = survey(data, seed, lambda rejected: None, kept.append)
    splits = {split: Rows() for split in SPLITS}
    for row, split in found.rows(kept):
        splits[SPLITS[split]].add(row)
    for warning in found.warnings:
        split, _, what = warning.partition(": ")
        splits["train" if split == "all" else split].warnings.append(what)
    return splits


def collect(
    records: Iterable[Located], data: DataConfig, split: str, cleaner: Cleaner | None = None
) -> Rows:
    """The rows that a cleaner makes of records; ConfigError names everything wrong with them."""
    cleaner, rows = cleaner or Cleaner(data, split), Rows()
    for row in cleaner.rows(records):
        rows.add(row)
    problems = cleaner.problems()
    if problems:
        raise ConfigError(problems)
    rows.warnings = cleaner.warnings()
    return rows


def keys_of(tables: Mapping[str, Rows]) -> Keys:
    """The keys of the rows of all inputs, one after the other."""
    languages = sorted({code for rows in tables.values() for code in rows.language})
    place = {code: n for n, code in enumerate(languages)}
    text = np.array([hash_text(t) for rows in tables.values() for t in rows.text], np.uint64)
    return Keys(
        text,
        text,
        np.array([label for rows in tables.values() for label in rows.label], np.int16),
        np.array([place[code] for rows in tables.values() for code in rows.language], np.int16),
        np.array(
            [INPUTS.index(n) for n, rows in tables.items() for _ in range(len(rows))], np.int8
        ),
    )


def places(chosen: Array, split: str) -> list[int]:
    """The rows of a split."""
    found: list[int] = np.flatnonzero(chosen == SPLITS.index(split)).tolist()
    return found


TINY = ModelConfig("tiny", None)


def write(path: Path, records: list[Any]) -> Path:
    lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
