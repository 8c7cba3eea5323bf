"""A source read to its end: everything that is wrong with it, and a hash of every row."""

from __future__ import annotations

import shlex
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ALL, SPLITS, DataConfig, LabelsMode, Source
from lingotune.data.rows.cleaner import Cleaner, Row
from lingotune.data.rows.findings import Counts, OnReject
from lingotune.data.rows.label_sets import SEVERAL, Targets, rarest_classes
from lingotune.data.rows.labels import Labels
from lingotune.data.sources.patterns import local_parts, written_setting
from lingotune.data.splits.carve import INPUTS, Keys, hash_group, hash_text
from lingotune.data.splits.readers import Readers
from lingotune.system.arrays import Array

_REMARKS = 20
"""Remarks on files that are told, of each input."""


@dataclass(frozen=True)
class Scanned:
    """Result of a scan. languages: the codes that `keys.language` indexes. sets: those of classes that
    `keys.label` numbers, bool, (sets, classes); None where a text has one class."""

    keys: Keys
    languages: tuple[str, ...]
    counts: Mapping[str, Counts]
    warnings: tuple[str, ...]
    sets: Array | None = None

    def class_rows(self, rows: Array) -> Counter[int]:
        """Count rows, given by a mask, by class id; one with several classes counts for each."""
        label = self.keys.label[rows]
        if self.sets is None:
            return Counter(label.tolist())
        counts = np.bincount(label, minlength=len(self.sets)) @ self.sets
        return Counter(dict(enumerate(counts.tolist())))


def scan(
    readers: Readers, data: DataConfig, reject: OnReject, keep: Callable[[Row], None]
) -> Scanned:
    """Read all inputs; ConfigError lists what is wrong with all of them together."""
    several = data.labels_mode is LabelsMode.multi
    rows = _Rows(grouped=data.columns.group is not None, several=several)
    problems: list[Problem] = []
    warnings: list[str] = []
    counts: dict[str, Counts] = {}
    labels = Labels(data)
    cleaners = {name: Cleaner(data, name, on_reject=reject, labels=labels) for name in readers}
    remarks: dict[str, list[str]] = {name: [] for name in readers}
    for name, cleaner in cleaners.items():
        for row in cleaner.rows(readers[name](cleaner.on_fault, remarks[name].append)):
            rows.add(row, INPUTS.index(name))
            keep(row)
    unlabelled = _unlabelled(data, cleaners)
    for name, cleaner in cleaners.items():
        problems += unlabelled[name] if name in unlabelled else cleaner.problems()
        warnings += [
            f"{name}: {warning}" for warning in [*_few(remarks[name]), *cleaner.warnings()]
        ]
        rejected = dict(cleaner.rejected)
        counts[name] = Counts(cleaner.read, cleaner.kept, rejected, cleaner.filtered)
    if problems:
        raise ConfigError(problems)
    warnings += [
        f"{name}: {warning}" for name in list(readers)[:1] for warning in labels.warnings()
    ]
    sets = rows.sets() if several else None
    return Scanned(rows.keys(sets), tuple(sorted(rows.languages)), counts, tuple(warnings), sets)


def _few(remarks: Sequence[str]) -> Iterator[str]:
    """The first remarks on files, and how many more there are: a folder may hold thousands of them."""
    yield from remarks[:_REMARKS]
    if len(remarks) > _REMARKS:
        yield f"and {len(remarks) - _REMARKS} more remarks on files"


def _unlabelled(data: DataConfig, cleaners: Mapping[str, Cleaner]) -> dict[str, list[Problem]]:
    """Problems of given validation and test splits without any label, where train has some."""
    if not any(cleaners[name].kept for name in (SPLITS[0], ALL) if name in cleaners):
        return {}
    found = {}
    for name, cleaner in cleaners.items():
        if cleaner.is_unlabelled():
            given = getattr(data, name, None)
            path = written_setting("path", data.path)
            where = written_setting(name, given) if given else f"the {name} split of {path}"
            without = f"data.{name}=null" if given else _without(data, name)
            file = shlex.quote(cleaner.file)
            fix = f"{without}; after the training: lingotune predict RUN --file {file}"
            found[name] = cleaner.unlabelled_problems(where, fix)
    return found


def _without(data: DataConfig, name: str) -> str:
    """Overrides that name the other splits of a folder, each by itself."""
    files: dict[str, list[str]] = {}
    for part in local_parts(data) if data.source is Source.files else []:
        if part.split != name:
            files.setdefault(part.split, []).extend(map(str, part.files))
    if not files or any(len(named) > 1 for named in files.values()):
        return "data.path=null data.train=FILE"
    return shlex.join(["data.path=null", *(f"data.{split}={of[0]}" for split, of in files.items())])


class _Rows:
    """Keys of rows as they come: 13 bytes a row, 21 where a column names their groups.

    several: a text may have several classes; each set of them has a number.
    """

    def __init__(self, *, grouped: bool, several: bool) -> None:
        self.languages: dict[str, int] = {}
        self._text, self._label = array("Q"), array("i" if several else "h")
        self._sets: dict[Targets | None, int] = {}
        self._language, self._source = array("h"), array("b")
        self._group = array("Q") if grouped else self._text

    def add(self, row: Row, source: int) -> None:
        text = hash_text(row.text)
        self._text.append(text)
        if self._group is not self._text:
            self._group.append(text if row.group is None else hash_group(row.group))
        several = row.label == SEVERAL
        self._label.append(
            self._sets.setdefault(row.targets, len(self._sets)) if several else row.label
        )
        self._language.append(self.languages.setdefault(row.language, len(self.languages)))
        self._source.append(source)

    def sets(self) -> Array:
        """Sets of classes that were met, in an order that those of the rows does not change."""
        found: Array = np.array(sorted(targets for targets in self._sets if targets), bool)
        return found

    def keys(self, sets: Array | None) -> Keys:
        """Return the keys of all rows; sets: as `sets` gives them, None where a text has one class."""
        # Places in the order of the codes, whatever came first.
        place = np.argsort(np.argsort(np.array(list(self.languages), object).astype(str)))
        language = place.astype(np.int16)[np.frombuffer(self._language, np.int16)]
        label, strata = np.frombuffer(self._label, self._label.typecode), None
        if sets is not None and len(sets):
            rank = np.empty(len(sets), np.int32)
            met = [targets or () for targets in self._sets]
            rank[sorted(range(len(sets)), key=lambda n: met[n])] = np.arange(len(sets))
            label = rank[label]
            strata = rarest_classes(sets, np.bincount(label, minlength=len(sets)))[label]
        return Keys(
            np.frombuffer(self._text, np.uint64),
            np.frombuffer(self._group, np.uint64),
            label,
            language,
            np.frombuffer(self._source, np.int8),
            strata,
        )
