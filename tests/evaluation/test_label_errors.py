"""Likely label errors with cleanlab, which other tests do without."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from lingotune.evaluation.label_errors import find_label_errors, is_installed, version
from lingotune.evaluation.metrics import Predictions


@pytest.fixture(scope="module", autouse=True)
def sklearn() -> Iterator[None]:
    """Scikit-learn, which tests/conftest.py hides and cleanlab needs."""
    hidden = "sklearn" in sys.modules and sys.modules["sklearn"] is None
    if hidden:
        del sys.modules["sklearn"]
    if not is_installed():
        pytest.skip("cleanlab is not installed")
    yield
    if hidden:
        sys.modules["sklearn"] = None  # type: ignore[assignment]


def predictions_of(classes: int, rows: int, flipped: int) -> tuple[Predictions, set[int]]:
    """Predictions of a good model; the labels of some rows, which are returned, name another class."""
    random = np.random.default_rng(4)
    true = random.integers(classes, size=rows)
    shares = random.dirichlet(np.ones(classes), rows) * 0.4
    shares[np.arange(rows), true] += 0.6
    wrong = random.choice(rows, flipped, replace=False)
    true[wrong] = (true[wrong] + random.integers(1, classes, size=flipped)) % classes
    codes = np.full(rows, "de", object)
    return Predictions(true, shares, codes, np.full(rows, np.nan)), set(wrong.tolist())


@pytest.mark.parametrize("classes", [2, 3, 20])
def test_labels_that_were_changed_are_found_and_few_others(classes: int) -> None:
    predictions, wrong = predictions_of(classes, 600, 30)
    found = find_label_errors(predictions)
    places = [one.place for one in found]
    assert len(wrong & set(places)) >= 15
    assert len(set(places) - wrong) <= 2
    ranked = [one.probability for one in found]
    assert ranked == sorted(ranked)  # the most suspicious first
    for one in found:
        assert one.likely == predictions.probabilities[one.place].argmax()
        assert one.likely != predictions.true[one.place]
        assert one.likely_probability > one.probability


def test_nothing_is_found_where_labels_are_right() -> None:
    assert find_label_errors(predictions_of(3, 300, 0)[0]) == []


def test_classes_without_rows_and_rows_of_one_class() -> None:
    predictions, _ = predictions_of(5, 200, 0)
    some = predictions.select(np.isin(predictions.true, [1, 3]))
    assert find_label_errors(some) == []
    assert find_label_errors(predictions.select(predictions.true == 1)) == []
    assert version()[0].isdigit()
