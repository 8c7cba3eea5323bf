"""Splits that the names of files and folders speak of."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lingotune.config.problems import ConfigError, Problem

_SHOWN = 6
_SPLITS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "devtest": "test",
    "tst": "test",
    "eval": "test",
    "holdout": "test",
}
"""Word -> the split that it means; eval is the validation split beside files that are called test."""
_WORD = re.compile(
    # A word of its own, whatever stands around it, or with what is often glued to it: testset.
    rf"(?<![a-zà-ɏ])(?:({'|'.join(_SPLITS)})(?:set|data|split)?|(hold|held)[-_ ]?out)(?![a-zà-ɏ])"
)
_PART = re.compile(rf"(?=({'|'.join(sorted(_SPLITS, key=len, reverse=True))}))")
_CAMEL_CASE = re.compile(r"(?<=[a-zà-ɏ])(?=[A-ZÀ-Ý])")


@dataclass(frozen=True)
class Named:
    """A file, and the split words in its path. shown: its path up to the last part that has one, or its
    first part; below the folder that all files have in common."""

    file: PurePath
    words: frozenset[str]
    shown: PurePath

    def splits(self, *, has_test: bool) -> set[str]:
        """Return the splits that the words mean."""
        means = {**_SPLITS, **({"eval": "validation"} if has_test else {})}
        return {means[word] for word in self.words}


def words_of(name: str) -> set[str]:
    """Return the split words in the name of a file or folder: `en.train.jsonl` has train."""
    spaced = _CAMEL_CASE.sub("_", name).lower()
    return {match[1] or "holdout" for match in _WORD.finditer(spaced)}


def names_of(files: Sequence[PurePath]) -> list[Named]:
    """Find the split words in the paths of files; words that all files have tell nothing apart."""
    folder = _common_folder(files)
    named = [_named(file, file.relative_to(folder) if folder else file) for file in files]
    common = frozenset.intersection(*(one.words for one in named)) if named else frozenset()
    if any(one.words != common for one in named):
        return [Named(one.file, one.words - common, one.shown) for one in named]
    inner = [file.relative_to(folder) if folder else file for file in files]
    glued = {} if common else _glued(inner)
    if not glued:
        return named
    return [Named(file, frozenset(glued.get(path, ())), path) for file, path in zip(files, inner)]


def _glued(paths: Sequence[PurePath]) -> Mapping[PurePath, set[str]]:
    """Find words that are parts of others, as in mytrain.csv: where another file is called the same but
    for the word of another split. latest.csv and contest.csv alone are called so by chance."""
    alike: dict[tuple[str, ...], dict[PurePath, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in paths:
        for depth, part in enumerate(path.parts):
            for match in _PART.finditer(part.lower()):
                rest = part[: match.start(1)].lower(), part[match.end(1) :].lower()
                alike[path.parts[:depth] + rest][path].add(match[1])
    found: dict[PurePath, set[str]] = defaultdict(set)
    for of in alike.values():
        if len({_SPLITS[word] for words in of.values() for word in words}) > 1:
            for path, words in of.items():
                found[path] |= words
    return found


def _common_folder(files: Sequence[PurePath]) -> PurePath | None:
    """The deepest folder that holds all files; None of absolute and relative paths together."""
    folders = set.intersection(*(set(file.parents) for file in files)) if files else set()
    return max(folders, key=lambda folder: len(folder.parts), default=None)


def _named(file: PurePath, inner: PurePath) -> Named:
    by_part = [words_of(part) for part in inner.parts]
    last = max((n for n, words in enumerate(by_part) if words), default=0)
    return Named(file, frozenset().union(*by_part), PurePath(*inner.parts[: last + 1]))


def by_split(named: Sequence[Named]) -> Mapping[str, list[Named]] | None:
    """Sort files that are called after splits; None where it is not plain which split each is of.

    Files that are all called alike, or by no split, are one source: {"": files}.
    """
    if len({one.words for one in named}) < 2:
        return {"": list(named)}
    has_test = any("test" in one.words for one in named)
    found: dict[str, list[Named]] = {}
    for one in named:
        splits = one.splits(has_test=has_test)
        if len(splits) != 1:
            return None
        found.setdefault(splits.pop(), []).append(one)
    if "train" not in found:
        return None
    return found


def called_twice(named: Mapping[str, Sequence[Named]]) -> tuple[str, Sequence[Named]] | None:
    """Find a split whose files have no word in common, such as dev.csv and val.csv."""
    for split, files in named.items():
        if split and len(files) > 1 and not frozenset.intersection(*(one.words for one in files)):
            return split, files
    return None


def check_names(where: str, split: str, files: Sequence[PurePath]) -> None:
    """Make sure that the files of a split are not called, in part, after another one.

    ConfigError lists those that are. `where`: the setting as typed.
    """
    named = names_of(files)
    if len({one.words for one in named}) < 2:
        return
    has_test = any("test" in one.words for one in named)
    others = [one for one in named if one.splits(has_test=has_test) - {split}]
    if others:
        what = f"also names {listed(others)}: called after another split than {split}"
        fix = f"a pattern without them, or data.pool=true to read them as {split}"
        raise ConfigError([Problem(where, what, fix)])


def listed(named: Sequence[Named]) -> str:
    """List files, or the folders with split words that hold them: the first few."""
    names = sorted({str(one.shown) for one in named})
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
