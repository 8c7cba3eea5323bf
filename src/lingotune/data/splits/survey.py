"""Surveying a source: all rows read and checked, and each assigned to a split, before any is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lingotune.config.schema import SPLITS, DataConfig, Source
from lingotune.data.rows.cleaner import Row
from lingotune.data.rows.findings import OnReject
from lingotune.data.rows.label_sets import rarest_classes
from lingotune.data.splits.carve import INPUTS, REMOVED, choose_splits, contradictory_rows
from lingotune.data.splits.contradictions import contradiction_warnings
from lingotune.data.splits.readers import readers_of
from lingotune.data.splits.rules import check_counts, duplicate_warnings, is_unique, shares_of
from lingotune.data.splits.scan import Scanned, scan
from lingotune.system.arrays import Array


@dataclass(frozen=True)
class Survey:
    """A source that was read once. chosen: the split of each row, int8: a place in `SPLITS`, or
    `REMOVED`. warnings: what is odd, for the caller to print."""

    scanned: Scanned
    chosen: Array
    warnings: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each split."""
        return {split: int((self.chosen == n).sum()) for n, split in enumerate(SPLITS)}

    @property
    def training_rows(self) -> dict[str, dict[int, int]]:
        """Rows of the training split by language and class; where a text may have several by its rarest
        one, the number of classes for none."""
        keys, sets = self.scanned.keys, self.scanned.sets
        if sets is None or not len(sets):
            return self.rows_of("train")
        there = self.chosen == SPLITS.index("train")
        rarest = rarest_classes(sets, np.bincount(keys.label[there], minlength=len(sets)))
        return self._counted(rarest[keys.label], "train")

    def rows_of(self, split: str) -> dict[str, dict[int, int]]:
        """Count the rows of a split by language and class, or by the set of their classes."""
        return self._counted(self.scanned.keys.label, split)

    def _counted(self, kinds: Array, split: str) -> dict[str, dict[int, int]]:
        there = self.chosen == SPLITS.index(split)
        language = self.scanned.keys.language[there]
        counts = Counter(zip(language.tolist(), kinds[there].tolist()))
        found: dict[str, dict[int, int]] = {}
        for (language, label), count in sorted(counts.items()):
            found.setdefault(self.scanned.languages[language], {})[label] = count
        return found

    def rows(self, kept: Iterable[Row]) -> Iterator[tuple[Row, int]]:
        """Yield the rows that were kept, each with the place of its split."""
        for row, split in zip(kept, self.chosen.data):
            if split != REMOVED:
                yield row, split


def _forget(row: Row) -> None:
    pass


def survey(
    data: DataConfig,
    seed: int,
    reject: OnReject,
    keep: Callable[[Row], None] = _forget,
    kept: Iterable[Row] = (),
) -> Survey:
    """Read a source and choose the split of each row: what was not given is carved out of the one
    source, or out of train, by `seed`. `reject` is told of rows that are skipped, `keep` of all
    others; `kept` gives those again, for examples in warnings.

    Memory: about 50 bytes a row, 8 more with groups. ConfigError lists what is wrong with all of it
    together.
    """
    scanned = scan(readers_of(data), data, reject, keep)
    shares = shares_of(data, scanned.counts)
    keys = scanned.keys
    chosen = choose_splits(keys, shares, seed, unique=is_unique(data))
    counts = {split: scanned.class_rows(chosen == n) for n, split in enumerate(SPLITS)}
    rows = {split: int((chosen == n).sum()) for n, split in enumerate(SPLITS)}
    notes = [*check_counts(data, counts, rows, shares), *duplicate_warnings(keys, chosen)]
    warnings = [*scanned.warnings, *(f"{split}: {what}" for split, what in notes)]
    warnings += [*_other_counts(data, scanned)]
    warnings += contradiction_warnings(keys, contradictory_rows(keys), data.labels, kept)
    return Survey(scanned, chosen, tuple(warnings))


def _other_counts(data: DataConfig, scanned: Scanned) -> Iterator[str]:
    """Yield a warning for each split of a hub dataset whose size is not the config's."""
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
