"""The user's metrics: what they get, what they may return, and what their mistakes cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lingotune.config.problems import ConfigError
from lingotune.evaluation.metrics import Classes, Predictions, scores_by_language
from lingotune.evaluation.own_metrics import (
    labelled,
    try_metrics,
    value_of,
    values_of,
    with_own_metrics,
)
from lingotune.plugins.check import Named
from lingotune.plugins.loading import OwnFunction
from lingotune.plugins.marks import Kind, Mark

CLASSES = Classes(("bad", "good"))


def own(call: Callable[[Any], Any], name: str = "cost") -> OwnFunction:
    named = Named(Kind.metric, name, f"code.metrics=[{name}]")
    return OwnFunction(named, call, Mark(Kind.metric), Path(__file__), "my_code.py")


def predictions() -> Predictions:
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    languages = np.array(["de", "de", "fr", "fr"], object)
    return Predictions(np.array([0, 1, 1, 1]), shares, languages, np.array([1.0, 5.0, 5.0, 4.0]))


def test_a_metric_sees_the_predictions_and_cannot_change_them() -> None:
    given = labelled(predictions(), CLASSES)
    assert given.predicted.tolist() == [0, 1, 0, 1] and given.classes == ("bad", "good")
    assert given.stars.tolist() == [1.0, 5.0, 5.0, 4.0]
    for array in (given.true, given.probabilities, given.languages, given.stars):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    "returned",
    [1, 1.0, np.float32(1), np.int64(1), np.array(1.0), torch.tensor(1.0)],
)
def test_numbers_of_every_library_do(returned: object) -> None:
    value = value_of(own(lambda _: returned), labelled(predictions(), CLASSES), "test")
    assert type(value) is float and value == 1.0


@pytest.mark.parametrize(
    "returned",
    [None, "1", float("nan"), float("inf"), True, np.array([1.0]), torch.tensor([1.0]), 1j, {}],
)
def test_anything_else_is_told(returned: object) -> None:
    with pytest.raises(ConfigError) as caught:
        value_of(own(lambda _: returned), labelled(predictions(), CLASSES), "test")
    (problem,) = caught.value.problems
    assert problem.where == "code.metrics=[cost]"
    assert problem.what.startswith("cost returned ") and "a finite number is needed" in problem.what


def test_scores_get_them_overall_and_by_language_and_failures_cost_only_themselves() -> None:
    def only_french(given: Any) -> float:
        if set(given.languages) == {"de"}:
            raise ValueError("no French")
        return float(len(given.true))

    told: list[str] = []
    found = predictions()
    scored = with_own_metrics(
        scores_by_language(found, CLASSES),
        [own(only_french, "french"), own(lambda given: given.true.mean(), "share")],
        found, CLASSES, "test", told.append,
    )  # fmt: skip
    assert scored.overall.own == {"french": 4.0, "share": 0.75}
    assert scored.languages["de"].own == {"share": 0.5}
    assert scored.languages["fr"].own == {"french": 2.0, "share": 1.0}
    (line,) = told
    assert line.startswith("warning: french raised ValueError: no French on test, de (my_code.py:")
    assert scored.headline()["share"] == 0.75


def test_only_the_metric_that_chooses_must_not_fail() -> None:
    told: list[str] = []
    metrics = [own(lambda _: None), own(lambda _: 1.0, "other")]
    given = (predictions(), CLASSES, "validation", told.append)
    assert values_of(metrics, *given) == {"other": 1.0} and len(told) == 1
    with pytest.raises(ConfigError, match="cost returned None"):
        values_of(metrics, *given, needed="cost")


def test_mistakes_are_found_before_training_on_predictions_of_every_class() -> None:
    def strict(given: Any) -> float:
        assert (
            set(given.predicted) <= {0, 1} and given.probabilities.sum(axis=1).round(9).all() == 1
        )
        return 1.0

    try_metrics([own(strict)], predictions(), CLASSES)
    with pytest.raises(ConfigError) as caught:
        try_metrics([own(lambda _: None), own(lambda _: 1 / 0, "two")], predictions(), CLASSES)
    assert [problem.key for problem in caught.value.problems] == ["code.metrics"] * 2
