"""Probabilities of rows by models that were trained on the other rows: TF-IDF with logistic regression.

A model knows the labels of the rows that it was trained on, and is sure of wrong ones too; so is whatever
is fitted on its vectors. This one is trained anew for each part of the rows, in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lingotune.evaluation.baseline import character_ngrams, class_probabilities, is_installed
from lingotune.evaluation.metrics import FloatArray, IntArray

FOLDS = 3
"""Parts of the rows. Of five, or ten, more rows are trained on, which finds no more and takes longer."""
MOST_CHARACTERS = 1_500_000
"""Characters of texts up to which it takes at most about half a minute of one core with three classes."""
_USUAL_CLASSES = 3
_INVERSE_PENALTY = 1.0
"""Stronger than the baseline's penalty: wrong labels are fitted less."""


def reason_against(texts: Sequence[str], classes: int) -> str | None:
    """Say why these texts are not scored out of fold; None if they can be."""
    if not is_installed():
        return "scikit-learn is not installed"
    if sum(map(len, texts)) * max(classes, _USUAL_CLASSES) / _USUAL_CLASSES > MOST_CHARACTERS:
        return "they are too many to train on parts of them in half a minute"
    return None


def out_of_fold(texts: Sequence[str], true: IntArray, classes: int) -> FloatArray:
    """Compute the probabilities of each text's classes, trained on the other parts: (texts, classes).

    true: class ids, (texts,). The n-grams are those of all texts, which tells nothing of their labels.
    """
    from sklearn.model_selection import KFold

    known = character_ngrams(len(texts)).fit_transform(texts)
    found = np.zeros((len(texts), classes))
    for others, own in KFold(FOLDS, shuffle=True, random_state=0).split(known):
        found[own] = class_probabilities(
            known[others], true[others], known[own], classes, inverse_penalty=_INVERSE_PENALTY
        )
    return found
