"""The user's own metrics: computed on predictions, and put beside the other scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lingotune.config.problems import ConfigError, Problem
from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.plugins.loading import OwnFunction
from lingotune.plugins.marks import LabelledPredictions
from lingotune.runs.results import LanguageScores, Scores

_Scored = TypeVar("_Scored", bound=LanguageScores)


def labelled(predictions: Predictions, classes: Classes) -> LabelledPredictions:
    """Make the argument of a metric; its arrays cannot be written to, and share their memory."""
    return LabelledPredictions(
        true=_read_only(predictions.true),
        predicted=_read_only(predictions.predicted),
        probabilities=_read_only(predictions.probabilities),
        languages=_read_only(predictions.languages),
        stars=_read_only(predictions.stars),
        classes=classes.names,
    )


def value_of(metric: OwnFunction, given: LabelledPredictions, rows: str) -> float:
    """Compute a metric; `rows` says of what, for messages.

    ConfigError if it raises, or returns no finite number.
    """
    with metric.errors_told(f"on {rows}"):
        returned = metric.thing(given)
    value = _number(returned)
    if value is None or not math.isfinite(value):
        what = f"{metric.name} returned {_shown(returned)} for {rows}; a finite number is needed"
        fix = f"a float from {metric.name} in {metric.shown_as}"
        raise ConfigError([Problem(metric.named.setting, what, fix)])
    return value


def values_of(
    metrics: Sequence[OwnFunction],
    predictions: Predictions,
    classes: Classes,
    rows: str,
    tell: Callable[[str], None],
    needed: str | None = None,
) -> dict[str, float]:
    """Compute the metrics; one that fails is told, and is missing in what is returned.

    needed: the metric without which nothing can go on. ConfigError if that one fails.
    """
    given, found = labelled(predictions, classes), {}
    for metric in metrics:
        try:
            found[metric.name] = value_of(metric, given, rows)
        except ConfigError as error:
            if metric.name == needed:
                raise
            tell(f"warning: {error.problems[0].what}")
    return found


def try_metrics(metrics: Sequence[OwnFunction], predictions: Predictions, classes: Classes) -> None:
    """Compute each metric once on random predictions of the same rows, before anything is trained.

    ConfigError lists all that fail: a mistake in a metric ends a run at its start, not after an epoch.
    """
    generator, shape = np.random.default_rng(0), np.ones(len(classes.names))
    drawn = generator.dirichlet(shape, size=len(predictions.true))
    given = labelled(replace(predictions, probabilities=drawn), classes)
    problems = []
    for metric in metrics:
        try:
            value_of(metric, given, "the validation rows, with random predictions")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def with_own_metrics(
    scores: _Scored,
    metrics: Sequence[OwnFunction],
    predictions: Predictions,
    classes: Classes,
    split: str,
    tell: Callable[[str], None],
) -> _Scored:
    """Add the metrics to the scores overall and of each language; what fails is told, and left out."""
    if not metrics:
        return scores

    def added(to: Scores, of: Predictions, rows: str) -> Scores:
        return replace(to, own=values_of(metrics, of, classes, rows, tell))

    languages = {
        code: added(of, predictions.select(predictions.languages == code), f"{split}, {code}")
        for code, of in scores.languages.items()
    }
    return replace(
        scores, overall=added(scores.overall, predictions, f"{split}"), languages=languages
    )


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view: npt.NDArray[Any] = array.view()
    view.flags.writeable = False
    return view


def _number(returned: object) -> float | None:
    if getattr(returned, "ndim", None) == 0 and hasattr(returned, "item"):
        returned = returned.item()  # of numpy or torch
    if isinstance(returned, bool) or not isinstance(returned, Real):
        return None
    return float(returned)


def _shown(returned: object) -> str:
    text = " ".join(repr(returned).split())
    return text if len(text) <= 60 else f"a {type(returned).__name__}"
