"""Scoring a trained model: on validation, where its decision is fitted, then once on test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lingotune.config.console import say
from lingotune.data.rows.scale import scale_of
from lingotune.evaluation.decisions import decided
from lingotune.evaluation.fit_decision import FittedDecision, fit_decision
from lingotune.evaluation.metrics import (
    Classes,
    IntArray,
    Predictions,
    classes_of,
    in_languages,
    probabilities_of,
    scores_by_language,
)
from lingotune.evaluation.own_metrics import with_own_metrics
from lingotune.evaluation.predictions import FILE, VALIDATION_FILE, write_predictions
from lingotune.runs.decision import AS_TRAINED, Decision
from lingotune.runs.results import SplitScores
from lingotune.training.context import RunContext
from lingotune.training.dataloader import Batches
from lingotune.training.distributed import computed_by_first
from lingotune.training.timing import Stopwatch
from lingotune.training.trainer import ClassifierTrainer


@dataclass(frozen=True)
class Scored:
    """Scores by split. decided: those of the model with its decision; validation's are of rows that the
    decision was not fitted on. as_trained: those of the likeliest classes."""

    decision: Decision
    decided: Mapping[str, SplitScores]
    as_trained: Mapping[str, SplitScores]


@dataclass(frozen=True)
class _Predicted:
    """Predictions of a split, in the order of its batches, with the ids of its rows."""

    name: str
    batches: Batches
    ids: list[str]
    loss: float
    predictions: Predictions


def score_splits(
    context: RunContext,
    trainer: ClassifierTrainer,
    batches: Mapping[str, Batches],
    stopwatch: Stopwatch,
) -> Scored:
    """Score validation, and test if there is one; rank 0 writes their predictions.

    The decision is fitted before anything is known of the test rows.
    """
    trainer.compute_metrics = None
    validation = _predict(context, trainer, "validation", batches["validation"], stopwatch)
    fitted = _fit(context, validation.predictions)
    as_trained = {"validation": _scores(context, validation, validation.predictions)}
    by_decision = {"validation": _with_own(context, validation, fitted.validation)}
    held_out = fitted.validation.predicted
    _write(context, validation, validation.predictions, VALIDATION_FILE, held_out)
    if len(batches["test"]):
        test = _predict(context, trainer, "test", batches["test"], stopwatch)
        found = decided(test.predictions, fitted.decision, context.label_names)
        as_trained["test"] = _scores(context, test, test.predictions)
        by_decision["test"] = _with_own(context, test, found)
        _write(context, test, found, FILE)
    return Scored(fitted.decision, by_decision, as_trained)


def _fit(context: RunContext, validation: Predictions) -> FittedDecision:
    """Fit the decision on rows in languages that were trained on: the others' scores are zero-shot."""
    job, seen = context.job, in_languages(validation, context.trained_languages)
    return computed_by_first(
        context.rank,
        lambda: fit_decision(
            validation,
            context.label_names,
            job.evaluation,
            job.seed,
            seen,
            scale=scale_of(job.data),
        ),
    )


def _classes(context: RunContext) -> Classes:
    return classes_of(context.job.data, context.label_names)


def _scores(context: RunContext, of: _Predicted, predictions: Predictions) -> SplitScores:
    resamples, seed = context.job.evaluation.resamples, context.job.seed
    trained = context.trained_languages
    scored = scores_by_language(predictions, _classes(context), resamples, seed, trained)
    return SplitScores(loss=of.loss, **vars(scored))


def _with_own(context: RunContext, of: _Predicted, predictions: Predictions) -> SplitScores:
    """Score predictions, by the user's own metrics too."""
    scored, own = _scores(context, of, predictions), context.own.metrics
    if not own:
        return scored
    classes = _classes(context)
    return computed_by_first(
        context.rank, lambda: with_own_metrics(scored, own, predictions, classes, of.name, say)
    )


def _write(
    context: RunContext,
    of: _Predicted,
    predictions: Predictions,
    file: str,
    decided: IntArray | None = None,
) -> None:
    """Write predictions on rank 0, back in the order of the prepared rows."""
    if not context.rank.first:
        return
    places = np.argsort(of.batches.split.place)
    in_order = [of.ids[place] for place in places.tolist()]
    path, classes = context.folders.run / file, _classes(context)
    named = None if decided is None else decided[places]
    write_predictions(predictions.select(places), in_order, classes, path, named)


def _predict(
    context: RunContext,
    trainer: ClassifierTrainer,
    name: str,
    batches: Batches,
    stopwatch: Stopwatch,
) -> _Predicted:
    """Predict a split as the model was trained, in the order of its batches."""
    ids, stars = context.store.ids_and_stars(name, batches.split)
    with stopwatch.evaluating(len(batches)):
        output = trainer.predict(batches)
    split = batches.split
    # A prediction belongs to a language by its row, so prove the order by the labels.
    assert np.array_equal(output.label_ids, split.taught), "predictions came back in another order"
    codes = split.codes_array
    shares = probabilities_of(output.predictions, several=split.several)
    sources = context.store.sources(name, split)
    predictions = Predictions(split.true, shares, codes, stars, sources=sources)
    loss = float((output.metrics or {})["test_loss"])
    return _Predicted(name, batches, ids, loss, predictions)


def differing(scored: Scored) -> dict[str, SplitScores] | None:
    """Return the scores as trained; None where the decision is the likeliest class."""
    return None if scored.decision == AS_TRAINED else dict(scored.as_trained)
