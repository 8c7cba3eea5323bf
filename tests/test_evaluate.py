"""Scores against hand-worked figures and against scikit-learn's definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingotune.evaluate import confusion_matrix, scores, scores_by_language

LABELS = ["negative", "neutral", "positive"]


def test_hand_worked() -> None:
    true = np.array([0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 1, 1, 2, 2])
    result = scores(confusion_matrix(true, predicted, 3), LABELS)
    assert result["confusion"] == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert result["accuracy"] == pytest.approx(4 / 6)
    assert result["classes"]["negative"] == {
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
        "rows": 3,
    }
    assert result["macro_f1"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert result["majority"] == 0.5


def test_an_absent_class_does_not_raise_the_score() -> None:
    true = np.array([0, 0, 2, 2])
    result = scores(confusion_matrix(true, true, 3), LABELS)
    assert result["accuracy"] == 1.0
    assert result["macro_f1"] == pytest.approx(2 / 3)
    assert result["absent"] == ["neutral"]


def test_languages_partition_the_rows() -> None:
    true, predicted = np.array([0, 1, 2, 0]), np.array([0, 1, 1, 1])
    result = scores_by_language(true, predicted, ["de", "fr", "de", "fr"], LABELS)
    assert {code: s["rows"] for code, s in result["languages"].items()} == {"de": 2, "fr": 2}
    assert result["languages"]["de"]["confusion"] == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_scores_are_shares_and_follow_the_definitions(pairs: list[tuple[int, int]]) -> None:
    true, predicted = (np.array(side) for side in zip(*pairs))
    result = scores(confusion_matrix(true, predicted, 3), LABELS)
    assert result["accuracy"] == pytest.approx(float((true == predicted).mean()))
    f1 = []
    for index in range(3):
        hits = ((true == index) & (predicted == index)).sum()
        total = (true == index).sum() + (predicted == index).sum()
        f1.append(2 * hits / total if total else 0.0)
    assert result["macro_f1"] == pytest.approx(float(np.mean(f1)))
