"""Checks of distillation: what it goes with, and what has no effect beside it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lingotune.config.schema import ONE_CLASS, Balance, DistillationConfig, JobConfig
from lingotune.preflight.registry import Found, Table

DISTILLATION: Table[JobConfig] = Table()


@DISTILLATION.check("distillation-unused", "there is nothing to learn from without a teacher")
def _without_teacher(job: JobConfig) -> Iterator[Found]:
    wanted = job.distillation
    if wanted.teacher is None and wanted != DistillationConfig():
        yield "distillation", "has no effect without a teacher", "distillation.teacher=RUN"


@DISTILLATION.check("distillation-alpha", "the teacher's share of the loss is 1 - alpha")
def _alpha(job: JobConfig) -> Iterator[Found]:
    alpha, teacher = job.distillation.alpha, job.distillation.teacher
    if not 0 <= alpha <= 1:
        yield f"distillation.alpha={alpha:g}", "is no share from 0 to 1", "distillation.alpha=0.5"
    elif alpha == 1 and teacher is not None:
        what = "leaves nothing to the teacher"
        yield "distillation.alpha=1", what, "distillation.alpha=0.5, or distillation.teacher=null"


@DISTILLATION.check("distillation-temperature", "probabilities are divided by it, as logarithms")
def _temperature(job: JobConfig) -> Iterator[Found]:
    heat = job.distillation.temperature
    if not 0.1 <= heat <= 100:
        what = "is no temperature from 0.1 to 100"
        yield f"distillation.temperature={heat:g}", what, "distillation.temperature=2"


@DISTILLATION.check("distillation-labels-unused", "with alpha 0 no label is learnt from")
def _labels_unused(job: JobConfig) -> Iterator[Found]:
    if job.distillation.teacher is None or job.distillation.alpha != 0:
        return
    what = "has no effect on a loss without labels (distillation.alpha=0)"
    if job.training.label_smoothing:
        where = f"training.label_smoothing={job.training.label_smoothing:g}"
        yield where, what, "training.label_smoothing=0"
    if job.data.balance is Balance.weights:
        yield "data.balance=weights", what, "data.balance=none"


@DISTILLATION.check("distillation-labels-mode", "a teacher's probabilities are shares of one class")
def _labels_mode(job: JobConfig) -> Iterator[Found]:
    mode = job.data.labels_mode
    if job.distillation.teacher is not None and mode not in ONE_CLASS:
        what = "does not go with a teacher, whose probabilities are those of one class a text"
        yield f"data.labels_mode={mode.name}", what, "distillation.teacher=null"


@DISTILLATION.check("distillation-text-pair", "a teacher reads the texts of its own training")
def _text_pair(job: JobConfig) -> Iterator[Found]:
    column = job.data.columns.text_pair
    if job.distillation.teacher is not None and column is not None:
        what = "does not go with a teacher, which is asked about single texts"
        yield f"data.columns.text_pair={column}", what, "distillation.teacher=null"


@DISTILLATION.check("distillation-texts", "texts without labels are of no class that is counted")
def _texts(job: JobConfig) -> Iterator[Found]:
    if job.distillation.texts is None:
        return
    if job.data.balance is not Balance.none:
        what = "counts rows by class, and distillation.texts have none"
        yield f"data.balance={job.data.balance.value}", what, "data.balance=none"
    if job.data.max_rows is not None:
        what = "chooses rows by class, and distillation.texts have none"
        yield f"data.max_rows={job.data.max_rows}", what, "data.max_rows=null"
