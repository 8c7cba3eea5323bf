"""A baseline on the same rows: TF-IDF of character n-grams with logistic regression (scikit-learn)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from lingotune.config.problems import Problem
from lingotune.config.schema import Baseline
from lingotune.evaluation.metrics import Classes, IntArray, Predictions, scores_by_language
from lingotune.runs.results import BaselineScores, LanguageScores

MOST_CHARACTERS = 10_000_000
"""Characters of training texts that baseline=auto takes: about a minute of one core with three classes."""
_USUAL_CLASSES = 3
_NGRAMS = (1, 4)
"""Lengths of n-grams within words: single characters are the words of Chinese and Japanese."""
_INVERSE_PENALTY = 5.0
_ITERATIONS = 200


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with their class ids (int64), language codes and stars (NaN for none).

    true: where a text may have several classes, whether it has each, bool, (texts, classes).
    """

    texts: list[str]
    true: npt.NDArray[Any]
    languages: npt.NDArray[np.object_]
    stars: npt.NDArray[np.float64]


def is_installed() -> bool:
    """Tell whether scikit-learn can be imported."""
    return find_spec("sklearn") is not None


def missing_library(wanted: Baseline) -> list[Problem]:
    """Report that scikit-learn is missing if a baseline was asked for."""
    if wanted is not Baseline.tfidf or is_installed():
        return []
    fix = "baseline=none, or pip install scikit-learn"
    return [Problem("baseline=tfidf", "scikit-learn is not installed here", fix)]


def reason_against(wanted: Baseline, characters: int, classes: int) -> str | None:
    """Say why no baseline is trained on texts of so many characters; None if one is."""
    size = characters * max(classes, _USUAL_CLASSES) / _USUAL_CLASSES
    if wanted is Baseline.auto and size > MOST_CHARACTERS:
        minutes = size / MOST_CHARACTERS
        return f"no baseline: it would take about {minutes:.0f} minutes; baseline=tfidf trains it"
    return None


def train_baseline(train: LabelledTexts, scored: LabelledTexts, classes: Classes) -> BaselineScores:
    """Train on the rows of the model, and score the rows that it is scored on."""
    started = time.monotonic()
    features = character_ngrams(len(train.texts))
    known, unseen = features.fit_transform(train.texts), features.transform(scored.texts)
    plain, balanced = (
        _scored(known, train.true, unseen, scored, classes, weights)
        for weights in (None, "balanced")
    )
    seconds = round(time.monotonic() - started, 1)
    return BaselineScores(name="tfidf", seconds=seconds, plain=plain, balanced=balanced)


def character_ngrams(texts: int) -> Any:
    """Make the vectorizer of so many texts: TF-IDF of character n-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=_NGRAMS,
        sublinear_tf=True,
        min_df=1 if texts < 100 else 2,
        dtype=np.float32,
    )


def _scored(
    known: Any,
    true: npt.NDArray[Any],
    unseen: Any,
    scored: LabelledTexts,
    classes: Classes,
    weights: str | None,
) -> LanguageScores:
    if true.ndim == 2:
        found = _of_each_class(known, true, unseen, weights)
        given = Predictions(scored.true, found, scored.languages, scored.stars)
        return scores_by_language(given, classes)
    shares = class_probabilities(known, true, unseen, len(classes.names), weights)
    return scores_by_language(
        Predictions(scored.true, shares, scored.languages, scored.stars), classes
    )


def class_probabilities(
    known: Any,
    true: IntArray,
    unseen: Any,
    classes: int,
    weights: str | None = None,
    inverse_penalty: float = _INVERSE_PENALTY,
) -> npt.NDArray[np.float64]:
    """Train a logistic regression on known features and their class ids: (unseen rows, classes).

    A class that no known row has gets 0.
    """
    shares = np.zeros((unseen.shape[0], classes))
    shares[:, np.unique(true)] = _probabilities(known, true, unseen, weights, inverse_penalty)
    return shares


def _of_each_class(
    known: Any, true: npt.NDArray[Any], unseen: Any, weights: str | None
) -> npt.NDArray[np.float64]:
    """Train a classifier for each class, against all texts without it: (texts, classes)."""
    found = np.zeros((unseen.shape[0], true.shape[1]))
    for one in range(true.shape[1]):
        has = true[:, one].astype(np.int64)
        found[:, one] = _probabilities(known, has, unseen, weights)[:, -1] if has.any() else 0
    return found


def _probabilities(
    known: Any,
    true: IntArray,
    unseen: Any,
    weights: str | None,
    inverse_penalty: float = _INVERSE_PENALTY,
) -> npt.NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(true)) == 1:
        return np.ones((unseen.shape[0], 1))
    model = LogisticRegression(
        C=inverse_penalty, class_weight=weights, max_iter=_ITERATIONS, tol=1e-3
    )
    found: npt.NDArray[np.float64] = model.fit(known, true).predict_proba(unseen)
    return found
