"""Train, validation and test: read as given, or carved out of one source.

The same code reads on a laptop and on a worker, where the files come through an input channel.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from lingotune.data.carve import carve
from lingotune.data.channel import channel_parts
from lingotune.data.findings import Located, all_or_problems
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


def load_splits(data: DataConfig, seed: int, channel: str | None = None) -> dict[str, Rows]:
    """Rows of train, validation and test.

    `seed` decides what is carved out of `data.path` or of train; the same seed and the same texts
    give the same splits in every process. `channel` is the folder of a worker's input channel.
    Warnings are in `Rows.warnings`. ConfigError lists what is wrong with all splits together.
    """
    check_settings(data)
    if data.source is Source.sample:
        return _load(data, {split: partial(_sample, data, split) for split in SPLITS})
    if data.source is Source.hub:
        tables = _load(data, {split: partial(_hub, data, split) for split in given_patterns(data)})
        _compare_counts(data, tables)
    else:
        parts = channel_parts(data, Path(channel)) if channel else local_parts(data)
        by_split: dict[str, list[Part]] = defaultdict(list)
        for part in parts:
            by_split[part.split].append(part)
        tables = _load(data, {s: partial(_read_parts, p) for s, p in by_split.items()})
    given = {split: rows for split, rows in tables.items() if split != ALL}
    _note_leaks(given)
    return _checked(data, _complete(data, tables, seed))


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


def _load(
    data: DataConfig, readers: Mapping[str, Callable[[], Iterator[Located]]]
) -> dict[str, Rows]:
    jobs = [partial(_collected, data, split, read) for split, read in readers.items()]
    return dict(zip(readers, all_or_problems(jobs)))


def _collected(data: DataConfig, split: str, read: Callable[[], Iterator[Located]]) -> Rows:
    return collect(read(), data, split)


def _sample(data: DataConfig, split: str) -> Iterator[Located]:
    from lingotune.data.sample import sample_rows

    records = sample_rows(data.sample, split, data.languages)
    return ((f"sample/{split}:{n}", record) for n, record in enumerate(records, 1))


def _hub(data: DataConfig, split: str) -> Iterator[Located]:
    for language, pattern in expanded(data, given_patterns(data)[split]):
        yield from _with_language(read_hub(pattern, f"data.{split}"), language)


def _read_parts(parts: Sequence[Part]) -> Iterator[Located]:
    problems: list[Problem] = []
    for part in parts:
        try:
            yield from _with_language(read_files(part.files), part.language)
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
    source = tables.get(ALL) or tables["train"]
    wanted = {split: _share(data, split) for split in SPLITS[1:] if split not in tables}
    if wanted:
        carved = {split: source.select(at) for split, at in carve(source, wanted, seed).items()}
        carved["train"].warnings = source.warnings
        tables = {**tables, **carved}
    return {split: tables[split] for split in SPLITS}


def _share(data: DataConfig, split: str) -> float:
    return data.validation_share if split == "validation" else data.test_share


# --- what came out ------------------------------------------------------------------------------


def _checked(data: DataConfig, splits: dict[str, Rows]) -> dict[str, Rows]:
    problems = [
        p for split, rows in splits.items() if not rows.text for p in [_empty(data, split, splits)]
    ]
    problems += _class_problems(data, splits)
    if problems:
        raise ConfigError(problems)
    return splits


def _empty(data: DataConfig, split: str, splits: Mapping[str, Rows]) -> Problem:
    share, total = _share(data, split), sum(map(len, splits.values()))
    if share == 0:
        what = f"empty split {split}: data.{split}_share=0 leaves it no rows"
        enough = 0.1
    else:
        what = f"empty split {split}: a share of {share:g} of {total} rows is less than one row"
        enough = min(0.4, math.ceil(100 / total) / 100)
    works = f"data.{split}_share={max(enough, 0.01):g}, or more rows"
    return Problem(f"data.{split}_share={share:g}", what, works)


def _class_problems(data: DataConfig, splits: Mapping[str, Rows]) -> Iterator[Problem]:
    """A class that train lacks cannot be learned; where another split lacks it, that is a warning."""
    for split, rows in splits.items():
        counts = Counter(rows.label)
        absent = [label.name for n, label in enumerate(data.labels) if not counts[n]]
        if not absent or not rows.text:
            continue
        what = f"no row of {split} has the class {' or '.join(absent)}"
        if split == "train":
            there = [label for n, label in enumerate(data.labels) if counts[n]]
            yield Problem("data.labels", what, f"rows that have it, or {format_labels(there)}")
        else:
            rows.warnings.append(what)


def _note_leaks(given: Mapping[str, Rows]) -> None:
    """Warn of texts that stand in two of the given splits."""
    texts = {split: set(rows.text) for split, rows in given.items()}
    for later, earlier in (("validation", "train"), ("test", "train"), ("test", "validation")):
        both = len(texts.get(later, set()) & texts.get(earlier, set()))
        if both:
            what = f"{both} of its {len(texts[later])} texts {'is' if both == 1 else 'are'}"
            given[later].warnings.append(f"{what} also in {earlier}: its scores flatter the model")


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
