"""Which files make up which split: the patterns of the settings, and the parts they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ALL, PATTERN_LANGUAGE, SPLITS, DataConfig, Source
from lingotune.data.rows.findings import HUB_PREFIX, all_or_problems
from lingotune.data.sources.files import find_files, is_data_file, visible

_ALIASES = {"dev": "validation", "valid": "validation", "val": "validation"}
_SPLIT_NAME = re.compile(r"(train|validation|valid|val|dev|test)(?=[._-]|$)")


@dataclass(frozen=True)
class Part:
    """Files of one split (or `all`); the language is set where `{language}` was in the pattern."""

    split: str
    language: str | None
    files: tuple[Path, ...]


# --- what was asked for -------------------------------------------------------------------------


def given_patterns(data: DataConfig) -> dict[str, str]:
    """Split -> its pattern, for the splits that have one."""
    patterns = {split: getattr(data, split) for split in SPLITS}
    return {split: pattern for split, pattern in patterns.items() if pattern is not None}


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
    patterns = {**({"path": data.path} if data.path is not None else {}), **given}
    example = f"{HUB_PREFIX}datasets/OWNER/NAME/train.jsonl"
    if data.source is Source.hub and data.path is not None:
        yield Problem(f"data.path={data.path}", "has no effect: data.source=hub", "data.path=null")
    elif data.path is not None and given:
        what = f"and {', '.join(f'data.{s}' for s in given)} are both set; one of them decides"
        yield Problem(f"data.path={data.path}", what, "data.path=null")
    elif data.path is None and data.train is None:
        fix = "data.path=reviews.jsonl, or data.train=train.jsonl"
        fix = fix if data.source is Source.files else f"data.train={example}"
        yield Problem("data.train" if given else "data.path", "no file is named", fix)
    for name, pattern in patterns.items():
        on_hub = pattern.startswith(HUB_PREFIX)
        if on_hub and data.source is Source.files:
            what = "names files on the hub, and data.source=files"
            yield Problem(f"data.{name}={pattern}", what, "data.source=hub")
        if not on_hub and data.source is Source.hub and name != "path":
            what = "names no files on the hub, and data.source=hub"
            yield Problem(f"data.{name}={pattern}", what, f"data.{name}={example}, or data=files")
        if PATTERN_LANGUAGE in pattern and not data.languages:
            what = "has {language}, and data.languages names none"
            yield Problem(f"data.{name}={pattern}", what, "'data.languages=[en,de]'")


def expanded(data: DataConfig, pattern: str) -> list[tuple[str | None, str]]:
    """The pattern for each language, or as it is."""
    if PATTERN_LANGUAGE not in pattern:
        return [(None, pattern)]
    return [(code, pattern.replace(PATTERN_LANGUAGE, code)) for code in data.languages]


# --- where it lies ------------------------------------------------------------------------------


def local_parts(data: DataConfig) -> list[Part]:
    """The files on this machine that source=files names, by split; ConfigError if some are not there."""
    patterns = {ALL: data.path} if data.path is not None else dict(given_patterns(data))
    jobs = [
        partial(_parts_of, split, language, pattern)
        for split, given in patterns.items()
        for language, pattern in expanded(data, given)
    ]
    parts = [part for found in all_or_problems(jobs) for part in found]
    names = {part.split for part in parts}
    if ALL in names and len(names) > 1:
        what = "holds split files for one language and whole files for another"
        raise ConfigError([Problem(f"data.path={data.path}", what, "one layout for all languages")])
    return sorted(parts, key=lambda part: [ALL, *SPLITS].index(part.split))


def _parts_of(split: str, language: str | None, pattern: str) -> list[Part]:
    if split != ALL:
        return [Part(split, language, tuple(find_files(pattern, f"data.{split}")))]
    members = _split_members(Path(pattern).expanduser())
    if not members:
        return [Part(ALL, language, tuple(find_files(pattern, "data.path")))]
    return [
        Part(name, language, tuple(f for path in paths for f in find_files(str(path), "data.path")))
        for name, paths in members.items()
    ]


def _split_members(folder: Path) -> dict[str, list[Path]]:
    """Split -> its files or folders, in a folder that names its splits; {} where it does not."""
    if not folder.is_dir() or (folder / "state.json").is_file():
        return {}
    entries = [f for f in visible(folder) if f.is_dir() or is_data_file(f.name)]
    words = {entry: match[1] for entry in entries if (match := _SPLIT_NAME.match(entry.name))}
    if "train" not in words.values() and not (folder / "dataset_dict.json").is_file():
        return {}
    members: dict[str, list[Path]] = {}
    for entry, word in words.items():
        members.setdefault(_ALIASES.get(word, word), []).append(entry)
    if "train" not in members or len(words) < len(entries):
        what = f"holds {', '.join(e.name for e in entries)}: which split is which is not plain"
        raise ConfigError([Problem(f"data.path={folder}", what, _named(members, entries))])
    for split, paths in members.items():
        if len({words[path] for path in paths}) > 1:
            what = f"names the {split} split twice: {', '.join(path.name for path in paths)}"
            raise ConfigError([Problem(f"data.path={folder}", what, _named(members, entries))])
    return members


def _named(members: Mapping[str, list[Path]], entries: list[Path]) -> str:
    """Overrides that name each split by itself."""
    chosen = {"train": entries, **members}
    return " ".join(
        ["data.path=null", *(f"data.{s}={chosen[s][0]}" for s in SPLITS if s in chosen)]
    )
