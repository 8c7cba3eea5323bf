"""Ordered classes: their points, scores on the scale, decisions by it, and what has no order."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, compose
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import (
    CodeConfig,
    DataConfig,
    Decide,
    EvaluationConfig,
    LabelConfig,
    LabelsMode,
)
from lingotune.data.rows.scale import scale_of
from lingotune.evaluation.classifier import Trained
from lingotune.evaluation.decision_text import decision_line
from lingotune.evaluation.decisions import decide, decided
from lingotune.evaluation.fit_decision import fit_decision
from lingotune.evaluation.metrics import (
    Classes,
    Predictions,
    probabilities_of,
    quadratic_kappa,
    scores,
    scores_by_language,
)
from lingotune.evaluation.predictions import write_predictions
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.labels import with_found_labels
from lingotune.launch.sweeps.sources import metric_of
from lingotune.preflight import check_secrets
from lingotune.preflight.code import OWN_CODE
from lingotune.report.tables import score_table
from lingotune.runs.decision import Decision
from lingotune.runs.decision_file import read_decision, write_decision

STARS = ("1", "2", "3", "4", "5")
SCALE = dict(zip(STARS, (1.0, 2.0, 3.0, 4.0, 5.0)))
CLASSES = Classes(STARS, None, tuple(SCALE.values()))


def data_of(*labels: LabelConfig, mode: LabelsMode = LabelsMode.ordinal) -> DataConfig:
    return DataConfig(labels=[*labels], labels_mode=mode)


def ratings(rows: int, seed: int, spread: float = 1.0) -> Predictions:
    """Predictions of stars by somebody who sees them with an error."""
    draw = np.random.default_rng(seed)
    true = draw.integers(0, 5, rows)
    seen = true + draw.normal(size=rows) * spread
    logits = -((seen[:, None] - np.arange(5)) ** 2) / (2 * spread**2)
    codes = np.array(["de", "fr"], object)[np.arange(rows) % 2]
    return Predictions(true, probabilities_of(logits), codes, np.full(rows, np.nan))


# --- scores ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_kappa_by_its_definition(rows: list[tuple[int, int]]) -> None:
    confusion = np.zeros((4, 4), np.int64)
    for one, other in rows:
        confusion[one, other] += 1
    apart = [(one - other) ** 2 for one, other in rows]
    by_chance = [(one - other) ** 2 for one, _ in rows for _, other in rows]
    expected = 1 - np.mean(apart) / np.mean(by_chance) if any(by_chance) else 0.0
    assert float(quadratic_kappa(confusion)) == pytest.approx(expected, abs=1e-12)
    assert quadratic_kappa(np.stack([confusion] * 2)).shape == (2,)


def test_a_known_kappa() -> None:
    """Worked out by hand; cohen_kappa_score(weights='quadratic') of scikit-learn gives the same."""
    confusion = np.array([[11, 3, 1], [1, 9, 3], [0, 1, 10]])
    assert float(quadratic_kappa(confusion)) == pytest.approx(0.771037, abs=1e-6)


def test_errors_are_distances_on_the_scale() -> None:
    shares = np.eye(5)[[0, 2, 4, 3]]
    said = Predictions(
        np.array([0, 1, 1, 3]), shares, np.array(["de"] * 4, object), np.full(4, 2.0)
    )
    assert scores(said, CLASSES).mean_absolute_error == pytest.approx((0 + 1 + 3 + 0) / 4)
    far = replace(CLASSES, scale=(0.0, 1.0, 10.0, 20.0, 100.0))
    assert scores(said, far).mean_absolute_error == pytest.approx((9 + 99) / 4)
    single = scores(said, Classes(STARS))
    assert single.mean_absolute_error is None is single.quadratic_kappa and not single.on_scale


def test_intervals_hold_the_scores_and_tables_name_them() -> None:
    found = scores_by_language(ratings(300, 0), CLASSES, 200)
    for of in (found.overall, *found.languages.values()):
        between = of.intervals
        assert between and between.quadratic_kappa and between.mean_absolute_error
        low, high = between.quadratic_kappa
        assert of.quadratic_kappa and low < of.quadratic_kappa < high
        low, high = between.mean_absolute_error
        assert of.mean_absolute_error and low < of.mean_absolute_error < high
    assert found.headline().keys() >= {"mean_absolute_error", "quadratic_kappa"}
    table = score_table(found, 110)
    assert " MAE " in table and " kappa" in table and "stars off" not in table
    assert "quadratic weights" in " ".join(table.split())
    alone = score_table(scores_by_language(ratings(300, 0), Classes(STARS)))
    assert "MAE" not in alone and "kappa" not in alone


# --- the scale ------------------------------------------------------------------------------------


def test_points_of_classes() -> None:
    named = [LabelConfig(name) for name in ("-1", "0,5", "2")]
    assert scale_of(data_of(*named)) == {"-1": -1.0, "0,5": 0.5, "2": 2.0}
    starred = [LabelConfig("bad", ["1", "2"]), LabelConfig("good", ["3", "4", "5"])]
    assert scale_of(data_of(*starred)) == {"bad": 1.5, "good": 4.0}
    words = [LabelConfig(name) for name in ("low", "middle", "high")]
    assert scale_of(data_of(*words)) == {"low": 1.0, "middle": 2.0, "high": 3.0}
    assert scale_of(data_of(*words, mode=LabelsMode.single)) is None


def test_the_order_of_words_that_were_found_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    typed = ["data=files", f"data.path={file}", "data.columns.text=text", "data.columns.stars=null",
             "data.columns.language=null", "data.labels=auto", "data.labels_mode=ordinal"]  # fmt: skip

    def found(*labels: object) -> list[str]:
        rows = [{"text": f"text {n}", "label": label} for n, label in enumerate(labels * 3)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        composed = compose_all(typed, ROOT / "conf", check_secrets, multirun=False)
        (one,) = with_found_labels(composed)
        return [label.name for label in one.config.data.labels]

    assert found(10, 9, 1) == ["1", "9", "10"]
    with pytest.raises(ConfigError) as raised:
        found("low", "high", "middle")
    (problem,) = raised.value.problems
    assert "the order of the classes is not known" in problem.what
    assert problem.fix.startswith("'data.labels=[high, low, middle]', in their order")
    with pytest.raises(ConfigError, match="no effect on two classes"):
        found(1, 2)


# --- decisions ------------------------------------------------------------------------------------


def test_decisions_by_the_scale() -> None:
    shares = np.array(
        [[0.45, 0.0, 0.1, 0.05, 0.4], [0.3, 0.3, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.2, 0.8]]
    )
    codes = np.array([""] * 3, object)

    def classes(how: Decide, labels: tuple[str, ...] = STARS, of: Any = shares) -> list[str]:
        decision = Decision(decide=how.value, scale=SCALE)
        return [labels[n] for n in decide(of, codes, decision, labels)[1]]

    assert classes(Decide.expected) == ["3", "2", "5"]
    assert classes(Decide.median) == ["3", "2", "5"]
    turned = tuple(reversed(STARS))  # a model with its classes in another order
    for how in (Decide.expected, Decide.median):
        assert classes(how, turned, shares[:, ::-1]) == classes(how)
    assert decide(shares, codes, Decision(decide="argmax"), STARS)[1].tolist() == [0, 2, 4]


@pytest.mark.parametrize("how", [Decide.expected, Decide.median])
def test_decisions_by_the_scale_are_nearer_than_the_likeliest_class(how: Decide) -> None:
    validation, test = ratings(300, 0, 1.5), ratings(5_000, 1, 1.5)
    wanted = EvaluationConfig(decide=how)
    fitted = fit_decision(validation, STARS, wanted, 0, scale=SCALE).decision
    assert (fitted.decide, fitted.scale, fitted.shifts) == (how.value, SCALE, True)
    before, after = (scores(one, CLASSES) for one in (test, decided(test, fitted, STARS)))
    assert before.mean_absolute_error and after.mean_absolute_error
    assert after.mean_absolute_error < before.mean_absolute_error - 0.02
    assert (
        fit_decision(validation, STARS, EvaluationConfig(), 0, scale=SCALE).decision.scale is None
    )
    assert decision_line(fitted).startswith("classes decided as ")


def test_few_rows_are_enough_to_decide_by_the_scale() -> None:
    few = ratings(10, 0)
    wanted = EvaluationConfig(decide=Decide.median)
    found = fit_decision(few, STARS, wanted, 0, scale=SCALE)
    assert found.decision == Decision(decide="median", scale=SCALE)
    assert found.validation.decided is not None
    assert decision_line(found.decision) == "classes decided as the medians"


def test_a_decision_is_kept_with_its_scale(tmp_path: Path) -> None:
    decision = Decision(decide="expected", temperature=1.25, rows=60, scale=SCALE)
    write_decision(decision, tmp_path)
    assert read_decision(tmp_path, STARS) == decision
    with pytest.raises(ConfigError, match="its classes are 1, 2, 3, 4, 5"):
        read_decision(tmp_path, ("a", "b"))
    for wrong in ({"decide": "expected"}, {"decide": "prior", "scale": SCALE}):
        with pytest.raises(ValueError, match="have a scale"):
            Decision(**wrong)
    with pytest.raises(ValueError, match="no finite"):
        Decision(decide="median", scale={"a": float("nan")})


def test_expected_values_of_a_model_and_in_its_predictions(tmp_path: Path) -> None:
    job = job_of(compose("data=sample_stars"))
    trained = Trained(tmp_path, STARS, job)
    assert trained.expected(np.eye(5)[[0, 3]]) == [1.0, 4.0]
    assert Trained(tmp_path, STARS, None).expected(np.eye(5)) == [None] * 5
    by_file = Trained(tmp_path, STARS, None, Decision(decide="median", scale=SCALE))
    assert by_file.expected(np.full((1, 5), 0.2)) == [pytest.approx(3.0)]
    file = tmp_path / "predictions.parquet"
    write_predictions(ratings(4, 0), list("abcd"), CLASSES, file)
    assert len(parquet.read_table(file)["expected"]) == 4
    write_predictions(ratings(4, 0), list("abcd"), Classes(STARS), file)
    assert "expected" not in parquet.read_table(file).column_names


def test_own_metrics_have_other_names() -> None:
    job, own = job_of(compose()), CodeConfig(file="a.py", metrics=["quadratic_kappa"])
    assert not OWN_CODE.run(replace(job, code=own), only="own-metric-taken")
    ordered = replace(job_of(compose("data=sample_stars")), code=own)
    (problem,) = OWN_CODE.run(ordered, only="own-metric-taken")
    assert problem.fix == "'code.metrics=[my_quadratic_kappa]'"


@pytest.mark.parametrize(
    ("select", "more"), [("mean_absolute_error", False), ("quadratic_kappa", True), ("loss", False)]
)
def test_which_way_is_better(select: str, more: bool) -> None:
    job = job_of(compose("data=sample_stars", f"evaluation.select={select}"))
    assert metric_of(job).greater_is_better is more
