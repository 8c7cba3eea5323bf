"""What a source comes to: all rows read and checked, and the split of each, before any is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lingotune.data.choose import INPUTS, REMOVED, Array, choose_splits, hash_text
from lingotune.data.clean import Cleaner, Row
from lingotune.data.findings import OnReject
from lingotune.data.parts import SPLITS
from lingotune.data.scan import Scanned, scan
from lingotune.data.splits import (
    Readers,
    check_counts,
    duplicate_warnings,
    is_unique,
    readers_of,
    shares_of,
)
from lingotune.schema import ConfigError, DataConfig, Problem, Source


@dataclass(frozen=True)
class Survey:
    """A source that was read once. chosen: the split of each row, int8: a place in `SPLITS`, or
    `REMOVED`. warnings: what is odd, for the caller to print."""

    data: DataConfig
    readers: Readers
    scanned: Scanned
    chosen: Array
    warnings: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each split."""
        return {split: int((self.chosen == n).sum()) for n, split in enumerate(SPLITS)}

    def rows(self) -> Iterator[tuple[Row, int]]:
        """Every row of a split, read once more, and its split; ConfigError if the source has changed."""
        texts, splits, number = self.scanned.keys.text, self.chosen.tolist(), -1
        for name, read in self.readers.items():
            cleaner = Cleaner(self.data, name)
            for row in cleaner.rows(read(cleaner.on_fault)):
                number += 1
                if number >= len(splits) or hash_text(row.text) != texts[number]:
                    raise _changed(name)
                if splits[number] != REMOVED:
                    yield row, splits[number]
        if number + 1 != len(splits):
            raise _changed(name)


def _changed(name: str) -> ConfigError:
    what = "the source was changed while it was read"
    return ConfigError([Problem(f"data.{name}", what, "the same command once more")])


def survey(data: DataConfig, seed: int, reject: OnReject) -> Survey:
    """Read a source and choose the split of each row: what was not given is carved out of the one
    source, or out of train, by `seed`. `reject` is told of rows that are skipped.

    Memory: 22 bytes a row, 30 with groups. ConfigError lists what is wrong with all of it together.
    """
    readers = readers_of(data)
    scanned = scan(readers, data, reject)
    shares = shares_of(data, scanned.counts)
    keys = scanned.keys
    chosen = choose_splits(keys, shares, seed, unique=is_unique(data))
    counts = {s: Counter(keys.label[chosen == n].tolist()) for n, s in enumerate(SPLITS)}
    notes = [*check_counts(data, counts, shares), *duplicate_warnings(keys, chosen)]
    warnings = [*scanned.warnings, *(f"{split}: {what}" for split, what in notes)]
    return Survey(data, readers, scanned, chosen, (*warnings, *_other_counts(data, scanned)))


def _other_counts(data: DataConfig, scanned: Scanned) -> Iterator[str]:
    """Where a hub dataset has other sizes than the config says."""
    if data.source is not Source.hub:
        return
    for split in SPLITS:
        said = getattr(data.rows, split)
        here = scanned.keys.language[scanned.keys.source == INPUTS.index(split)]
        found = np.bincount(here, minlength=len(scanned.languages)).tolist()
        for language, count in zip(scanned.languages, found):
            if count and said is not None and said != count:
                what = f"{count} rows of {split} in {language}, but data.rows.{split}={said}"
                yield f"{split}: {what}"
