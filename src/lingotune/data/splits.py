"""Train, validation and test: where each is read from, and what is odd about what came out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from lingotune.data.columns import PATTERN_LANGUAGE
from lingotune.data.findings import Located, OnReject
from lingotune.data.hub import read_hub
from lingotune.data.labels import format_labels
from lingotune.data.parts import (
    SPLITS,
    Part,
    check_settings,
    expanded,
    given_patterns,
    local_parts,
)
from lingotune.data.sources import read_files
from lingotune.schema import ConfigError, DataConfig, Problem, Source

if TYPE_CHECKING:
    from lingotune.data.choose import Array, Keys

Readers = Mapping[str, Callable[[OnReject | None], Iterator[Located]]]
"""Input (a split, or `all`) -> what begins to read it, any number of times; given who is told of rows
that cannot be read and shall be skipped."""


def readers_of(data: DataConfig) -> Readers:
    """Split, or `all`, -> what begins to read its records, any number of times.

    ConfigError if the settings contradict each other, or no file is there.
    """
    check_settings(data)
    if data.source is Source.sample:
        return {split: partial(_sample, data, split) for split in SPLITS}
    if data.source is Source.hub:
        return {split: partial(_hub, data, split) for split in given_patterns(data)}
    by_split: dict[str, list[Part]] = defaultdict(list)
    for part in local_parts(data):
        by_split[part.split].append(part)
    return {split: partial(_read_parts, found) for split, found in by_split.items()}


def known_languages(data: DataConfig) -> list[str]:
    """The languages that are known before the data is read; files may hold others."""
    if data.source is Source.sample and not data.languages:
        from lingotune.data.sample import LANGUAGES

        return list(LANGUAGES)
    return data.languages


def count_rows(data: DataConfig, seed: int) -> tuple[dict[str, int] | None, tuple[str, ...]]:
    """Rows of each split, for the plan, and warnings.

    Files are read and checked; the sample and the hub are counted without reading them. None where
    a hub dataset's counts (`data.rows`) are not in the config. ConfigError as `survey`.
    """
    check_settings(data)
    if data.source is Source.sample:
        from lingotune.data.sample import sample_size

        return {s: sample_size(data.sample, s, data.languages) for s in SPLITS}, ()
    if data.source is Source.hub:
        return declared_counts(data), ()
    from lingotune.data.survey import survey  # numpy from here on

    found = survey(data, seed, lambda rejected: None)
    return found.counts, found.warnings


# --- reading ------------------------------------------------------------------------------------


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


def duplicate_warnings(keys: Keys, chosen: Array) -> Iterator[tuple[str, str]]:
    """Split, and what there is to say of texts and groups that it shares with others."""
    from lingotune.data.choose import removed_of, repeated_in

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
    """Whether a text may stand in one split only; the sample is generated as it is planned."""
    return data.unique_texts and data.source is not Source.sample


def is_carved(data: DataConfig) -> bool:
    """Whether a split has to be taken from another one, by the job's seed."""
    if data.source is Source.sample:
        return False
    if data.source is Source.hub:
        return len(given_patterns(data)) < len(SPLITS)
    return {part.split for part in local_parts(data)} != set(SPLITS)


def shares_of(data: DataConfig, given: Iterable[str]) -> dict[str, float]:
    """The shares of the splits that no source is given for."""
    return {split: _share(data, split) for split in SPLITS[1:] if split not in given}


def _share(data: DataConfig, split: str) -> float:
    return data.validation_share if split == "validation" else data.test_share


# --- what came out ------------------------------------------------------------------------------


def check_counts(
    data: DataConfig, counts: Mapping[str, Mapping[int, int]], carved: Collection[str]
) -> list[tuple[str, str]]:
    """Split, and what is odd about its rows of each class (split -> class id -> rows).

    `carved`: splits that no source was given for. ConfigError where a split has no rows, or train
    lacks a class: it cannot be learned.
    """
    total = sum(sum(of.values()) for of in counts.values())
    problems = [
        _too_small(data, split, total) if split in carved else _left_out(data, split)
        for split, of in counts.items()
        if not any(of.values())
    ]
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


def _too_small(data: DataConfig, split: str, total: int) -> Problem:
    share = _share(data, split)
    if share == 0:
        what = f"empty split {split}: data.{split}_share=0 leaves it no rows"
        enough = 0.1
    else:
        what = f"empty split {split}: a share of {share:g} of {total} rows is less than one row"
        enough = min(0.4, math.ceil(100 / total) / 100)
    works = f"data.{split}_share={max(enough, 0.01):g}, or more rows"
    return Problem(f"data.{split}_share={share:g}", what, works)


def _left_out(data: DataConfig, split: str) -> Problem:
    """A split that was given, and whose every text stands in a later one, or in one carved out of it."""
    where = f"data.{split}" if getattr(data, split) is not None else f"data.path={data.path}"
    if not data.unique_texts:
        return Problem(where, f"empty split {split}: its few rows went to the others", "more rows")
    later = "test" if split == "validation" else "validation or test"
    what = f"empty split {split}: all its rows are left out, since {later} holds the same texts"
    return Problem(where, what, f"other rows for {split}, or data.unique_texts=false")


def declared_counts(data: DataConfig) -> dict[str, int] | None:
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
