"""A teacher's probabilities of prepared rows: computed once, and kept beside the rows.

A smaller model learns from them as well as from the labels (knowledge distillation, Hinton et al. 2015,
arXiv:1503.02531).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from lingotune.config.schema import SPLITS
from lingotune.data.prepared.manifest import FolderFile, TeacherFiles, TeacherIdentity
from lingotune.data.rows.cleaner import Row
from lingotune.system.arrays import Array
from lingotune.system.hashing import sha256_of

_BLOCK = 4_096
"""Rows that the teacher is asked about at once."""
PREDICTED = "predicted"
_TRAIN = 0


class Teacher(Protocol):
    """Model that classifies rows for a smaller one."""

    @property
    def name(self) -> str:
        """Name of its run, or of its folder."""

    @property
    def identity(self) -> TeacherIdentity:
        """Everything that its probabilities follow from."""

    @property
    def parameters(self) -> int | None:
        """Number of parameters; None where they cannot be counted."""

    def texts(self) -> Iterator[Row]:
        """Yield the texts without labels; their label is 0."""

    def classify(
        self, texts: Sequence[str], languages: Sequence[str | None]
    ) -> tuple[Array, Array]:
        """Compute the classes that it decides on, int64, (rows,), and its probabilities as it was trained,
        (rows, classes)."""


class Teaching:
    """Rows on their way to a teacher, block by block.

    keep: takes rows without labels, with the teacher's class. total: rows that will come. tell: prints
    lines about the progress.
    """

    def __init__(
        self,
        teacher: Teacher,
        labels: Sequence[str],
        keep: Callable[[Row], None],
        total: int,
        tell: Callable[[str], None],
    ) -> None:
        self._teacher, self._labels, self._keep = teacher, labels, keep
        self._total, self._tell, self._done, self._unlabelled = total, tell, 0, 0
        self._waiting: dict[int, list[Row]] = {split: [] for split in range(len(SPLITS))}
        self._found: dict[int, list[tuple[Array, Array]]] = {split: [] for split in self._waiting}

    def run(self, rows: Iterable[tuple[Row, int]], folder: Path) -> TeacherFiles:
        """Classify the rows of all splits, then texts without labels that none of them has; writes a file
        for each split."""
        seen: set[int] = set()
        wants_texts = bool(self._teacher.identity.texts)
        for row, split in rows:
            self._waiting[split].append(row)
            if wants_texts:
                seen.add(hash(row.text))
            if len(self._waiting[split]) == _BLOCK:
                self._classify(split)
        for split in self._waiting:
            self._classify(split)
        if wants_texts:
            self._learn(seen)
        return TeacherFiles(
            name=self._teacher.name,
            identity=self._teacher.identity,
            parameters=self._teacher.parameters,
            unlabelled=self._unlabelled,
            files={
                SPLITS[split]: self._write(parts, folder / f"teacher-{SPLITS[split]}.parquet")
                for split, parts in self._found.items()
            },
        )

    def _learn(self, seen: set[int]) -> None:
        for row in self._teacher.texts():
            if hash(row.text) not in seen:
                seen.add(hash(row.text))
                self._waiting[_TRAIN].append(row)
                if len(self._waiting[_TRAIN]) == _BLOCK:
                    self._keep_unlabelled()
        self._keep_unlabelled()

    def _keep_unlabelled(self) -> None:
        rows = self._waiting[_TRAIN]
        for row, label in zip(rows, self._classify(_TRAIN)):
            self._keep(row._replace(label=label))
            self._unlabelled += 1

    def _classify(self, split: int) -> list[int]:
        """Classify the rows of a split that wait; returns their classes."""
        rows, self._waiting[split] = self._waiting[split], []
        if not rows:
            return []
        languages = [row.language for row in rows]
        classes, shares = self._teacher.classify([row.text for row in rows], languages)
        self._found[split].append((classes, shares.astype(np.float32)))
        self._done += len(rows)
        if self._total > _BLOCK:
            self._tell(f"  teacher: {self._done} of {max(self._total, self._done)} rows")
        decided: list[int] = classes.tolist()
        return decided

    def _write(self, parts: Sequence[tuple[Array, Array]], path: Path) -> FolderFile:
        classes = np.concatenate([np.zeros(0, np.int64), *(one for one, _ in parts)])
        empty = np.zeros((0, len(self._labels)), np.float32)
        shares = np.concatenate([empty, *(one for _, one in parts)])
        columns = {PREDICTED: pa.array(classes.astype(np.int8))}
        columns |= {
            f"probability_{name}": pa.array(np.ascontiguousarray(shares[:, place]))
            for place, name in enumerate(self._labels)
        }
        unfinished = path.with_suffix(".tmp")
        parquet.write_table(pa.table(columns), unfinished, version="2.4")
        unfinished.replace(path)
        return FolderFile(path.name, path.stat().st_size, sha256_of(path))
