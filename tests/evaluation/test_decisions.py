"""Decisions fitted on validation: what they reach, what they leave alone, and how they are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lingotune.config.problems import ConfigError
from lingotune.config.schema import Decide, EvaluationConfig
from lingotune.evaluation.decision_text import decision_line
from lingotune.evaluation.decisions import decide, decided, tempered
from lingotune.evaluation.fit_decision import FEWEST_FITTED, fit_decision
from lingotune.evaluation.macro_f1_offsets import macro_f1_of, macro_f1_offsets
from lingotune.evaluation.metrics import Classes, Predictions, probabilities_of, scores
from lingotune.evaluation.temperature import fit_temperature
from lingotune.runs.decision import AS_TRAINED, Decision
from lingotune.runs.decision_file import DECISION, read_decision, write_decision

LABELS = ("negative", "neutral", "positive")
SHARES = np.array([0.4, 0.2, 0.4])


def ratings(rows: int, seed: int, *, sure: float = 1.0, languages: str = "de") -> Predictions:
    """Predictions that know the truth as well as can be of ratings that overlap: the likeliest class is
    hardly ever the middle one. sure: what their logits are multiplied by."""
    draw = np.random.default_rng(seed)
    true = draw.choice(3, size=rows, p=SHARES)
    seen = np.array([-1.0, 0.0, 1.0])[true] + draw.normal(size=rows)
    logits = -((seen[:, None] - np.array([-1.0, 0.0, 1.0])) ** 2) / 2 + np.log(SHARES)
    codes = np.array(languages.split(), object)[np.arange(rows) % len(languages.split())]
    return Predictions(true, probabilities_of(logits * sure), codes, np.full(rows, np.nan))


def wanted(how: Decide = Decide.macro_f1, *, calibrate: bool = True) -> EvaluationConfig:
    return EvaluationConfig(decide=how, calibrate=calibrate)


def recalls(of: Predictions) -> list[float]:
    return [c.recall for c in scores(of, Classes(LABELS)).classes.values()]


def macro_f1(of: Predictions) -> float:
    return macro_f1_of(of.true, of.predicted, 3)


# --- what is fitted -------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [200, 1000])
def test_a_class_that_is_lost_is_found_again(rows: int) -> None:
    test = ratings(20_000, 1)
    fitted = fit_decision(ratings(rows, 0), LABELS, wanted(), seed=0)
    after = decided(test, fitted.decision, LABELS)
    assert recalls(test)[1] < 0.05 and min(recalls(after)) > 0.3
    assert macro_f1(after) > macro_f1(test) + 0.05
    assert fitted.decision.decide == "macro_f1" and fitted.decision.rows == rows
    assert fitted.decision.offsets["neutral"] > fitted.decision.offsets["positive"]


def test_the_scores_on_validation_are_those_of_rows_held_out() -> None:
    """Fitted and scored on the same rows, chance would be praised too."""
    draw = np.random.default_rng(0)
    labels = tuple("abcdefgh")
    blind = Predictions(
        draw.integers(0, 8, 120), draw.dirichlet(np.full(8, 2.0), 120),
        np.full(120, "de", object), np.full(120, np.nan),
    )  # fmt: skip
    logs = np.log(blind.probabilities)
    in_sample = macro_f1_offsets(logs, blind.true, np.zeros(8))
    praised = macro_f1_of(blind.true, (logs + in_sample).argmax(axis=1), 8)
    held_out = fit_decision(blind, labels, wanted(), seed=0).validation
    honest = macro_f1_of(blind.true, held_out.predicted, 8)
    assert abs(honest - 1 / 8) < 0.04 < praised - 1 / 8


def test_what_cannot_gain_stays_as_it_is() -> None:
    draw = np.random.default_rng(0)
    true = draw.integers(0, 3, 300)
    shares = np.full((300, 3), 0.05)
    shares[np.arange(300), true] = 0.9
    right = Predictions(true, shares, np.full(300, "de", object), np.full(300, np.nan))
    fitted = fit_decision(right, LABELS, wanted(calibrate=False), seed=0)
    assert fitted.decision == AS_TRAINED and fitted.validation is right


def test_what_differs_by_rounding_only_decides_nothing() -> None:
    noise = np.random.default_rng(0).normal(scale=1e-3, size=(400, 3))
    know = Predictions(
        ratings(400, 0).true, probabilities_of(np.log(SHARES) + noise),
        np.full(400, "de", object), np.full(400, np.nan),
    )  # fmt: skip
    assert not fit_decision(know, LABELS, wanted(), seed=0).decision.shifts


def test_few_rows_are_not_fitted_on() -> None:
    few = ratings(FEWEST_FITTED - 1, 0, sure=3)
    for how in (Decide.argmax, Decide.macro_f1, Decide.prior):
        assert fit_decision(few, LABELS, wanted(how), seed=0).decision == AS_TRAINED
    assert (
        fit_decision(ratings(FEWEST_FITTED, 0, sure=3), LABELS, wanted(), 0).decision != AS_TRAINED
    )


def test_a_language_that_differs_has_offsets_of_its_own() -> None:
    found = ratings(3000, 0, languages="de fr")
    logs = np.log(found.probabilities)
    logs[found.languages == "fr"] += [2.0, 0.0, -2.0]
    uneven = Predictions(found.true, probabilities_of(logs), found.languages, found.stars)
    fitted = fit_decision(uneven, LABELS, wanted(), seed=0)
    assert set(fitted.decision.languages) == {"de", "fr"}
    french, german = (fitted.decision.languages[code]["positive"] for code in ("fr", "de"))
    assert french * fitted.decision.temperature == pytest.approx(1.7, abs=0.5) and german < 0.2
    unknown = fitted.decision.offsets_of("ja", LABELS)
    assert (
        unknown == fitted.decision.offsets_of(None, LABELS) == [*fitted.decision.offsets.values()]
    )
    assert macro_f1(fitted.validation) > 0.55


def test_a_class_that_validation_lacks_keeps_its_place() -> None:
    found = ratings(600, 0)
    two = found.select(found.true != 1)
    for how in (Decide.macro_f1, Decide.prior):
        offsets = fit_decision(two, LABELS, wanted(how), seed=0).decision.offsets
        assert offsets.get("neutral", 0.0) == 0.0


def test_the_prior_divides_by_the_shares_of_the_classes() -> None:
    found = ratings(5000, 0)
    decision = fit_decision(found, LABELS, wanted(Decide.prior, calibrate=False), seed=0).decision
    shares = np.bincount(found.true) / 5000
    best = (found.probabilities / shares).argmax(axis=1)
    assert (decided(found, decision, LABELS).predicted == best).mean() > 0.999


def test_argmax_changes_probabilities_only() -> None:
    found = ratings(1000, 0, sure=2.5)
    fitted = fit_decision(found, LABELS, wanted(Decide.argmax), seed=0)
    assert not fitted.decision.shifts and fitted.decision.temperature == pytest.approx(2.5, rel=0.2)
    assert fitted.validation.predicted.tolist() == found.predicted.tolist()
    raw = fit_decision(found, LABELS, wanted(Decide.argmax, calibrate=False), seed=0)
    assert raw.decision == AS_TRAINED


@pytest.mark.parametrize("sure", [0.5, 1.0, 3.0])
def test_the_temperature_takes_back_what_is_too_sure(sure: float) -> None:
    off, test = ratings(4000, 0, sure=sure), ratings(4000, 1, sure=sure)
    found = fit_temperature(off)
    assert found == pytest.approx(sure, rel=0.1)
    if sure != 1:
        before = scores(test, Classes(LABELS)).calibration_error
        after = scores(
            decided(test, Decision(decide="argmax", temperature=found), LABELS), Classes(LABELS)
        )
        assert after.calibration_error < before / 2


def test_a_model_that_says_the_same_of_all_is_left_as_it_is() -> None:
    uniform = Predictions(
        np.arange(300) % 3,
        np.full((300, 3), 1 / 3),
        np.full(300, "de", object),
        np.full(300, np.nan),
    )
    assert fit_temperature(uniform) == 1.0
    assert fit_decision(uniform, LABELS, wanted(), seed=0).decision == AS_TRAINED


def test_the_same_predictions_and_seed_give_the_same_decision() -> None:
    first, again = (fit_decision(ratings(700, 0), LABELS, wanted(), seed=3) for _ in range(2))
    assert first.decision == again.decision
    assert first.validation.predicted.tolist() == again.validation.predicted.tolist()


# --- the best offsets -----------------------------------------------------------------------------


@given(st.integers(2, 5), st.integers(20, 60), st.integers(0, 10_000))
@example(3, 34, 935)  # the best one of all would be beyond what an offset may be
def test_the_best_offset_of_a_class_is_that_of_all_candidates(
    classes: int, rows: int, seed: int
) -> None:
    """Below 80 rows nothing is smoothed. Ties are not drawn: continuous scores have none."""
    from lingotune.evaluation.macro_f1_offsets import _best_offset

    draw = np.random.default_rng(seed)
    values, true = draw.normal(size=(rows, classes)), draw.integers(0, classes, rows)
    found = _best_offset(values, true, 0)
    others = values[:, 1:].max(axis=1) - values[:, 0]
    cuts = np.sort(others)
    candidates = [cuts[0] - 1, *((cuts[1:] + cuts[:-1]) / 2), cuts[-1] + 1]

    def reached(offset: float) -> float:
        return macro_f1_of(true, (values + np.eye(classes)[0] * offset).argmax(axis=1), classes)

    assert reached(found) == pytest.approx(max(map(reached, np.clip(candidates, -4, 4))))


@given(arrays.arrays(np.float64, (7, 3), elements=st.floats(-700, 700)), st.floats(0.11, 9.9))
def test_probabilities_stay_probabilities_in_their_order(logits: Any, temperature: float) -> None:
    before = probabilities_of(logits)
    after = tempered(before, temperature)
    assert np.allclose(after.sum(axis=1), 1) and (after >= 0).all()
    assert (
        np.take_along_axis(after, before.argmax(axis=1)[:, None], 1)[:, 0] >= after.max(1) - 1e-12
    ).all()


# --- how it is kept -------------------------------------------------------------------------------


def test_a_stored_decision_is_read_as_it_was(tmp_path: Path) -> None:
    found = ratings(800, 0, sure=2, languages="de fr")
    decision = fit_decision(found, LABELS, wanted(), seed=0).decision
    write_decision(decision, tmp_path)
    again = read_decision(tmp_path, LABELS)
    assert again == decision and "for macro-F1" in decision_line(again)
    codes = found.languages
    assert (
        decide(found.probabilities, codes, again, LABELS)[1].tolist()
        == decided(found, decision, LABELS).predicted.tolist()
    )
    told = json.loads((tmp_path / DECISION).read_text())
    (tmp_path / DECISION).write_text(json.dumps({**told, "quantum": 1}))
    with pytest.raises(ConfigError, match="does not know its quantum: a newer lingotune made it"):
        read_decision(tmp_path, LABELS)
    write_decision(AS_TRAINED, tmp_path)
    assert not [*tmp_path.iterdir()] and read_decision(tmp_path, LABELS) == AS_TRAINED


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"decide": "luck"}, "decide is 'luck'"),
        ({"offsets": {"good": 1.0, "bad": 0.0}}, "its classes are good, bad"),
        ({"languages": {"de": {"negative": None}}}, "no finite number"),
    ],
)
def test_a_decision_that_cannot_be_used_is_told(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    whole = {"decide": "macro_f1", "temperature": 1.5, "offsets": dict.fromkeys(LABELS, 0.1)}
    (tmp_path / DECISION).write_text(json.dumps(whole | changed), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_decision(tmp_path, LABELS)
    (tmp_path / DECISION).write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be used"):
        read_decision(tmp_path, LABELS)
