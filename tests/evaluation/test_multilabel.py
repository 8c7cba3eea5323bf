"""Scores and thresholds where a text may have several classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from lingotune.config.schema import Decide, EvaluationConfig
from lingotune.evaluation.decision_text import decision_line, decision_rows
from lingotune.evaluation.decisions import decided
from lingotune.evaluation.fit_decision import fit_decision
from lingotune.evaluation.metrics import (
    Classes,
    Predictions,
    paired_loss,
    probabilities_of,
    scores,
    scores_by_language,
)
from lingotune.evaluation.multilabel import calibration_gap, macro_f1_of_sets
from lingotune.evaluation.predictions import class_ids, write_predictions
from lingotune.evaluation.score_rows import score_rows, score_warnings
from lingotune.evaluation.thresholds import threshold_offsets
from lingotune.runs.decision import AS_TRAINED

NAMES = ("price", "quality", "service")
CLASSES = Classes(NAMES)


def predictions(true: Any, probabilities: Any, languages: Any = None) -> Predictions:
    true = np.asarray(true, bool)
    codes = np.array(["de"] * len(true) if languages is None else languages, object)
    return Predictions(true, np.asarray(probabilities, float), codes, np.full(len(true), np.nan))


def drawn(rows: int = 1200, seed: int = 0) -> Predictions:
    """Rows of two languages and three classes, of which the last is rare and the first hardly given."""
    draw = np.random.default_rng(seed)
    true = draw.random((rows, 3)) < [0.3, 0.5, 0.1]
    logits = 3 * true + draw.normal(size=true.shape) + [-4.0, -1.5, -3.5]
    return predictions(true, probabilities_of(2 * logits, several=True), ["de", "ja"] * (rows // 2))


def f1(true: Any, said: Any) -> float:
    hits = (true & said).sum()
    return float(2 * hits / (true.sum() + said.sum())) if true.sum() + said.sum() else 0.0


def test_scores_by_hand() -> None:
    true = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]]
    said = [[0.9, 0.1, 0.2], [0.6, 0.4, 0.1], [0.2, 0.3, 0.1], [0.7, 0.8, 0.1]]
    found = scores(predictions(true, said), CLASSES)
    assert (found.rows, found.accuracy, found.majority) == (4, 0.5, 0.25)
    price, quality, service = (found.classes[name] for name in NAMES)
    assert (price.precision, price.recall, price.rows, price.predicted) == (2 / 3, 1, 2, 3)
    assert (quality.f1, quality.predicted) == (pytest.approx(2 / 3), 1)
    assert (service.f1, service.rows, found.absent) == (0, 0, ("service",))
    assert found.micro_f1 == pytest.approx(2 * 3 / (4 + 4))
    assert found.macro_f1 == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert found.confusion == () and found.several and found.intervals is None


@given(arrays(bool, (12, 3)), arrays(bool, (12, 3)))
def test_scores_are_those_of_each_class_by_itself(true: Any, said: Any) -> None:
    found = scores(predictions(true, said), CLASSES)
    assert found.macro_f1 == pytest.approx(np.mean([f1(true[:, n], said[:, n]) for n in range(3)]))
    assert found.micro_f1 == pytest.approx(f1(true.ravel(), said.ravel()))
    assert found.accuracy == pytest.approx(np.mean([(a == b).all() for a, b in zip(true, said)]))


def test_intervals_are_those_of_rows_drawn_anew() -> None:
    given = drawn(300)
    between = scores(given, CLASSES, resamples=2000).intervals
    assert between is not None and between.micro_f1 is not None
    draw, found = np.random.default_rng(1), []
    for _ in range(600):
        rows = draw.integers(0, 300, 300)
        of = scores(given.select(rows), CLASSES)
        found.append((of.accuracy, of.micro_f1, of.macro_f1))
    low, high = np.quantile(np.array(found), [0.025, 0.975], axis=0)
    for place, own in enumerate((between.accuracy, between.micro_f1, between.macro_f1)):
        assert own == pytest.approx((low[place], high[place]), abs=0.02)
    assert scores(given.select(np.arange(49)), CLASSES, resamples=20).intervals is None


def test_classes_that_a_draw_leaves_out_do_not_lower_the_interval() -> None:
    true = np.repeat(np.eye(60, dtype=bool), 2, axis=0)
    perfect, classes = predictions(true, true), Classes(tuple(map(str, range(60))))
    between = scores(perfect, classes, resamples=100).intervals
    assert between and between.macro_f1 == (1, 1)
    worse = predictions(true, true * (np.arange(60) < 20))
    loss, (low, high) = paired_loss(perfect, worse, 60, resamples=100)
    assert (loss, low, high) == pytest.approx((2 / 3,) * 3)


def test_a_class_that_a_draw_leaves_out_does_not_raise_the_interval() -> None:
    """A rare class that is given to every row would be as good as the others where it is left out."""
    true = np.zeros((100, 3), bool)
    true[:50, 0], true[50:, 1], true[::50, 2] = True, True, True
    said = true | [False, False, True]
    found = scores(predictions(true, said), CLASSES, resamples=500)
    assert found.intervals and found.macro_f1 == pytest.approx((2 + 4 / 102) / 3)
    assert found.intervals.macro_f1 == pytest.approx((found.macro_f1, found.macro_f1), abs=0.03)


def test_the_calibration_gap_is_a_gap_between_probability_and_share() -> None:
    true = np.array([[1, 0]] * 3 + [[0, 0]], bool)
    assert calibration_gap(true, np.array([[0.75, 0.0]] * 4)) == pytest.approx(0)
    assert calibration_gap(true, np.array([[0.95, 0.0]] * 4)) == pytest.approx(0.1)


def test_probabilities_are_sigmoids_that_no_logit_breaks() -> None:
    logits = [[0.0, 800.0, -800.0], [np.nan, np.inf, -np.inf]]
    found = probabilities_of(logits, several=True)
    assert found.tolist() == [[0.5, 1.0, 0.0], [0.5, 1.0, 0.0]]
    ordinary = np.linspace(-9, 9, 50)[:, None]
    assert probabilities_of(ordinary, several=True) == pytest.approx(1 / (1 + np.exp(-ordinary)))


@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_is_the_best_for_the_f1_of_its_class(seed: int) -> None:
    draw = np.random.default_rng(seed)
    true = draw.random((30, 3)) < [0.2, 0.5, 0.7]
    odds = 2 * true + draw.normal(size=true.shape)
    offsets = threshold_offsets(odds, true, np.zeros(3))
    for one in range(3):
        tried = [*np.sort(odds[:, one])[:-1] + 1e-9, odds[:, one].min() - 1]
        best = max(f1(true[:, one], odds[:, one] > limit) for limit in tried)
        assert f1(true[:, one], odds[:, one] + offsets[one] > 0) == pytest.approx(best)


def test_what_is_fitted_on_validation_helps_on_other_rows() -> None:
    fitted = fit_decision(drawn(), NAMES, EvaluationConfig(), seed=1)
    decision, test = fitted.decision, drawn(seed=5)
    after = decided(test, decision, NAMES)
    assert decision.several and decision.decide == "macro_f1" and decision.offsets["price"] > 0.5
    assert decision.temperature == pytest.approx(2, rel=0.25)
    before = macro_f1_of_sets(test.true, test.predicted)
    assert macro_f1_of_sets(test.true, after.predicted) > before + 0.05
    # on validation each row is decided by thresholds that it was no part of
    own = macro_f1_of_sets(fitted.validation.true, fitted.validation.predicted)
    assert own <= macro_f1_of_sets(drawn().true, decided(drawn(), decision, NAMES).predicted) + 0.01
    line = decision_line(decision)
    assert line.startswith("classes given for macro-F1 from a probability of their own (price 0.")
    rows = decision_rows(scores_by_language(after, CLASSES), scores_by_language(test, CLASSES))
    assert rows[0][1:4] == ["accuracy", "micro-F1", "macro-F1"] and len(rows[1]) == len(rows[0])


def test_argmax_is_a_threshold_of_a_half_and_prior_the_share_of_a_class() -> None:
    plain = EvaluationConfig(decide=Decide.argmax, calibrate=False)
    assert fit_decision(drawn(), NAMES, plain, 1).decision == AS_TRAINED
    given = drawn()
    prior = fit_decision(given, NAMES, EvaluationConfig(decide=Decide.prior, calibrate=False), 1)
    after = decided(replaced(given), prior.decision, NAMES)
    shares = given.true.mean(axis=0)
    assert (after.predicted == (after.probabilities > shares)).mean() > 0.999


def replaced(given: Predictions) -> Predictions:
    """The rows as of a language whose thresholds are those of all."""
    return Predictions(
        given.true, given.probabilities, np.array(["xx"] * len(given.true), object), given.stars
    )


def test_a_language_gets_thresholds_of_its_own_where_they_help() -> None:
    one, other = drawn(2000, 1), drawn(2000, 2)
    shifted = np.log(other.probabilities / (1 - other.probabilities)) + 8
    both = predictions(
        np.concatenate([one.true, other.true]),
        np.concatenate([one.probabilities, 1 / (1 + np.exp(-shifted))]),
        ["de"] * 2000 + ["ja"] * 2000,
    )
    found = fit_decision(both, NAMES, EvaluationConfig(calibrate=False), 3).decision
    assert {*found.languages} & {"de", "ja"}
    held = drawn(2000, 7)
    moved = np.log(held.probabilities / (1 - held.probabilities)) + 8
    test = predictions(held.true, 1 / (1 + np.exp(-moved)), ["ja"] * 2000)
    assert macro_f1_of_sets(test.true, decided(test, found, NAMES).predicted) > 0.6


def test_a_paired_loss_and_its_interval() -> None:
    given = drawn(400)
    worse = Predictions(
        given.true, given.probabilities, given.languages, given.stars, np.zeros_like(given.true)
    )
    loss, (low, high) = paired_loss(given, worse, 3, resamples=300)
    assert loss == pytest.approx(macro_f1_of_sets(given.true, given.predicted))
    assert low < loss < high
    assert paired_loss(given, given, 3, resamples=50) == (0.0, (0.0, 0.0))


def test_predictions_are_kept_as_lists(tmp_path: Any) -> None:
    from pyarrow import parquet

    given = predictions([[1, 0, 1], [0, 0, 0]], [[0.9, 0.2, 0.4], [0.1, 0.2, 0.3]])
    write_predictions(given, ["a", "b"], CLASSES, tmp_path / "p.parquet")
    table = parquet.read_table(tmp_path / "p.parquet").to_pydict()
    assert table["label"] == [["price", "service"], []] and table["predicted"] == [["price"], []]
    assert class_ids(table["label"], NAMES).tolist() == given.true.tolist()
    assert class_ids(["service", "price"], NAMES).tolist() == [2, 0]


def test_a_class_that_is_never_given_is_told() -> None:
    true = np.array([[1, 0, 1]] * 30 + [[0, 1, 0]] * 30, bool)
    said = np.where(true, 0.9, 0.1) * [1, 1, 0.5]
    found = scores_by_language(predictions(true, said), CLASSES)
    assert score_warnings(found) == ["the model never names service (30 rows)"]
    (all_, *_) = score_rows(found)
    assert all_.micro_f1.startswith(f"{found.overall.micro_f1:.3f}")
