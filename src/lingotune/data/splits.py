"""Train, validation and test: read as given, or carved out of one source.

The same code reads on a laptop and on a worker, where the files come through an input channel.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.data.channel import channel_parts
from lingotune.data.clean import Cleaner
from lingotune.data.findings import Located, OnReject, all_or_problems
from lingotune.data.hub import read_hub
from lingotune.data.labels import format_labels
from lingotune.data.parts import (
    ALL,
    SPLITS,
    Part,
    check_settings,
    expanded,
    given_patterns,
    local_parts,
)
from lingotune.data.rows import PATTERN_LANGUAGE, Rows, collect
from lingotune.data.sources import read_files
from lingotune.schema import ConfigError, DataConfig, Problem, Source

if TYPE_CHECKING:
    from lingotune.data.choose import Array, Keys

Readers = Mapping[str, Callable[[OnReject | None], Iterator[Located]]]
"""Input (a split, or `all`) -> what begins to read it, any number of times; given who is told of rows
that cannot be read and shall be skipped."""


def load_splits(data: DataConfig, seed: int, channel: str | None = None) -> dict[str, Rows]:
    """Rows of train, validation and test.

    `seed` decides what is carved out of `data.path` or of train; the same seed and the same texts
    give the same splits in every process. `channel` is the folder of a worker's input channel.
    Warnings are in `Rows.warnings`. ConfigError lists what is wrong with all splits together.
    """
    tables = _load(data, readers_of(data, channel))
    if data.source is Source.hub:
        _compare_counts(data, tables)
    return _checked(data, _complete(data, tables, seed))


def readers_of(data: DataConfig, channel: str | None = None) -> Readers:
    """Split, or `all`, -> what begins to read its records, any number of times.

    `channel` is as for `load_splits`. ConfigError if the settings contradict each other, or no file
    is there.
    """
    check_settings(data)
    if data.source is Source.sample:
        return {split: partial(_sample, data, split) for split in SPLITS}
    if data.source is Source.hub:
        return {split: partial(_hub, data, split) for split in given_patterns(data)}
    parts = channel_parts(data, Path(channel)) if channel else local_parts(data)
    by_split: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        by_split[part.split].append(part)
    return {split: partial(_read_parts, found) for split, found in by_split.items()}


def known_languages(data: DataConfig) -> list[str]:
    """The languages that are known before the data is read; files may hold others."""
    if data.source is Source.sample and not data.languages:
        from lingotune.data.sample import LANGUAGES

        return list(LANGUAGES)
    return data.languages


def count_rows(data: DataConfig, seed: int) -> tuple[dict[str, int] | None, list[str]]:
    """Rows of each split, for the plan, and warnings.

    Files are read and checked; the sample and the hub are counted without reading them. None where
    a hub dataset's counts (`data.rows`) are not in the config. ConfigError as `load_splits`.
    """
    check_settings(data)
    if data.source is Source.sample:
        from lingotune.data.sample import sample_size

        return {s: sample_size(data.sample, s, data.languages) for s in SPLITS}, []
    if data.source is Source.hub:
        return _declared_counts(data), []
    splits = load_splits(data, seed)
    warnings = [f"{split}: {w}" for split, rows in splits.items() for w in rows.warnings]
    return {split: len(rows) for split, rows in splits.items()}, warnings


# --- reading ------------------------------------------------------------------------------------


def _load(data: DataConfig, readers: Readers) -> dict[str, Rows]:
    jobs = [partial(_collected, data, split, read) for split, read in readers.items()]
    return dict(zip(readers, all_or_problems(jobs)))


def _collected(data: DataConfig, split: str, read: Callable[..., Iterator[Located]]) -> Rows:
    cleaner = Cleaner(data, split)
    return collect(read(cleaner.on_fault), data, split, cleaner)


def _sample(data: DataConfig, split: str, on_fault: OnReject | None = None) -> Iterator[Located]:
    from lingotune.data.sample import sample_rows

    records = sample_rows(data.sample, split, data.languages)
    return ((f"sample/{split}:{n}", record) for n, record in enumerate(records, 1))


def _hub(data: DataConfig, split: str, on_fault: OnReject | None) -> Iterator[Located]:
    for language, pattern in expanded(data, given_patterns(data)[split]):
        yield from _with_language(read_hub(pattern, f"data.{split}", on_fault), language)


def _read_parts(parts: Sequence[Part], on_fault: OnReject | None) -> Iterator[Located]:
    problems: list[Problem] = []
    for part in parts:
        try:
            yield from _with_language(read_files(part.files, on_fault), part.language)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _with_language(records: Iterator[Located], language: str | None) -> Iterator[Located]:
    for location, record in records:
        if language is not None:
            record[PATTERN_LANGUAGE] = language
        yield location, record


# --- carving ------------------------------------------------------------------------------------


def _complete(data: DataConfig, tables: dict[str, Rows], seed: int) -> dict[str, Rows]:
    """All three splits: what was not given is carved out of the one source, or out of train."""
    # numpy is not loaded for a plan of the sample.
    from lingotune.data.choose import choose_splits, keys_of, places

    whole, keys = _joined(list(tables.values())), keys_of(tables)
    shares = shares_of(data, tables)
    chosen = choose_splits(keys, shares, seed, unique=is_unique(data))
    splits = {split: whole.select(places(chosen, split)) for split in SPLITS}
    for name, table in tables.items():
        splits["train" if name == ALL else name].warnings += table.warnings
    for split, warning in duplicate_warnings(keys, chosen):
        splits[split].warnings.append(warning)
    return splits


def duplicate_warnings(keys: Keys, chosen: Array) -> Iterator[tuple[str, str]]:
    """Split, and what there is to say of texts that it shares with others."""
    from lingotune.data.choose import removed_of, repeated_in

    for name, count in removed_of(keys, chosen).items():
        what = f"{count} {'row is' if count == 1 else 'rows are'} left out"
        later = "test" if name == "validation" else "validation or test"
        yield name, f"{what}: the same text is in {later} (data.unique_texts)"
    for split, earlier, both, count in repeated_in(keys, chosen):
        what = f"{both} of its {count} texts {'is' if both == 1 else 'are'}"
        yield split, f"{what} also in {earlier}: its scores flatter the model"


def _joined(tables: Sequence[Rows]) -> Rows:
    stars = None
    if all(table.stars is not None for table in tables):
        stars = [star for table in tables for star in table.stars or ()]
    return Rows(
        [text for table in tables for text in table.text],
        [label for table in tables for label in table.label],
        [code for table in tables for code in table.language],
        [id for table in tables for id in table.id],
        stars,
    )


def is_unique(data: DataConfig) -> bool:
    """Whether a text may stand in one split only; the sample is generated as it is planned."""
    return data.unique_texts and data.source is not Source.sample


def shares_of(data: DataConfig, given: Iterable[str]) -> dict[str, float]:
    """The shares of the splits that no source is given for."""
    return {split: _share(data, split) for split in SPLITS[1:] if split not in given}


def _share(data: DataConfig, split: str) -> float:
    return data.validation_share if split == "validation" else data.test_share


# --- what came out ------------------------------------------------------------------------------


def _checked(data: DataConfig, splits: dict[str, Rows]) -> dict[str, Rows]:
    counts = {split: Counter(rows.label) for split, rows in splits.items()}
    for split, warning in check_counts(data, counts):
        splits[split].warnings.append(warning)
    return splits


def check_counts(
    data: DataConfig, counts: Mapping[str, Mapping[int, int]]
) -> list[tuple[str, str]]:
    """Split, and what is odd about its rows of each class (split -> class id -> rows).

    ConfigError where a split has no rows, or train lacks a class: it cannot be learned.
    """
    total = sum(sum(of.values()) for of in counts.values())
    problems = [_empty(data, split, total) for split, of in counts.items() if not any(of.values())]
    warnings = []
    for split, of in counts.items():
        absent = [label.name for n, label in enumerate(data.labels) if not of.get(n)]
        if not absent or not any(of.values()):
            continue
        what = f"no row of {split} has the class {' or '.join(absent)}"
        if split == "train":
            there = [label for n, label in enumerate(data.labels) if of.get(n)]
            works = f"rows that have it, or {format_labels(there)}"
            problems.append(Problem("data.labels", what, works))
        else:
            warnings.append((split, what))
    if problems:
        raise ConfigError(problems)
    return warnings


def _empty(data: DataConfig, split: str, total: int) -> Problem:
    share = _share(data, split)
    if share == 0:
        what = f"empty split {split}: data.{split}_share=0 leaves it no rows"
        enough = 0.1
    else:
        what = f"empty split {split}: a share of {share:g} of {total} rows is less than one row"
        enough = min(0.4, math.ceil(100 / total) / 100)
    works = f"data.{split}_share={max(enough, 0.01):g}, or more rows"
    return Problem(f"data.{split}_share={share:g}", what, works)


def _compare_counts(data: DataConfig, tables: Mapping[str, Rows]) -> None:
    for split, rows in tables.items():
        for language, count in sorted(Counter(rows.language).items()):
            said = getattr(data.rows, split)
            if said is not None and said != count:
                what = f"{count} rows of {split} in {language}, but data.rows.{split}={said}"
                rows.warnings.append(what)


def _declared_counts(data: DataConfig) -> dict[str, int] | None:
    """The counts in the config, carved as `carve` would to within a few rows."""
    known = {split: getattr(data.rows, split) for split in given_patterns(data)}
    if None in known.values():
        return None
    languages = max(1, len(data.languages))
    counts = {split: rows * languages for split, rows in known.items()}
    source = counts["train"]
    for split in SPLITS[1:]:
        if split not in counts:
            counts[split] = math.floor(source * _share(data, split) + 0.5)
            counts["train"] -= counts[split]
    return {split: counts[split] for split in SPLITS}
