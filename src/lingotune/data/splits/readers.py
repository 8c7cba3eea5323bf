"""Train, validation and test: where each is read from, and what is odd about what came out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import PATTERN_LANGUAGE, SPLITS, DataConfig, Source
from lingotune.data.rows.findings import Located, OnReject
from lingotune.data.sources.files import read_files
from lingotune.data.sources.hub_reader import read_hub
from lingotune.data.sources.patterns import (
    Part,
    check_settings,
    expanded,
    given_patterns,
    local_parts,
)

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


# --- reading ------------------------------------------------------------------------------------


def _sample(data: DataConfig, split: str, on_fault: OnReject | None = None) -> Iterator[Located]:
    from lingotune.data.sources.sample import sample_rows

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
