"""The baseline of a run, trained on its rows."""

from __future__ import annotations

import numpy as np

from lingotune.config.schema import Baseline
from lingotune.data.rows.pairs import parts_of
from lingotune.evaluation.baseline import (
    LabelledTexts,
    is_installed,
    reason_against,
    train_baseline,
)
from lingotune.evaluation.metrics import classes_of
from lingotune.runs.results import BaselineScores
from lingotune.training.context import RunContext


def baseline_of(context: RunContext) -> BaselineScores | None:
    """Train the baseline that the job asks for, and score it where the model is: on test, or on validation
    without one. None if there is to be none; a failure only prints a warning."""
    wanted, labels = context.job.baseline, context.job.data.labels
    if wanted is Baseline.none or not is_installed():
        return None
    try:
        train = _texts(context, "train")
        if against := reason_against(wanted, sum(map(len, train.texts)), len(labels)):
            print(against)
            return None
        classes = classes_of(context.job.data)
        return train_baseline(train, _texts(context, _scored_split(context)), classes)
    except Exception as error:  # the model is trained; nothing may keep it from being saved
        print(f"warning: no baseline: {type(error).__name__}: {error}")
        return None


def _scored_split(context: RunContext) -> str:
    return "test" if len(context.splits["test"]) else "validation"


def _texts(context: RunContext, name: str) -> LabelledTexts:
    split = context.splits[name]
    if split.labelled is not None:
        split = split.select(np.flatnonzero(split.labelled))
    stars = context.store.ids_and_stars(name, split)[1]
    codes = split.codes_array
    texts = ["\n".join(parts_of(text)) for text in context.store.texts(name, split)]
    return LabelledTexts(texts, split.true, codes, stars)
