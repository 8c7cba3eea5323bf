"""The files of each split: the patterns in the settings and the parts that they expand to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.quoting import hydra_value, override_text
from lingotune.config.schema import (
    ALL,
    AUTO,
    HUB_PREFIX,
    PATTERN_LANGUAGE,
    SPLITS,
    DataConfig,
    Source,
)
from lingotune.config.undecodable import check_decodable
from lingotune.data.rows.columns import numbered
from lingotune.data.rows.findings import all_or_problems
from lingotune.data.rows.language_tags import tags_of
from lingotune.data.sources.addresses import address_faults, is_elsewhere, shown_address
from lingotune.data.sources.copies import copy_of, shown_name
from lingotune.data.sources.file_format import (
    FileFormat,
    codec_of,
    format_of,
    near_encoding,
)
from lingotune.data.sources.files import find_files, once, uses_setting
from lingotune.data.sources.split_names import (
    Named,
    by_split,
    called_twice,
    check_names,
    listed,
    names_of,
)


@dataclass(frozen=True)
class Part:
    """Files of one split (or `all`); the language is set where `{language}` was in the pattern."""

    split: str
    language: str | None
    files: tuple[Path, ...]


# --- what was asked for -------------------------------------------------------------------------


def patterns_in(value: Any) -> list[str]:
    """Return the patterns that a setting names: none, one, or those of a list."""
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]


def given_patterns(data: DataConfig) -> dict[str, list[str]]:
    """Return the patterns of each split that has some."""
    patterns = {split: patterns_in(getattr(data, split)) for split in SPLITS}
    return {split: found for split, found in patterns.items() if found}


def written_setting(name: str, value: Any) -> str:
    """Format a setting that names files as it is typed."""
    patterns = [*map(shown_address, patterns_in(value))]
    return f"data.{name}={patterns[0] if len(patterns) == 1 else '[' + ','.join(patterns) + ']'}"


def check_settings(data: DataConfig) -> None:
    """ConfigError if the settings of the source contradict each other."""
    problems = list(setting_problems(data))
    if problems:
        raise ConfigError(problems)


def setting_problems(data: DataConfig) -> Iterator[Problem]:
    """Yield the contradictions in the settings of the source; no file is read."""
    if data.source is Source.sample:
        yield from _sample_problems(data)
    else:
        yield from _pattern_problems(data)


def _sample_problems(data: DataConfig) -> Iterator[Problem]:
    from lingotune.data.sources.sample import LANGUAGES

    unknown = [language for language in data.languages if language not in LANGUAGES]
    if unknown:
        what = f"the sample has no {', '.join(map(repr, unknown))}; it has: {', '.join(LANGUAGES)}"
        known = [language for language in data.languages if language in LANGUAGES] or LANGUAGES
        yield Problem("data.languages", what, f"'data.languages=[{','.join(known)}]'")


def _pattern_problems(data: DataConfig) -> Iterator[Problem]:
    given = given_patterns(data)
    path = patterns_in(data.path)
    patterns = {**({"path": path} if path else {}), **given}
    example = f"{HUB_PREFIX}datasets/OWNER/NAME/train.jsonl"
    where = written_setting("path", data.path)
    if data.source is Source.hub and path:
        yield Problem(where, "has no effect: data.source=hub", "data.path=null")
    elif path and given:
        what = f"and {', '.join(f'data.{s}' for s in given)} are both set; one of them decides"
        yield Problem(where, what, "data.path=null")
    elif not path and "train" not in given:
        fix = "data.path=..., or data.train=..."
        fix = fix if data.source is Source.files else f"data.train={example}"
        yield Problem("data.train" if given else "data.path", "no file is named", fix)
    for name, pattern in ((name, one) for name, of in patterns.items() for one in of):
        on_hub = pattern.startswith(HUB_PREFIX)
        if on_hub and data.source is Source.files:
            what = "names files on the hub, and data.source=files"
            yield Problem(f"data.{name}={pattern}", what, "data.source=hub")
        if not on_hub and data.source is Source.hub and name != "path":
            what = "names no files on the hub, and data.source=hub"
            yield Problem(f"data.{name}={pattern}", what, f"data.{name}={example}, or data=files")
        for what, fix in address_faults(f"data.{name}", pattern):
            yield Problem(f"data.{name}={shown_address(pattern)}", what, fix)
        if PATTERN_LANGUAGE in pattern and not data.languages:
            what = "has {language}, and data.languages names none"
            yield Problem(f"data.{name}={pattern}", what, "'data.languages=[en,de]'")
    if data.encoding != AUTO and codec_of(data.encoding) is None:
        fix = f"data.encoding={near_encoding(data.encoding)}"
        yield Problem(f"data.encoding={data.encoding}", "is no encoding of texts", fix)
    if len({*data.header}) < len(data.header) or "" in data.header:
        fix = override_text("data.header", numbered(len(data.header)))
        yield Problem(
            override_text("data.header", data.header),
            "needs a name of its own for each column",
            fix,
        )


def expanded(data: DataConfig, patterns: Sequence[str]) -> list[tuple[str | None, str]]:
    """List the patterns, those with `{language}` once for each language, which comes first in a pair."""
    return [
        (code, pattern.replace(PATTERN_LANGUAGE, code or ""))
        for pattern in patterns
        for code in (data.languages if PATTERN_LANGUAGE in pattern else [None])
    ]


def hub_patterns(data: DataConfig, split: str) -> list[tuple[str | None, str]]:
    """List the patterns of a split as `expanded`; of train those of the languages to train on.

    Files of the others would be fetched for nothing, unless another split is carved out of them.
    """
    given = given_patterns(data)
    patterns, wanted = expanded(data, given[split]), tags_of(data.train_languages)
    if split != SPLITS[0] or not wanted or not reads_trained_only(data):
        return patterns
    return [(code, one) for code, one in patterns if code is None or tags_of([code])[0] in wanted]


def reads_trained_only(data: DataConfig) -> bool:
    """Tell whether a source leaves out the training files of languages that are not trained on."""
    given = given_patterns(data)
    carved = [s for s in SPLITS[1:] if s not in given and getattr(data, f"{s}_share")]
    by_language = any(PATTERN_LANGUAGE in one for one in given.get(SPLITS[0], ()))
    return bool(data.source is Source.hub and data.train_languages and by_language and not carved)


def elsewhere_in(data: DataConfig) -> Iterator[tuple[str, str]]:
    """Yield key and pattern of everything in the settings of a source that has to be fetched."""
    if data.source is not Source.files:
        return
    named = {"path": patterns_in(data.path), **given_patterns(data)}
    for name, patterns in named.items():
        for _, pattern in expanded(data, patterns):
            if is_elsewhere(pattern):
                yield f"data.{name}", pattern


def not_here(data: DataConfig) -> list[str]:
    """List what a source names elsewhere of which no whole copy is on this machine."""
    return [pattern for _, pattern in elsewhere_in(data) if copy_of(pattern) is None]


# --- where it lies ------------------------------------------------------------------------------


def local_parts(data: DataConfig) -> list[Part]:
    """Find the files on this machine that source=files names, by split.

    Files of `path` that are called after splits make these splits. ConfigError if some are not there, or
    it is not plain which split they are of.
    """
    path = patterns_in(data.path)
    given = {ALL: path} if path else given_patterns(data)
    jobs = [partial(_found, data, split, patterns) for split, patterns in given.items()]
    found = dict(zip(given, all_or_problems(jobs)))
    _check_used(data, [file for files in found.values() for file in files])
    if not data.pool:
        for split, files in found.items():
            if split != ALL:
                check_names(
                    written_setting(split, getattr(data, split)), split, [*map(_called, files)]
                )
    if path and not data.pool:
        found = _sorted_by_name(data, found[ALL])
    parts = [
        Part(split, language, tuple(f for f, of in files.items() if of == language))
        for split, files in found.items()
        for language in dict.fromkeys(files.values())
    ]
    return sorted(parts, key=lambda part: [ALL, *SPLITS].index(part.split))


def unused_formats(names: Sequence[str]) -> dict[str, Any]:
    """Map the settings of how files are read that concern no file of these names to their defaults."""
    defaults = vars(FileFormat()).items()
    return {key: value for key, value in defaults if not any(uses_setting(n, key) for n in names)}


def _check_used(data: DataConfig, files: Sequence[Path]) -> None:
    """Make sure that a setting of how files are read concerns one of the files."""
    how, kinds = format_of(data), {file.suffix.lower() for file in files}
    problems = [
        Problem(
            f"data.{name}={_as_typed(value)}",
            f"has no effect on {', '.join(sorted(kinds))} files",
            f"data.{name}={_as_typed(default)}",
        )
        for name, default in unused_formats([file.name for file in files]).items()
        if (value := getattr(how, name)) != default
    ]
    if problems:
        raise ConfigError(problems)


def _as_typed(value: Any) -> str:
    """Write the value of a format setting as it is typed."""
    if isinstance(value, tuple):
        return hydra_value([*value])
    return "null" if value is None else value.name if isinstance(value, Enum) else str(value)


_Files = dict[Path, "str | None"]
"""File -> the language that its pattern named."""


def _found(data: DataConfig, split: str, patterns: Sequence[str]) -> _Files:
    key = "data.path" if split == ALL else f"data.{split}"
    jobs = [partial(find_files, pattern, key) for _, pattern in expanded(data, patterns)]
    languages = (language for language, _ in expanded(data, patterns))
    found = {f: code for code, files in zip(languages, all_or_problems(jobs)) for f in files}
    check_decodable(found, key)
    return {file: found[file] for file in once([*found])}


def _called(file: Path) -> PurePosixPath:
    """Return the path by which the user knows a file: of a copy, where it was fetched from."""
    return PurePosixPath(shown_name(file))


def _sorted_by_name(data: DataConfig, files: _Files) -> dict[str, _Files]:
    called: dict[PurePosixPath, list[Path]] = {}  # two versions of an object are called alike
    for file in files:
        called.setdefault(_called(file), []).append(file)
    named = names_of(list(called))
    found = by_split(named)
    twice = called_twice(found) if found else None
    if found is None:
        what = f"holds {listed(named)}: which split is which is not plain"
        fixes = [_named_apart(data, named), "data.pool=true to read them as one source"]
    elif twice:
        split, same = twice
        what = f"names the {split} split twice: {listed(same)}"
        fixes = [_named_apart(data, named), "data.pool=true to read them as one source"]
    else:
        return {
            split or ALL: {
                file: files[file] for one in of for file in called[PurePosixPath(one.file)]
            }
            for split, of in found.items()
        }
    where = written_setting("path", data.path)
    raise ConfigError([Problem(where, what, ", or ".join(filter(None, fixes)))])


def _named_apart(data: DataConfig, named: Sequence[Named]) -> str:
    """Overrides that name each split by itself, as far as the names tell; the others for train."""
    has_test = any("test" in one.words for one in named)
    members: dict[str, dict[str, None]] = {}
    for one in named:
        splits = one.splits(has_test=has_test)
        if len(splits) < 2:
            folder = PurePosixPath(*one.file.parts[: len(one.file.parts) - _depth(one)])
            members.setdefault(splits.pop() if splits else "", {})[_typed(folder)] = None
    members = {"train": members.pop("", {}), **members}
    if not members["train"]:
        return ""
    texts = {split: [*members[split]] for split in SPLITS if split in members}
    settings = (
        override_text(f"data.{split}", found if len(found) > 1 else found[0])
        for split, found in texts.items()
    )
    return " ".join(["data.path=null", *settings])


def _typed(path: PurePosixPath) -> str:
    """Write a path as it is typed; of addresses, paths keep one slash after the scheme."""
    return re.sub(r"^(s3|https?):/(?!/)", r"\1://", str(path))


def _depth(one: Named) -> int:
    """Count the parts of the file's path that follow the part shown."""
    parts, shown = one.file.parts, one.shown.parts
    for depth in range(len(parts)):
        end = len(parts) - depth
        if parts[end - len(shown) : end] == shown:
            return depth
    return 0
