"""A trained model as the teacher of a smaller one (knowledge distillation)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lingotune.config.console import say_aside
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import (
    NO_LANGUAGE,
    DistillationConfig,
    JobConfig,
    OnError,
    split_seed,
)
from lingotune.data.prepared.manifest import SourceFile, TeacherIdentity
from lingotune.data.prepared.prepare import prepare
from lingotune.data.rows.cleaner import Row, Texts
from lingotune.data.rows.findings import Record, Unfit
from lingotune.data.rows.languages import Languages
from lingotune.data.rows.nested import add_nested, nested_columns
from lingotune.evaluation.classifier import Classifier, Trained, trained_model
from lingotune.evaluation.decisions import decide
from lingotune.evaluation.metrics import probabilities_of
from lingotune.evaluation.predict import Given, in_files, text_files
from lingotune.serving.served_model import model_digest
from lingotune.system.arrays import Array
from lingotune.system.hashing import sha256_of

_TEXTS = "distillation.texts"
_SKIP = "a text of whole characters there, or data.on_error=skip"


def prepare_job(
    job: JobConfig, root: Path, tell: Callable[[str], None], *, trains: bool = False
) -> tuple[Path, bool]:
    """Prepare the data of a job, with the probabilities of its teacher if it has one; see `prepare`."""
    teacher = teacher_of(job)
    return prepare(job.data, job.model, split_seed(job), root, tell, trains=trains, teacher=teacher)


def teacher_of(job: JobConfig) -> TrainedTeacher | None:
    """Return the teacher of a job, not opened yet; None without one."""
    return None if job.distillation.teacher is None else TrainedTeacher(job)


def trained_teacher(teacher: str) -> Trained:
    """Find a teacher's model, without loading any library; ConfigError names the setting."""
    try:
        return trained_model(teacher)
    except ConfigError as error:
        where = f"distillation.teacher={teacher}"
        raise ConfigError([replace(p, where=where) for p in error.problems]) from None


def changed_teacher(wanted: DistillationConfig, digest: str) -> Problem:
    """Tell that a teacher's files are not those that the job was composed with."""
    where = f"distillation.teacher={wanted.teacher}"
    before = str(wanted.sha256)[:12]
    what = f"was changed after the job was composed: sha256 {before} then, {digest[:12]} now"
    fix = f"{where} on top of the job, which makes it another job; or the model as it was"
    return Problem(where, what, fix)


def other_classes(teacher: str, trained: Trained, labels: Sequence[str]) -> list[Problem]:
    """Find out whether a teacher knows the classes of a job, in any order."""
    if trained.several:
        what = "may give a text several classes, and its probabilities are no shares of one"
        return [Problem(f"distillation.teacher={teacher}", what, "distillation.teacher=null")]
    if set(trained.labels) == set(labels):
        return []
    what = f"knows the classes {', '.join(trained.labels)}; the job's are {', '.join(labels)}"
    fix = "distillation.teacher=null, or a model of these classes"
    return [Problem(f"distillation.teacher={teacher}", what, fix)]


class TrainedTeacher:
    """Teacher of a job, which is opened when it is first asked: data that has its answers needs it no more.

    ConfigError then if it is not here, is not the one that the job was composed with, or has other classes.
    """

    def __init__(self, job: JobConfig) -> None:
        self._wanted, self._data = job.distillation, job.data
        self._labels = [label.name for label in job.data.labels]

    @cached_property
    def identity(self) -> TeacherIdentity:
        """Everything that its probabilities follow from; reads the files of texts."""
        pattern, sha256 = self._wanted.texts, self._wanted.sha256
        files = text_files(pattern, _TEXTS) if pattern else []
        texts = (SourceFile(f.name, f.stat().st_size, sha256_of(f)) for f in files)
        return TeacherIdentity(sha256 or model_digest(self._trained.folder), tuple(texts))

    @property
    def name(self) -> str:
        """Name of its run, or of its folder."""
        job = self._trained.job
        return job.name if job else self._trained.folder.resolve().name

    @property
    def parameters(self) -> int | None:
        """Number of parameters; None for an exported model."""
        module: Any = getattr(self._classifier.model, "module", None)
        return None if module is None else sum(one.numel() for one in module.parameters())

    @cached_property
    def _trained(self) -> Trained:
        found = trained_teacher(str(self._wanted.teacher))
        digest = model_digest(found.folder)
        if self._wanted.sha256 not in (None, digest):
            raise ConfigError([changed_teacher(self._wanted, digest)])
        if problems := other_classes(str(self._wanted.teacher), found, self._labels):
            raise ConfigError(problems)
        return found

    @cached_property
    def _classifier(self) -> Classifier:
        return Classifier(self._trained)

    def texts(self) -> Iterator[Row]:
        """Yield the texts without labels, prepared as the job's rows are; their label is 0.

        ConfigError locates one that cannot be used, unless such rows are to be skipped.
        """
        columns, languages = self._data.columns, Languages(self._data)
        texts, nested = Texts(columns, normalize=self._data.normalize), nested_columns(columns)
        skipped = 0
        for number, (place, one) in enumerate(self._given()):
            record = dict(one) if isinstance(one, dict) else {columns.text: one}
            add_nested(record, nested)
            try:
                text = texts.of(record)
            except Unfit as fault:
                if self._data.on_error is OnError.stop:
                    raise ConfigError([Problem(place, fault.what, fault.fix or _SKIP)]) from None
                skipped += 1
                continue
            code, wanted = _language(languages, record)
            if wanted:
                yield Row(text, 0, code, f"unlabelled-{number}", None)
        if skipped:
            say_aside(
                f"note: {skipped} texts of {self._wanted.texts} cannot be used and are left out"
            )

    def _given(self) -> Iterator[Given]:
        reader = replace(self._trained, job=JobConfig(data=self._data))
        on_remark = lambda text: say_aside(f"note: {text}")  # noqa: E731
        return in_files(self._wanted.texts or "", reader, on_remark, _TEXTS)

    def classify(
        self, texts: Sequence[str], languages: Sequence[str | None]
    ) -> tuple[Array, Array]:
        """Compute the classes that it decides on, int64, (rows,), and its probabilities as it was trained,
        (rows, classes); both by the ids of the job's classes."""
        trained = self._trained
        raw = probabilities_of(self._classifier.logits(texts))
        codes = np.array([code or "" for code in languages], object)
        classes = decide(raw, codes, trained.decision, trained.labels)[1]
        ids = np.array([self._labels.index(name) for name in trained.labels])
        shares = np.empty_like(raw)
        shares[:, ids] = raw
        return ids[classes], shares


def _language(languages: Languages, record: Record) -> tuple[str, bool]:
    """Read the language of a record that may name none, and whether its rows are wanted."""
    try:
        found = languages.read(record)
    except Unfit:
        return NO_LANGUAGE, True
    return found.code, found.wanted
