"""Train, validation and test: where each is read from, and what is odd about what came out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import PATTERN_LANGUAGE, SPLITS, ColumnsConfig, DataConfig, Source
from lingotune.data.rows.findings import Located, OnReject, OnRemark
from lingotune.data.rows.nested import add_nested, nested_columns
from lingotune.data.sources.file_format import format_of
from lingotune.data.sources.files import read_files
from lingotune.data.sources.hub_reader import read_hub
from lingotune.data.sources.patterns import (
    Part,
    check_settings,
    given_patterns,
    hub_patterns,
    local_parts,
)
from lingotune.data.sources.text_reader import CLASS, TEXT

Readers = Mapping[str, Callable[[OnReject | None, OnRemark], Iterator[Located]]]
"""Input (a split, or `all`) -> what begins to read it, any number of times; given who is told of rows
that cannot be read and shall be skipped, and of what is odd about files."""


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
    return {split: partial(_read_parts, data, found) for split, found in by_split.items()}


# --- reading ------------------------------------------------------------------------------------


def _sample(
    data: DataConfig, split: str, on_fault: OnReject | None, on_remark: OnRemark
) -> Iterator[Located]:
    from lingotune.data.sources.sample import sample_rows
    from lingotune.data.sources.sample_pairs import pair_rows

    rows = sample_rows if data.columns.text_pair is None else pair_rows
    records = rows(data.sample, split, data.languages)
    return ((f"sample/{split}:{n}", record) for n, record in enumerate(records, 1))


def _hub(
    data: DataConfig, split: str, on_fault: OnReject | None, on_remark: OnRemark
) -> Iterator[Located]:
    how = format_of(data)
    for language, pattern in hub_patterns(data, split):
        records = read_hub(pattern, f"data.{split}", on_fault, how, on_remark, pool=data.pool)
        yield from _placed(records, data.columns, language)


def _read_parts(
    data: DataConfig, parts: Sequence[Part], on_fault: OnReject | None, on_remark: OnRemark
) -> Iterator[Located]:
    problems: list[Problem] = []
    how = format_of(data)
    for part in parts:
        try:
            records = read_files(part.files, on_fault, how, on_remark)
            yield from _placed(records, data.columns, part.language)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _placed(
    records: Iterator[Located], columns: ColumnsConfig, language: str | None
) -> Iterator[Located]:
    """Put what stands deeper in a record, in a file of one text or in the pattern into named columns."""
    deep = nested_columns(columns)
    label = columns.label or columns.stars or "label"
    for location, record in records:
        if TEXT in record:
            record = {columns.text: record[TEXT], label: record[CLASS]}
        elif deep:
            add_nested(record, deep)
        if language is not None:
            record[PATTERN_LANGUAGE] = language
        yield location, record
