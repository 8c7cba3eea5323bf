"""Train, validation and test: read as given, or carved out of one source.

The same code reads on a laptop and on a worker. There the files come through an input channel,
laid out by `channel_layout` so that both sides read the same rows in the same order.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from lingotune.data.rows import PATTERN_LANGUAGE, Rows, collect, format_labels
from lingotune.data.sources import (
    HUB_PREFIX,
    Located,
    find_files,
    is_data_file,
    read_files,
    read_hub,
    visible,
)
from lingotune.schema import ConfigError, DataConfig, Problem, Source

SPLITS = ("train", "validation", "test")
"""What every job has."""

_ALL = "all"
_ALIASES = {"dev": "validation", "valid": "validation", "val": "validation"}
_SPLIT_NAME = re.compile(r"(train|validation|valid|val|dev|test)(?=[._-]|$)")
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Part:
    """Files of one split (or `all`); the language is set where `{language}` was in the pattern."""

    split: str
    language: str | None
    files: tuple[Path, ...]


def load_splits(data: DataConfig, seed: int, channel: str | None = None) -> dict[str, Rows]:
    """Rows of train, validation and test.

    `seed` decides what is carved out of `data.path` or of train; the same seed and the same texts
    give the same splits in every process. `channel` is the folder of a worker's input channel.
    Warnings are in `Rows.warnings`. ConfigError lists what is wrong with all splits together.
    """
    _check_settings(data)
    if data.source is Source.sample:
        return _load(data, {split: partial(_sample, data, split) for split in SPLITS})
    if data.source is Source.hub:
        tables = _load(data, {split: partial(_hub, data, split) for split in _given(data)})
        _compare_counts(data, tables)
    else:
        parts = _channel_parts(data, Path(channel)) if channel else _local_parts(data)
        by_split: dict[str, list[_Part]] = defaultdict(list)
        for part in parts:
            by_split[part.split].append(part)
        tables = _load(data, {s: partial(_read_parts, p) for s, p in by_split.items()})
    given = {split: rows for split, rows in tables.items() if split != _ALL}
    _note_leaks(given)
    return _checked(data, _complete(data, tables, seed))


def count_rows(data: DataConfig, seed: int) -> tuple[dict[str, int] | None, list[str]]:
    """Rows of each split, for the plan, and warnings.

    Files are read and checked; the sample and the hub are counted without reading them. None where
    a hub dataset's counts (`data.rows`) are not in the config. ConfigError as `load_splits`.
    """
    _check_settings(data)
    if data.source is Source.sample:
        from lingotune.data.sample import sample_size

        return {s: sample_size(data.sample, s, data.languages) for s in SPLITS}, []
    if data.source is Source.hub:
        return _declared_counts(data), []
    splits = load_splits(data, seed)
    warnings = [f"{split}: {w}" for split, rows in splits.items() for w in rows.warnings]
    return {split: len(rows) for split, rows in splits.items()}, warnings


def channel_layout(data: DataConfig) -> dict[str, list[Path]]:
    """Folder of the input channel -> local files that belong into it, for source=files.

    Folders are `train`, `validation` and `test`, or `all` where one source is carved, then the
    language where the pattern has `{language}`, then a number where the files come from several
    folders: `train/de/00001`.
    """
    _check_settings(data)
    layout: dict[str, list[Path]] = {}
    for part in _local_parts(data):
        folders = list(dict.fromkeys(file.parent for file in part.files))
        base = "/".join(filter(None, [part.split, part.language]))
        for file in part.files:
            number = f"/{folders.index(file.parent):05d}" if len(folders) > 1 else ""
            layout.setdefault(base + number, []).append(file)
    return layout


def data_digest(data: DataConfig) -> str:
    """SHA-256 over folders, names and bytes of what `channel_layout` lists; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for folder, files in channel_layout(data).items():
        for file in files:
            # The length keeps the end of one file apart from the start of the next.
            digest.update(f"{folder}/{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as content:
                while chunk := content.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()


# --- what was asked for -------------------------------------------------------------------------


def _given(data: DataConfig) -> dict[str, str]:
    """Split -> its pattern, for the splits that have one."""
    patterns = {split: getattr(data, split) for split in SPLITS}
    return {split: pattern for split, pattern in patterns.items() if pattern is not None}


def _check_settings(data: DataConfig) -> None:
    problems = [] if data.source is Source.sample else list(_pattern_problems(data))
    if data.source is Source.sample:
        from lingotune.data.sample import LANGUAGES

        unknown = [language for language in data.languages if language not in LANGUAGES]
        if unknown:
            what = (
                f"the sample has no {', '.join(map(repr, unknown))}; it has: {', '.join(LANGUAGES)}"
            )
            known = [language for language in data.languages if language in LANGUAGES] or LANGUAGES
            problems.append(
                Problem("data.languages", what, f"'data.languages=[{','.join(known)}]'")
            )
    if problems:
        raise ConfigError(problems)


def _pattern_problems(data: DataConfig) -> Iterator[Problem]:
    given = _given(data)
    patterns = {**({"path": data.path} if data.path is not None else {}), **given}
    example = f"{HUB_PREFIX}datasets/OWNER/NAME/train.jsonl"
    if data.source is Source.hub and data.path is not None:
        yield Problem(f"data.path={data.path}", "has no effect: data.source=hub", "data.path=null")
    elif data.path is not None and given:
        what = f"and {', '.join(f'data.{s}' for s in given)} are both set; one of them decides"
        yield Problem(f"data.path={data.path}", what, "data.path=null")
    elif data.path is None and data.train is None:
        works = "data.path=reviews.jsonl, or data.train=train.jsonl"
        works = works if data.source is Source.files else f"data.train={example}"
        yield Problem("data.train" if given else "data.path", "no file is named", works)
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


def _expanded(data: DataConfig, pattern: str) -> list[tuple[str | None, str]]:
    """The pattern for each language, or as it is."""
    if PATTERN_LANGUAGE not in pattern:
        return [(None, pattern)]
    return [(code, pattern.replace(PATTERN_LANGUAGE, code)) for code in data.languages]


# --- where it lies ------------------------------------------------------------------------------


def _local_parts(data: DataConfig) -> list[_Part]:
    patterns = {_ALL: data.path} if data.path is not None else dict(_given(data))
    jobs = [
        partial(_parts_of, split, language, pattern)
        for split, given in patterns.items()
        for language, pattern in _expanded(data, given)
    ]
    parts = [part for found in _all_or_problems(jobs) for part in found]
    names = {part.split for part in parts}
    if _ALL in names and len(names) > 1:
        what = "holds split files for one language and whole files for another"
        raise ConfigError([Problem(f"data.path={data.path}", what, "one layout for all languages")])
    return sorted(parts, key=lambda part: [_ALL, *SPLITS].index(part.split))


def _parts_of(split: str, language: str | None, pattern: str) -> list[_Part]:
    if split != _ALL:
        return [_Part(split, language, tuple(find_files(pattern, f"data.{split}")))]
    members = _split_members(Path(pattern).expanduser())
    if not members:
        return [_Part(_ALL, language, tuple(find_files(pattern, "data.path")))]
    return [
        _Part(
            name, language, tuple(f for path in paths for f in find_files(str(path), "data.path"))
        )
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


def _channel_parts(data: DataConfig, channel: Path) -> list[_Part]:
    """What `channel_layout` described, found again in the folder of the channel."""
    parts = []
    for split in (_ALL, *SPLITS):
        pattern = data.path if data.path is not None else getattr(data, split, None)
        if not (channel / split).is_dir():
            continue
        for language, _ in _expanded(data, pattern or ""):
            found = (channel / split / (language or "")).rglob("*")
            files = sorted((f for f in found if f.is_file()), key=lambda f: (str(f.parent), f.name))
            parts.append(_Part(split, language, tuple(files)))
    there = {part.split for part in parts if part.files}
    lacking = sorted({*_given(data)} - there) or ([] if there & {_ALL, "train"} else [_ALL])
    if lacking:
        what = f"the input channel lacks {', '.join(lacking)}/"
        raise ConfigError([Problem(str(channel), what, "python launch.py ... action=submit")])
    return parts


# --- reading ------------------------------------------------------------------------------------


def _load(
    data: DataConfig, readers: Mapping[str, Callable[[], Iterator[Located]]]
) -> dict[str, Rows]:
    jobs = [partial(_collected, data, split, read) for split, read in readers.items()]
    return dict(zip(readers, _all_or_problems(jobs)))


def _collected(data: DataConfig, split: str, read: Callable[[], Iterator[Located]]) -> Rows:
    return collect(read(), data, split)


def _all_or_problems(jobs: Sequence[Callable[[], _T]]) -> list[_T]:
    """The result of every job, or one ConfigError with the problems of all."""
    results, problems = [], []
    for job in jobs:
        try:
            results.append(job())
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return results


def _sample(data: DataConfig, split: str) -> Iterator[Located]:
    from lingotune.data.sample import sample_rows

    records = sample_rows(data.sample, split, data.languages)
    return ((f"sample/{split}:{n}", record) for n, record in enumerate(records, 1))


def _hub(data: DataConfig, split: str) -> Iterator[Located]:
    for language, pattern in _expanded(data, _given(data)[split]):
        yield from _with_language(read_hub(pattern, f"data.{split}"), language)


def _read_parts(parts: Sequence[_Part]) -> Iterator[Located]:
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
    source = tables.get(_ALL) or tables["train"]
    wanted = {split: _share(data, split) for split in SPLITS[1:] if split not in tables}
    if wanted:
        carved = {split: source.select(at) for split, at in carve(source, wanted, seed).items()}
        carved["train"].warnings = source.warnings
        tables = {**tables, **carved}
    return {split: tables[split] for split in SPLITS}


def _share(data: DataConfig, split: str) -> float:
    return data.validation_share if split == "validation" else data.test_share


def carve(rows: Rows, shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Indices of `train` and of each split in `shares` (a share is a part of all rows).

    The shares must leave something to train: together less than 1. Per language and class, a split
    gets its share rounded down or up, so that the whole comes out (largest remainders); a stratum
    of at least 1/share rows is in every split. Identical texts stay together, which may cost a
    stratum some of that, and every stratum keeps a text in train. Texts are drawn by a hash of
    seed and text: their order in the source does not matter.
    """
    strata = _strata(rows, seed)
    sizes = {key: sum(map(len, groups)) for key, groups in strata.items()}
    quotas = _quotas(sizes, shares, seed)
    taken: dict[str, list[int]] = {split: [] for split in ("train", *shares)}
    for key, groups in strata.items():
        rest = groups
        for split in shares:
            drawn, rest = _draw(rest, quotas[split][key])
            taken[split] += [i for group in drawn for i in group]
        taken["train"] += [i for group in rest for i in group]
    return {split: sorted(indices) for split, indices in taken.items()}


_Stratum = tuple[str, int]


def _strata(rows: Rows, seed: int) -> dict[_Stratum, list[list[int]]]:
    """Groups of identical texts by (language, class), in the order in which they are drawn."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(rows.text):
        groups[text].append(index)
    strata: dict[_Stratum, list[list[int]]] = defaultdict(list)
    for text in sorted(groups, key=lambda text: (_hash(seed, text), text)):
        indices = groups[text]
        # A text in two strata counts for one, and not for the one that comes first in the file.
        strata[min((rows.language[i], rows.label[i]) for i in indices)].append(indices)
    return dict(sorted(strata.items()))


def _hash(seed: int, *parts: object) -> bytes:
    content = "\0".join(map(str, (seed, *parts)))
    return hashlib.blake2b(content.encode(), digest_size=8).digest()


def _quotas(
    sizes: Mapping[_Stratum, int], shares: Mapping[str, float], seed: int
) -> dict[str, dict[_Stratum, int]]:
    """Split -> stratum -> rows, by largest remainders; at least one row is left for train."""
    # Rounded, for 100 x 0.29 is not 29 to a computer.
    exact = {
        s: {key: round(n * share, 9) for key, n in sizes.items()} for s, share in shares.items()
    }
    quotas = {s: {key: math.floor(rows) for key, rows in of.items()} for s, of in exact.items()}
    left = {key: n - 1 - sum(quota[key] for quota in quotas.values()) for key, n in sizes.items()}
    for split, quota in quotas.items():
        remainder = {key: exact[split][key] - quota[key] for key in sizes}
        missing = math.floor(sum(exact[split].values()) + 0.5) - sum(quota.values())
        open_ = [key for key in sizes if left[key] > 0 and remainder[key] > 0]
        open_.sort(key=lambda key: (-remainder[key], _hash(seed, split, *key)))
        for key in open_[:missing]:
            quota[key] += 1
            left[key] -= 1
    return quotas


def _draw(groups: list[list[int]], quota: int) -> tuple[list[list[int]], list[list[int]]]:
    """Groups of `quota` rows together, or nearly, and the rest, which keeps at least one group."""
    drawn: list[list[int]] = []
    rest: list[list[int]] = []
    for position, group in enumerate(groups):
        is_last = position == len(groups) - 1 and not rest
        if len(group) <= quota and not is_last:
            drawn.append(group)
            quota -= len(group)
        else:
            rest.append(group)
    if quota and not drawn and len(rest) > 1:  # only large groups: one is better than none
        drawn = [min(rest, key=len)]
        rest = [group for group in rest if group is not drawn[0]]
    return drawn, rest


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
            said = data.rows.get(split)
            if said is not None and said != count:
                what = f"{count} rows of {split} in {language}, but data.rows.{split}={said}"
                rows.warnings.append(what)


def _declared_counts(data: DataConfig) -> dict[str, int] | None:
    """The counts in the config, carved as `carve` would to within a few rows."""
    given = _given(data)
    if any(split not in data.rows for split in given):
        return None
    languages = max(1, len(data.languages))
    counts = {split: data.rows[split] * languages for split in given}
    source = counts["train"]
    for split in SPLITS[1:]:
        if split not in counts:
            counts[split] = math.floor(source * _share(data, split) + 0.5)
            counts["train"] -= counts[split]
    return {split: counts[split] for split in SPLITS}
