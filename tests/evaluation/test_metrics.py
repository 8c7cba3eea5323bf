"""Scores compared with figures worked out by hand, and with their definitions row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from lingotune.config.schema import LabelConfig
from lingotune.config.typed_json import to_json
from lingotune.data.rows.labels import class_stars
from lingotune.evaluation.metrics import (
    BINS,
    Classes,
    Predictions,
    paired_loss,
    probabilities_of,
    scores,
    scores_by_language,
)
from lingotune.evaluation.predictions import write_predictions
from lingotune.evaluation.score_rows import score_rows, score_warnings
from lingotune.report.tables import score_table
from lingotune.runs.results import WorstLanguage

CLASSES = Classes(("negative", "neutral", "positive"), (1.5, 3.0, 4.5))


def said(
    true: Any, predicted: Any, languages: Any = None, stars: Any = None, confidence: float = 0.9
) -> Predictions:
    """Predictions of classes, each with the same confidence."""
    shares = np.full((len(true), 3), (1 - confidence) / 2)
    shares[np.arange(len(true)), np.asarray(predicted, np.int64)] = confidence
    codes = np.array(["de"] * len(true) if languages is None else languages, object)
    rated = np.full(len(true), np.nan) if stars is None else np.asarray(stars, np.float64)
    return Predictions(np.asarray(true, np.int64), shares, codes, rated)


def test_hand_worked() -> None:
    true, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    result = scores(said(true, predicted, stars=[1, 2, 1, 3, 3, float("nan")]), CLASSES)
    assert result.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert result.accuracy == pytest.approx(4 / 6)
    assert to_json(result.classes["negative"]) == {
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
        "rows": 3,
    }
    assert result.macro_f1 == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert result.majority == 0.5
    assert result.calibration_error == pytest.approx(0.9 - 4 / 6)
    assert result.mean_absolute_error == pytest.approx((0.5 + 0.5 + 2 + 0 + 1.5) / 5)
    assert result.intervals is None and "intervals" not in to_json(result)


def test_an_absent_class_does_not_raise_the_score() -> None:
    result = scores(said([0, 0, 2, 2] * 13, [0, 0, 2, 2] * 13), CLASSES, resamples=50)
    assert result.accuracy == 1.0
    assert result.macro_f1 == pytest.approx(2 / 3)
    assert result.absent == ("neutral",)
    assert result.intervals and max(result.intervals.macro_f1) == pytest.approx(2 / 3)


def test_languages_partition_the_rows() -> None:
    found = said([0, 1, 2, 0], [0, 1, 1, 1], ["de", "fr", "de", "fr"])
    result = scores_by_language(found, CLASSES)
    assert {code: s.rows for code, s in result.languages.items()} == {"de": 2, "fr": 2}
    assert result.languages["de"].confusion == ((1, 0, 0), (0, 0, 0), (0, 1, 0))
    lowest = min(s.macro_f1 for s in result.languages.values())
    assert result.worst_language == WorstLanguage(code="fr", macro_f1=lowest)
    assert "fr" in next(line for line in score_table(result).splitlines() if "lowest" in line)


def test_languages_that_were_not_trained_on_have_rows_of_their_own_in_the_table() -> None:
    found = said([0, 1, 2, 0], [0, 1, 1, 1], ["de", "fr", "it", "fr"])
    result = scores_by_language(found, CLASSES, trained={"de", "es"})
    table = [line.split()[:4] for line in score_table(result).splitlines()]
    assert ["seen", "1", "1.000", "0.333"] in table and ["unseen", "3", "0.333", "0.167"] in table
    rows = {row.name: row.remark for row in score_rows(result)}
    assert "unseen" in rows["fr"] and "unseen" in rows["it"] and "unseen" not in rows["de"]
    assert list(rows)[:3] == ["all", "seen", "unseen"]
    assert scores_by_language(found, CLASSES, trained={"de", "fr", "it"}).zero_shot is None
    assert "unseen" not in score_table(scores_by_language(found, CLASSES))


def test_no_rows_at_all() -> None:
    result = scores_by_language(said([], []), CLASSES, resamples=10)
    assert result.overall.macro_f1 == 0 and result.worst_language is None
    assert "0.000" in score_table(result)


rows = st.lists(
    st.tuples(
        st.integers(0, 2), st.lists(st.floats(-9, 9), min_size=3, max_size=3),
        st.sampled_from(["de", "en"]), st.none() | st.integers(1, 5),
    ),
    min_size=1, max_size=60,
)  # fmt: skip


@given(rows)
def test_scores_follow_the_definitions(found: list[Any]) -> None:
    true = np.array([row[0] for row in found])
    shares = probabilities_of([row[1] for row in found])
    stars = np.array([np.nan if row[3] is None else row[3] for row in found])
    codes = np.array([row[2] for row in found], object)
    result = scores_by_language(Predictions(true, shares, codes, stars), CLASSES)
    for name, score in result.sections():
        at = [n for n in range(len(found)) if name in ("all", codes[n])]
        predicted = shares[at].argmax(axis=1)
        assert score.rows == len(at)
        assert score.accuracy == pytest.approx(np.mean(true[at] == predicted))
        f1 = []
        for index in range(3):
            hits = ((true[at] == index) & (predicted == index)).sum()
            total = (true[at] == index).sum() + (predicted == index).sum()
            f1.append(2 * hits / total if total else 0.0)
        assert score.macro_f1 == pytest.approx(np.mean(f1))
        off = [abs(CLASSES.stars[c] - stars[n]) for n, c in zip(at, predicted) if found[n][3]]  # type: ignore[index]
        assert score.mean_absolute_error == (pytest.approx(np.mean(off)) if off else None)
        bins: dict[int, list[float]] = {}
        for n, c in zip(at, predicted):
            confidence = shares[n].max()
            gap = confidence - (true[n] == c)
            bins.setdefault(min(int(confidence * BINS), BINS - 1), []).append(gap)
        expected = sum(abs(sum(gaps)) for gaps in bins.values()) / len(at)
        assert score.calibration_error == pytest.approx(expected)


@pytest.mark.parametrize("scale", [None, (1.0, 2.0, 4.0)])
def test_intervals_are_those_of_rows_drawn_with_replacement(scale: Any) -> None:
    classes = replace(CLASSES, scale=scale)
    choose = np.random.default_rng(3)
    true = choose.integers(0, 3, 300)
    predicted = np.where(choose.random(300) < 0.7, true, choose.integers(0, 3, 300))
    stars = choose.integers(1, 6, 300)
    found = said(true, predicted, stars=stars)
    told = scores(found, classes, resamples=4000, seed=1).intervals
    assert told is not None and (told.quadratic_kappa is None) == (scale is None)
    drawn = [scores(found.select(choose.integers(0, 300, 300)), classes) for _ in range(1500)]
    for key, between in vars(told).items():
        if key == "micro_f1":
            assert between is None  # it is the accuracy
            continue
        if key == "calibration_error" or between is None:
            continue  # the former has the basic interval, see below
        expected = np.quantile([getattr(one, key) for one in drawn], [0.025, 0.975])
        assert between == pytest.approx(expected, abs=0.012), key
    assert told == scores(found, classes, resamples=4000, seed=1).intervals
    assert told != scores(found, classes, resamples=4000, seed=2).intervals


def test_no_language_is_the_lowest_of_equals() -> None:
    true, codes = [0, 1, 2] * 4, ["de", "de", "de", "fr", "fr", "fr"] * 2
    equal = scores_by_language(said(true, true, codes), CLASSES)
    assert equal.lowest is None and "lowest" not in score_table(equal)
    other = scores_by_language(said(true, [0, 1, 2, 0, 1, 1] * 2, codes), CLASSES)
    assert other.lowest == other.worst_language and other.lowest and other.lowest.code == "fr"


def small_classes(number: int, right: float = 1.0) -> tuple[Predictions, Classes]:
    """Two rows of each of so many classes, a share of them right, beside a class without rows."""
    true, choose = np.arange(2 * number) % number, np.random.default_rng(1)
    predicted = np.where(
        choose.random(2 * number) < right, true, choose.integers(0, number, 2 * number)
    )
    shares = np.eye(number + 1)[predicted]
    rows = Predictions(true, shares, np.full(2 * number, "de", object), np.full(2 * number, np.nan))
    return rows, Classes(tuple(map(str, range(number + 1))))


def test_classes_that_a_draw_leaves_out_do_not_lower_the_interval() -> None:
    """A class of two rows is left out by one draw in seven: as 0, it would be wrong in all of these."""
    rows, classes = small_classes(60)
    perfect = scores(rows, classes, resamples=100)
    assert perfect.macro_f1 == pytest.approx(60 / 61)
    assert perfect.intervals and perfect.intervals.macro_f1 == pytest.approx((60 / 61, 60 / 61))
    found = scores(*small_classes(150, 0.4), resamples=300)
    assert found.intervals
    low, high = found.intervals.macro_f1
    assert low < found.macro_f1 < high


def test_a_loss_of_many_classes_is_computed_from_the_kinds_of_rows_that_there_are() -> None:
    """All triples of 900 classes would take 5 GiB for each draw."""
    (before, _), (after, _) = small_classes(900), small_classes(900, 0.5)
    loss, (low, high) = paired_loss(before, after, 901, resamples=20)
    assert low - 0.02 < loss < high + 0.02
    assert paired_loss(before, before, 901, resamples=20) == (0, (0, 0))
    given = scores_of(before) - scores_of(after)
    assert loss == pytest.approx(given)


def scores_of(rows: Predictions) -> float:
    return scores(rows, Classes(tuple(map(str, range(901))))).macro_f1


def test_a_few_rows_have_no_interval() -> None:
    """Three rows that are right drawn anew are three rows that are right: 1.000 to 1.000."""
    few = scores(said([0, 1, 2] * 16, [0, 1, 2] * 16, stars=[1] * 48), CLASSES, resamples=50)
    assert few.rows == 48 and few.accuracy == 1.0 and few.intervals is None
    rated = [1.0] * 48 + [float("nan")] * 3
    enough = scores(said([0, 1, 2] * 17, [0, 1, 2] * 17, stars=rated), CLASSES, resamples=50)
    assert set(to_json(enough.intervals)) == {"accuracy", "macro_f1", "calibration_error"}


def test_the_interval_of_the_calibration_error_leaves_out_what_chance_adds() -> None:
    """Perfect probabilities have an error above 0 on any number of rows: the interval reaches 0."""
    draw = np.random.default_rng(0)
    covered = []
    for seed in range(20):
        shares = draw.dirichlet([1, 1, 1], 300)
        true = np.array([draw.choice(3, p=of) for of in shares])
        found = Predictions(true, shares, np.full(300, "de", object), np.full(300, np.nan))
        result = scores(found, CLASSES, resamples=200, seed=seed)
        assert result.intervals and result.intervals.calibration_error
        low, high = result.intervals.calibration_error
        assert result.calibration_error > 0.01 and low <= high
        covered.append(low == 0)
    assert np.mean(covered) > 0.8
    sure = said([0, 1] * 150, [0] * 300, confidence=0.9)  # right in half of the rows
    told = scores(sure, CLASSES, resamples=200).intervals
    assert told and told.calibration_error == pytest.approx((0.4 - 0.057, 0.4 + 0.057), abs=0.02)


def test_what_is_no_number_says_nothing() -> None:
    shares = probabilities_of([[np.nan, 0, 0], [np.inf, np.inf, 0], [1000.0, 0, 0]])
    assert shares.tolist() == [[1 / 3] * 3, [1 / 3] * 3, [1, 0, 0]]


def test_the_stars_of_classes() -> None:
    two = [LabelConfig("bad", ["1", "2"]), LabelConfig("good", ["4", "5.0"])]
    assert class_stars(two) == (1.5, 4.5)
    assert class_stars([*two, LabelConfig("fair", [])]) is None
    assert class_stars([*two, LabelConfig("fair", ["so", "3"])]) is None


def test_predictions_are_kept_row_by_row(tmp_path: Any) -> None:
    found = said([0, 2], [1, 2], ["de", "ja"], [2, float("nan")], confidence=0.8)
    write_predictions(found, ["a", "b"], CLASSES, tmp_path / "predictions.parquet")
    rows = parquet.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]
    assert rows[0] == {
        "id": "a", "language": "de", "stars": 2, "label": "negative", "predicted": "neutral",
        "probability_negative": pytest.approx(0.1), "probability_neutral": pytest.approx(0.8),
        "probability_positive": pytest.approx(0.1),
    }  # fmt: skip
    assert rows[1]["stars"] is None and rows[1]["predicted"] == "positive"


def test_a_model_that_names_one_class_only_is_told() -> None:
    one = scores_by_language(said([0, 1, 2] * 300, [2] * 900, ["de", "en"] * 450), CLASSES)
    assert score_warnings(one) == ["the model names one class only: positive, for 900 of 900 rows"]
    true = [0, 2] * 10
    in_one = said(true * 2, [2] * 20 + true, ["de"] * 20 + ["en"] * 20)
    assert score_warnings(scores_by_language(in_one, CLASSES)) == [
        "the model names one class only in de: positive, for 20 of 20 rows"
    ]
    never = said([0, 1, 2] * 10, [0, 2, 2] * 10)
    assert score_warnings(scores_by_language(never, CLASSES)) == [
        "the model never names neutral (10 rows)"
    ]
    hardly = said([0, 1, 2] * 20, [0, 2, 2] * 17 + [0, 1, 2] * 3)
    assert score_warnings(scores_by_language(hardly, CLASSES)) == [
        "the model hardly ever names neutral (3 times, for 20 rows)"
    ]
    assert score_warnings(scores_by_language(said([2] * 9, [2] * 9), CLASSES)) == []
    assert score_warnings(scores_by_language(said(true, true), CLASSES)) == []
