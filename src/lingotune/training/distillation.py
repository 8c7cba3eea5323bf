"""Learning from a teacher: its part of the loss, and its scores beside those of the student."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lingotune.config.jobfile import job_digest
from lingotune.config.problems import ConfigError
from lingotune.config.schema import DistillationConfig
from lingotune.data.loader.store import UNLABELLED
from lingotune.evaluation.metrics import Predictions, classes_of, scores_by_language
from lingotune.runs.folder import METRICS, read_results
from lingotune.runs.results import RunResults, TeacherScores
from lingotune.training.context import RunContext

if TYPE_CHECKING:
    import torch


def mixed_loss(
    labels_loss: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    teacher: torch.Tensor,
    distillation: DistillationConfig,
) -> torch.Tensor:
    """Mix the loss against the labels with that against a teacher, as Hinton et al. 2015: (rows,).

    labels_loss: (rows,). logits: fp32, (rows, classes). labels: (rows,), `UNLABELLED` for rows that learn
    from the teacher alone. teacher: its probabilities, (rows, classes). Against the teacher: the
    Kullback-Leibler divergence at the temperature, times its square, which keeps the gradient's size.
    """
    from torch.nn.functional import kl_div, log_softmax

    heat = distillation.temperature
    smallest = float(np.finfo(np.float32).tiny)
    target = log_softmax(teacher.float().clamp_min(smallest).log() / heat, dim=-1)
    student = log_softmax(logits / heat, dim=-1)
    divergence = kl_div(student, target, reduction="none", log_target=True).sum(-1) * heat**2
    share = distillation.alpha * (labels != UNLABELLED)
    return share * labels_loss + (1 - share) * divergence


def teacher_scores(context: RunContext) -> TeacherScores | None:
    """Score the teacher where the model is scored: on test, or on validation without one. None without a
    teacher."""
    found = context.store.manifest.teacher
    if found is None:
        return None
    run, alone = _alone(context) or (None, None)
    return TeacherScores(
        name=found.name,
        sha256=found.identity.sha256,
        parameters=found.parameters,
        unlabelled=found.unlabelled,
        scores=scores_by_language(
            _predictions(context),
            classes_of(context.job.data, context.label_names),
            context.job.evaluation.resamples,
            context.job.seed,
        ),
        alone=alone.scored[1] if alone else None,
        alone_run=run.name if run else None,
    )


def _predictions(context: RunContext) -> Predictions:
    name = "test" if len(context.splits["test"]) else "validation"
    split = context.splits[name]
    decided, shares = context.store.teacher(name, split)
    stars = context.store.ids_and_stars(name, split)[1]
    codes = split.codes_array
    return Predictions(split.label, shares.astype(np.float64), codes, stars, decided)


def _alone(context: RunContext) -> tuple[Path, RunResults] | None:
    """Find the finished run of the same job without a teacher beside this run's folder."""
    digest = job_digest(replace(context.job, distillation=DistillationConfig()))
    for path in sorted(context.folders.run.resolve().parent.glob(f"*/{METRICS}")):
        with suppress(OSError, ValueError, ConfigError):
            if digest in path.read_text(encoding="utf-8"):  # others need not be understood
                results = read_results(path.parent)
                if results.job_sha256 == digest:
                    return path.parent, results
    return None
