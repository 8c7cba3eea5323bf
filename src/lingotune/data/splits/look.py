"""Inspecting an undescribed source: its columns, classes, languages and lengths."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from lingotune.config.problems import DATA_FAILED, ConfigError, Problem
from lingotune.config.schema import (
    PATTERN_LANGUAGE,
    ColumnsConfig,
    DataConfig,
    LabelConfig,
    OnError,
    Source,
)
from lingotune.data.rows.cleaner import Cleaner
from lingotune.data.rows.columns import guessed_header, is_number, usual_column, usual_pair
from lingotune.data.rows.findings import Record
from lingotune.data.rows.labels import MOST_CLASSES, whole_number
from lingotune.data.rows.language_tags import means_nothing, standard_tag
from lingotune.data.rows.nested import add_nested, column_names
from lingotune.data.rows.pairs import TEXTS
from lingotune.data.sources.file_format import format_of
from lingotune.data.sources.files import common_format, uses_setting
from lingotune.data.sources.patterns import local_parts
from lingotune.data.splits.found_labels import find_labels
from lingotune.data.splits.readers import readers_of

_ROLES = ("language", "text", "stars", "label", "id")
"""Columns that are looked for."""
_SAMPLE = 2_000
"""Rows by which columns are recognised."""
_LENGTHS = (32, 64, 128, 256, 512)
_LATIN_CHARACTERS = 4
"""Characters of a token, about, in scripts that write words with spaces between them."""


@dataclass(frozen=True)
class Look:
    """Findings about a source. data: its settings, with columns, classes and length.

    classes, languages: rows by name, the most frequent first. characters: median and 95th percentile.
    rejected: rows that cannot be used, by reason. remarks: on how files were read, e.g. their encoding.
    """

    data: DataConfig
    classes: dict[str, int]
    languages: dict[str, int]
    characters: tuple[int, int]
    rejected: dict[str, int]
    remarks: tuple[str, ...]


def look(data: DataConfig, typed: Sequence[str]) -> Look:
    """Read a source and complete its settings; those that were typed, by their dotted keys, stay.

    ConfigError where no column can be the text or the class, or the source cannot be read.
    """
    sample = [
        record
        for read in readers_of(data).values()
        for _, record in islice(read(_ignore, _ignore), _SAMPLE)
    ]
    if not sample:  # whatever keeps all rows from being read is told
        for read in readers_of(data).values():
            for _ in read(None, _ignore):
                pass
    header = _header(data, sample)
    if header:
        return look(replace(data, header=header), typed)
    for record in sample:
        add_nested(record, [name for name in column_names(record) if "." in name])
    data = replace(data, columns=_columns(sample, data.columns, typed), **_format(data))
    if data.columns.language is not None and data.default_language is None:
        written = {str(record.get(data.columns.language) or "") for record in sample}
        lacks = any(standard_tag(one) is None or means_nothing(one) for one in written)
        data = replace(data, default_language="und") if lacks else data
    if "data.labels" not in typed and data.columns.stars is None:
        data = replace(data, labels=find_labels(data, join=True).labels)
    return _measured(data, typed)


def _format(data: DataConfig) -> dict[str, Any]:
    """Encoding and separator of the files, where they have them in common: what comes to them later, is
    to be read in the same way."""
    if data.source is not Source.files:
        return {}
    files = [file for part in local_parts(data) for file in part.files]
    found = common_format(files, format_of(data))
    return {"encoding": found.encoding, "separator": found.separator}


def _header(data: DataConfig, sample: Sequence[Record]) -> list[str]:
    """Guess column names where what stands in their place is a row; [] elsewhere.

    A row it is where a number names a column, or a value that is met again below it.
    """
    first = [name for name in sample[0] if name != PATTERN_LANGUAGE]
    if data.header or data.source is not Source.files:
        return []
    again = (any(record.get(name) == name for record in sample) for name in first)
    files = [file for part in local_parts(data) for file in part.files]
    tables = all(uses_setting(file.name, "header") for file in files)
    is_row = tables and (any(map(is_number, first)) or any(again))
    return guessed_header(data.columns, first) if is_row else []


def _ignore(told: object) -> None:
    """Leave rows that cannot be read, and remarks on files, to the second reading."""


def _columns(sample: Sequence[Record], given: ColumnsConfig, typed: Sequence[str]) -> ColumnsConfig:
    every = dict.fromkeys(name for record in sample for name in record)
    objects = {n for record in sample for n, value in record.items() if isinstance(value, dict)}
    names = [name for name in every if name != PATTERN_LANGUAGE and name not in objects]
    found = _pair_columns(names, given, typed)
    for role in _ROLES:
        if role in found:
            continue
        if f"data.columns.{role}" in typed:
            found[role] = getattr(given, role)
            continue
        free = [name for name in names if name not in found.values()]
        found[role] = usual_column(role, free) or _guessed(role, sample, free)
    if found["stars"] is not None and not _are_stars(_values(sample, found["stars"])):
        found["label"] = found["label"] or found["stars"]
        found["stars"] = None
    if found["stars"] is not None and "data.columns.label" not in typed:
        found["label"] = None
    lacking = [role for role in ("text", "label") if found[role] is None and not found["stars"]]
    if found["text"] is None or lacking:
        problems = [
            Problem(f"data.columns.{role}", f"no column looks like it; there are: {', '.join(names)}",
                    f"data.columns.{role}=COLUMN")
            for role in lacking or ["text"]
        ]  # fmt: skip
        raise ConfigError(problems)
    kept = {role: getattr(given, role) for role in ("title", "group")}
    typed_kept = {r: kept[r] if f"data.columns.{r}" in typed else None for r in kept}
    chosen: dict[str, Any] = {**typed_kept, **found}
    return replace(given, **chosen)


def _pair_columns(
    names: Sequence[str], given: ColumnsConfig, typed: Sequence[str]
) -> dict[str, Any]:
    """Recognise the two texts of pairs by their names, unless a column of texts was typed."""
    if "data.columns.text_pair" in typed:
        return {"text_pair": given.text_pair}
    pair = usual_pair(names) if "data.columns.text" not in typed else None
    return dict(zip(TEXTS, pair)) if pair else {}


def _values(sample: Sequence[Record], column: str) -> list[Any]:
    return [record[column] for record in sample if record.get(column) not in (None, "")]


def _are_stars(values: Sequence[Any]) -> bool:
    return bool(values) and all(whole_number(value) in range(1, 6) for value in values)


def _guessed(role: str, sample: Sequence[Record], names: Sequence[str]) -> str | None:
    """Guess a column by its values where none has a usual name."""
    values = {name: _values(sample, name) for name in names}
    texts = {n: [v for v in of if isinstance(v, str)] for n, of in values.items()}
    if role == "text":
        lengths = {name: sum(map(len, of)) / len(of) for name, of in texts.items() if of}
        return max(lengths, key=lambda name: lengths[name], default=None)
    if role == "language":
        for name, of in texts.items():
            distinct = set(of)
            tags = sum(standard_tag(value) is not None for value in distinct)
            known = {"en", "de", "fr", "es", "it", "pt", "ja", "zh", "ru", "ar"}
            met = {tag.partition("-")[0] for v in distinct if (tag := standard_tag(v))}
            if distinct and tags == len(distinct) <= MOST_CLASSES and met & known:
                return name
    if role == "label":
        counts = {name: len({str(value) for value in of}) for name, of in values.items() if of}
        fits = {n: c for n, c in counts.items() if 2 <= c <= min(MOST_CLASSES, len(values[n]) // 3)}
        return min(fits, key=lambda name: fits[name], default=None)
    return None


def _measured(data: DataConfig, typed: Sequence[str]) -> Look:
    """Read all rows for their classes, languages and lengths."""
    lenient = replace(data, on_error=OnError.skip, max_rejected=1.0)
    classes: Counter[int] = Counter()
    languages: Counter[str] = Counter()
    lengths: list[int] = []
    tokens: list[float] = []
    rejected: Counter[str] = Counter()
    remarks: list[str] = []
    share = 0.0
    for name, read in readers_of(lenient).items():
        cleaner = Cleaner(lenient, name)
        for row in cleaner.rows(read(cleaner.on_fault, remarks.append)):
            classes.update(row.classes)
            languages[row.language] += 1
            lengths.append(len(row.text))
            narrow = sum(1 for c in row.text if c < "\u2e80")
            tokens.append(narrow / _LATIN_CHARACTERS + len(row.text) - narrow)
        rejected += cleaner.rejected
        share = max(share, cleaner.rejected.total() / max(1, cleaner.read))
    if not lengths:
        raise ConfigError(
            [Problem("data.path", "holds no row with a text and a class", code=DATA_FAILED)]
        )
    half, most = np.percentile(lengths, [50, 95]).tolist()
    if "data.max_length" not in typed:
        needed = float(np.percentile(tokens, 95)) + 2
        enough = next((size for size in _LENGTHS if size >= needed), _LENGTHS[-1])
        data = replace(data, max_length=enough)
    if rejected and share < 0.5 and "data.on_error" not in typed:
        most_rejected = max(data.max_rejected, math.ceil(share * 100) / 100)
        data = replace(data, on_error=OnError.skip, max_rejected=most_rejected)
    named = {data.labels[n].name: rows for n, rows in classes.most_common()}
    figures = dict(languages.most_common()), (round(half), round(most))
    return Look(data, named, *figures, dict(rejected), tuple(remarks))


def described(classes: Sequence[LabelConfig]) -> Iterator[dict[str, Any] | str]:
    """Write classes as a group file has them: in short form where they have no further values."""
    short = not any(label.values for label in classes)
    for label in classes:
        yield label.name if short else {"name": label.name, "values": list(label.values)}
