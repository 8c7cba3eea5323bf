"""Two runs or settings, row by row."""

from __future__ import annotations

import json
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_folders import LABELS, make_run, make_sweep

from lingotune.cli.results import main
from lingotune.config.problems import ConfigError
from lingotune.evaluation.metrics import Predictions
from lingotune.launch.results.collect import leaderboard
from lingotune.launch.results.compare import compare
from lingotune.launch.results.entries import Leaderboard
from lingotune.launch.results.mcnemar import mcnemar
from lingotune.launch.results.pair import apart, as_text, chosen_pair, compare_two
from lingotune.launch.results.row_predictions import RowPredictions
from lingotune.launch.sweeps.trial import State

TRIALS = [
    ({"lr": lr, "seed": str(seed)}, State.completed, score + seed / 100)
    for lr, score in (("1e-05", 0.6), ("3e-05", 0.8), ("5e-05", 0.5))
    for seed in (1, 2)
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("home") / "runs"
    make_sweep(runs / "lrs", TRIALS)
    for number, (varies, _, score) in enumerate(TRIALS, 1):
        typed = [f"{key}={value}" for key, value in varies.items()]
        make_run(runs / f"job-{number}", *typed, validation=score or 0.0, luck=number)
    return runs


@pytest.fixture(scope="module")
def board(runs: Path) -> Leaderboard:
    return leaderboard([str(runs / "lrs")])


# --- McNemar's test -------------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(0, 60))
def test_it_is_the_tail_of_a_coins_throws_on_both_sides(one: int, other: int) -> None:
    rows = one + other
    as_uneven = [n for n in range(rows + 1) if abs(2 * n - rows) >= abs(one - other)]
    assert mcnemar(one, other) == pytest.approx(sum(comb(rows, n) for n in as_uneven) / 2**rows)
    assert mcnemar(one, other) == mcnemar(other, one)


def test_many_rows_are_no_burden() -> None:
    assert mcnemar(20_000, 20_000) == 1.0
    assert 0 < mcnemar(9_000, 10_000) < 1e-11


# --- what was typed -------------------------------------------------------------------------------


def test_the_best_two_are_compared_by_default(board: Leaderboard) -> None:
    one, other = chosen_pair(board, [])
    assert one.varies == {"lr": "3e-05"} and other.varies == {"lr": "1e-05"}


@pytest.mark.parametrize(
    ("typed", "numbers"),
    [
        (["lr=5e-05", "lr=1e-05"], [[5, 6], [1, 2]]),
        (["3", "6"], [[3], [6]]),
        (["job-3", "lr=1e-05"], [[3], [1, 2]]),
    ],
)
def test_runs_and_settings_are_found(
    board: Leaderboard, typed: list[str], numbers: list[list[int]]
) -> None:
    found = chosen_pair(board, typed)
    assert [[entry.number for entry in of.entries] for of in found] == numbers


def test_what_is_not_there_is_told_all_at_once(board: Leaderboard) -> None:
    with pytest.raises(ConfigError) as error:
        chosen_pair(board, ["lr=7", "99"])
    assert [problem.where for problem in error.value.problems] == ["--compare lr=7", "--compare 99"]
    with pytest.raises(ConfigError, match="compares two, not 3"):
        chosen_pair(board, ["1", "2", "3"])


# --- what is said ---------------------------------------------------------------------------------


def test_settings_are_compared_over_rows_and_seeds(board: Leaderboard) -> None:
    pair = compare_two(*chosen_pair(board, ["lr=3e-05", "lr=5e-05"]))
    assert (pair.split, pair.rows, pair.runs) == ("test", 120, (2, 2))
    f1, accuracy = pair.scores["macro_f1"], pair.scores["accuracy"]
    for score in (f1, accuracy):
        gap = score.difference
        assert gap is not None and gap.clear and gap.interval[0] < gap.value < gap.interval[1]
        assert gap.value == pytest.approx(score.one - score.other) and score.one_sd is not None
    assert [test.seed for test in pair.tests] == ["1", "2"]
    for test in pair.tests:
        assert test.only_one > test.only_other and test.p == mcnemar(test.only_one, test.only_other)


def test_the_accuracy_is_that_of_the_rows(board: Leaderboard) -> None:
    pair = compare_two(*chosen_pair(board, ["3", "6"]))
    (test,) = pair.tests
    gap = (test.only_one - test.only_other) / pair.rows
    accuracy = pair.scores["accuracy"]
    assert accuracy.one - accuracy.other == pytest.approx(gap)
    entry = board.ranked[0].entries[0]
    assert entry.test is not None
    assert pair.scores["macro_f1"].one == pytest.approx(entry.test.macro_f1, abs=1e-6)


def test_the_leaderboards_own_difference_is_the_same(board: Leaderboard) -> None:
    """Of the same rows, which both splits have here."""
    pair = compare_two(*chosen_pair(board, ["lr=1e-05", "lr=3e-05"]))
    found = pair.scores["macro_f1"].difference
    assert found is not None
    assert found.value == pytest.approx(compare(board.ranked).differences[1].value, abs=1e-6)


def test_the_command_prints_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [str(runs / "job-3"), str(runs / "job-5")]
    assert main([*places, "--compare"]) == 0
    out = capsys.readouterr().out
    assert "on 120 test rows" in out and "McNemar's test" in out and "p = " in out
    assert "choose on validation" in out and "seeds" not in out
    assert main([*places, "--format", "json", "--compare", "lr=3e-05", "lr=5e-05"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["tests"][0]["p"] < 0.05 and set(values["scores"]) == {"macro_f1", "accuracy"}
    with pytest.raises(ConfigError, match="no form of a comparison of two"):
        main([*places, "--format", "csv", "--compare"])


def test_other_rows_are_refused(runs: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "few", "lr=9e-05", rows=60)
    board = leaderboard([str(runs / "job-3"), str(tmp_path / "few")])
    with pytest.raises(ConfigError, match="not predicted the same test rows"):
        compare_two(*chosen_pair(board, []))
    (tmp_path / "few" / "predictions.parquet").unlink()
    with pytest.raises(ConfigError, match="1 of 1 runs without predictions on test"):
        compare_two(*chosen_pair(board, []))


def of_sets(skill: float) -> Predictions:
    """Predictions of rows with any of three classes, of a model that knows this share of the classes."""
    random = np.random.default_rng(7)
    true = random.random((200, len(LABELS))) < 0.4
    said = np.where(random.random(true.shape) < skill, true, ~true)
    return Predictions(
        true, np.where(said, 0.8, 0.2), np.full(200, "en", object), np.full(200, np.nan)
    )


def test_sets_of_classes_are_compared_by_their_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, skill in (("one", 0.95), ("two", 0.8)):
        typed = (f"lr={skill / 1e3}", "data.labels_mode=multi")
        make_run(tmp_path / name, *typed, validation=skill, predictions=of_sets(skill))
    pair = compare_two(*chosen_pair(leaderboard([str(tmp_path)]), []))
    assert list(pair.scores) == ["macro_f1", "micro_f1", "accuracy"] and pair.several
    gaps = {name: of.difference for name, of in pair.scores.items()}
    assert all(gap and gap.clear and gap.interval[0] > 0 for gap in gaps.values())
    (test,) = pair.tests
    whole = [(of.predicted == of.true).all(axis=1) for of in map(of_sets, (0.95, 0.8))]
    assert test.only_one == (whole[0] & ~whole[1]).sum() and test.p < 0.01
    assert main([str(tmp_path), "--compare"]) == 0
    assert "all classes of a row and none besides:" in capsys.readouterr().out


def test_ordered_classes_have_their_error_and_kappa(tmp_path: Path) -> None:
    for name, skill in (("one", 0.9), ("two", 0.5)):
        typed = (f"lr={skill / 1e3}", "data.labels_mode=ordinal")
        make_run(tmp_path / name, *typed, validation=skill)
    pair = compare_two(*chosen_pair(leaderboard([str(tmp_path)]), []))
    names = ["macro_f1", "accuracy", "mean_absolute_error", "quadratic_kappa"]
    assert list(pair.scores) == names
    error, kappa = (pair.scores[name].difference for name in names[2:])
    assert error and error.clear and error.value < 0
    assert kappa and kappa.clear and kappa.value > 0


def test_other_tasks_and_other_classes_are_refused_in_a_sentence(tmp_path: Path) -> None:
    make_run(tmp_path / "one", "lr=1e-3")
    make_run(tmp_path / "sets", "lr=1e-3", "data.labels_mode=multi", predictions=of_sets(0.9))
    make_run(tmp_path / "stars", "lr=1e-3", "data.labels_mode=ordinal")
    board = leaderboard([str(tmp_path)])
    for other, said in (("sets", "any of 3 classes"), ("stars", "one of 3 ordered classes")):
        with pytest.raises(ConfigError, match=f"has one of 3 classes in one, {said} in the other"):
            compare_two(*chosen_pair(board, ["one", other]))
    rows = RowPredictions(("1",), np.zeros(1, int), np.zeros(1, int), ("bad", "good"))
    unshared = apart(rows, replace(rows, labels=("bad", "fine")))
    assert unshared == "only one of them has fine | good"
    assert "in another order" in apart(rows, replace(rows, labels=("good", "bad")))


def test_two_runs_of_one_setting_are_compared_by_themselves(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path / f"run-{seed}", f"seed={seed}", luck=seed)
    pair = compare_two(*chosen_pair(leaderboard([str(tmp_path)]), []))
    assert (pair.one, pair.other) == ("run-1", "run-2") and pair.runs == (1, 1)
    make_run(tmp_path / "run-3", "seed=3", luck=3)
    with pytest.raises(ConfigError, match="needs two settings that have a score; there is 1"):
        chosen_pair(leaderboard([str(tmp_path)]), [])


def test_few_rows_have_no_interval(tmp_path: Path) -> None:
    for n in (1, 2):
        make_run(tmp_path / f"run-{n}", f"lr={n}e-3", validation=0.5 + n / 10, rows=30)
    pair = compare_two(*chosen_pair(leaderboard([str(tmp_path)]), []))
    assert pair.scores["macro_f1"].difference is None and "too few rows" in as_text(pair)
