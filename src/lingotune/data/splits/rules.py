"""Requirements on splits, and their oddities."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import SPLITS, DataConfig, Source
from lingotune.data.rows.labels import format_labels
from lingotune.data.sources.patterns import (
    given_patterns,
    local_parts,
    written_setting,
)

if TYPE_CHECKING:
    from lingotune.data.splits.carve import Keys
    from lingotune.system.arrays import Array


def duplicate_warnings(keys: Keys, chosen: Array) -> Iterator[tuple[str, str]]:
    """Yield (split, warning) for texts or groups shared between splits."""
    from lingotune.data.splits.carve import removed_of, repeated_in

    for name, count in removed_of(keys, chosen).items():
        what = f"{count} {'row is' if count == 1 else 'rows are'} left out"
        later = "test" if name == "validation" else "validation or test"
        yield name, f"{what}: the same text is in {later} (data.unique_texts)"
    named = keys.group != keys.text
    groups = "groups (data.columns.group)"
    for kind, hashes, of in (
        ("texts", keys.text, chosen),
        (groups, keys.group[named], chosen[named]),
    ):
        for split, earlier, both, count in repeated_in(hashes, of):
            what = f"{both} of its {count} {kind} {'is' if both == 1 else 'are'}"
            yield split, f"{what} also in {earlier}: its scores flatter the model"


def is_unique(data: DataConfig) -> bool:
    """Return True if no text may occur in two splits; the sample is generated that way."""
    return data.unique_texts and data.source is not Source.sample


def is_carved(data: DataConfig) -> bool:
    """Return True if a split is carved out of another one with the job's seed."""
    if data.source is Source.sample:
        return False
    if data.source is Source.hub:
        return len(given_patterns(data)) < len(SPLITS)
    return {part.split for part in local_parts(data)} != set(SPLITS)


def shares_of(data: DataConfig, given: Iterable[str]) -> dict[str, float]:
    """The shares of the splits that no source is given for."""
    return {split: share_of(data, split) for split in SPLITS[1:] if split not in given}


def check_counts(
    data: DataConfig,
    counts: Mapping[str, Mapping[int, int]],
    rows: Mapping[str, int],
    carved: Collection[str],
) -> list[tuple[str, str]]:
    """Split, and what is odd about its rows of each class (split -> class id -> rows).

    `rows`: of each split. `carved`: splits that no source was given for. ConfigError where a split has no
    rows, or train lacks a class: it cannot be learned.
    """
    total = sum(rows.values())
    problems = [
        _too_small(data, split, total) if split in carved else _left_out(data, split)
        for split in counts
        if not rows[split] and not (split in carved and is_untested(data, split))
    ]
    warnings = []
    if "test" in carved and is_untested(data, "test"):
        warnings.append(("test", "has no rows (data.test_share=0): nothing is scored on test"))
    warnings += _unused_shares(data, carved)
    for split, of in counts.items():
        absent = [label.name for n, label in enumerate(data.labels) if not of.get(n)]
        if not absent or not rows[split]:
            continue
        what = f"no row of {split} has the class {' or '.join(absent)}"
        if split == "train":
            there = [label for n, label in enumerate(data.labels) if of.get(n)]
            fix = f"rows that have it, or {format_labels(there)}"
            problems.append(Problem("data.labels", what, fix))
        else:
            warnings.append((split, what))
    if problems:
        raise ConfigError(problems)
    return warnings


def _unused_shares(data: DataConfig, carved: Collection[str]) -> Iterator[tuple[str, str]]:
    """Tell of shares of splits that files of `path` are, by their names; (split, warning).

    What the settings alone say is told before any file is read.
    """
    for split in SPLITS[1:]:
        share = share_of(data, split)
        if data.path is not None and split not in carved and share != share_of(DataConfig(), split):
            yield (
                split,
                f"data.{split}_share={share:g} has no effect: there are files of this split",
            )


def share_of(data: DataConfig, split: str) -> float:
    """Share of the rows that a split is carved with, 0 to 1."""
    return data.validation_share if split == "validation" else data.test_share


def is_untested(data: DataConfig, split: str) -> bool:
    """Tell whether a split is the test split, which may be left out, and its share is 0."""
    return split == "test" and data.test_share == 0


def _too_small(data: DataConfig, split: str, total: int) -> Problem:
    share = share_of(data, split)
    if share == 0:
        what = f"empty split {split}: data.{split}_share=0 leaves it no rows"
        enough = 0.1
    elif share * total >= 1:
        group = " or data.columns.group" if data.columns.group else ""
        what = (
            f"empty split {split}: a share of {share:g} of {total} rows, but those of one text{group}"
            " stay together, and train keeps some of each language and class"
        )
        fix = "more different texts of each language and class"
        return Problem(f"data.{split}_share={share:g}", what, fix)
    else:
        what = f"empty split {split}: a share of {share:g} of {total} rows is less than one row"
        enough = min(0.4, math.ceil(100 / total) / 100)
    fix = f"data.{split}_share={max(enough, 0.01):g}, or more rows"
    return Problem(f"data.{split}_share={share:g}", what, fix)


def _left_out(data: DataConfig, split: str) -> Problem:
    """A split that was given, and whose every text stands in a later one, or in one carved out of it."""
    named = getattr(data, split) is not None
    where = f"data.{split}" if named else written_setting("path", data.path)
    if not data.unique_texts:
        return Problem(where, f"empty split {split}: its few rows went to the others", "more rows")
    later = "test" if split == "validation" else "validation or test"
    what = f"empty split {split}: all its rows are left out, since {later} holds the same texts"
    return Problem(where, what, f"other rows for {split}, or data.unique_texts=false")
