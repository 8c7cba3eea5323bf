"""Comparison row by row: properties of the bootstrap, and its agreement with scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet
from sweep_folders import LABELS, make_run, predictions_of

from lingotune.evaluation.metrics import Classes, Predictions, scores
from lingotune.evaluation.predictions import DECIDED, FILE, VALIDATION_FILE
from lingotune.launch.results.collect import leaderboard
from lingotune.launch.results.compare import Comparison, compare, difference
from lingotune.launch.results.row_predictions import RowPredictions
from lingotune.launch.results.samples import score_samples
from lingotune.launch.results.table import as_json, as_markdown, for_terminal, named, verdict

CLASSES = 3
Rows = npt.NDArray[np.int64]


@st.composite
def predicted_rows(draw: st.DrawFn, runs: int) -> Rows:
    """True classes, then the predictions of some runs: (1 + runs, rows)."""
    rows = draw(st.integers(1, 40))
    classes = st.integers(0, CLASSES - 1)
    lists = st.lists(
        st.lists(classes, min_size=rows, max_size=rows), min_size=runs + 1, max_size=runs + 1
    )
    return np.array(draw(lists), np.int64)


POINTS = (1.0, 2.0, 5.0)


def runs_of(
    rows: npt.NDArray[Any], points: tuple[float, ...] | None = None
) -> list[RowPredictions]:
    """Runs that predicted the same rows: true classes, then those of each run."""
    ids = tuple(map(str, range(rows.shape[1])))
    return [RowPredictions(ids, rows[0], predicted, LABELS, points) for predicted in rows[1:]]


def samples_of(rows: Rows, resamples: int = 50) -> list[npt.NDArray[np.float64]]:
    return list(score_samples("macro_f1", runs_of(rows), resamples))


def decided_rows(true: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> Predictions:
    count = len(true)
    shares, codes = np.full((count, CLASSES), 1 / CLASSES), np.full(count, "en", object)
    return Predictions(true, shares, codes, np.full(count, np.nan), predicted)


@given(predicted_rows(2), st.sampled_from([None, POINTS]))
def test_the_first_sample_is_the_score_of_all_rows(
    rows: Rows, points: tuple[float, ...] | None
) -> None:
    runs = runs_of(rows, points)
    for name in runs[0].scores:
        for run, samples in zip(runs, score_samples(name, runs, 50)):
            of = scores(decided_rows(rows[0], run.predicted), Classes(LABELS, scale=points))
            assert samples[0] == pytest.approx(getattr(of, name), abs=1e-6)
            least = -1 if name == "quadratic_kappa" else 0
            most = 4 if name == "mean_absolute_error" else 1
            assert samples.min() >= least - 1e-6 and samples.max() <= most + 1e-6


@given(arrays(bool, st.tuples(st.just(3), st.integers(1, 40), st.just(CLASSES))))
def test_so_it_is_where_rows_may_have_several_classes(rows: npt.NDArray[np.bool_]) -> None:
    runs = runs_of(rows)
    assert runs[0].scores == ("macro_f1", "micro_f1", "accuracy")
    for name in runs[0].scores:
        for run, samples in zip(runs, score_samples(name, runs, 50)):
            of = scores(decided_rows(rows[0], run.predicted), Classes(LABELS))
            assert samples[0] == pytest.approx(getattr(of, name), abs=1e-6)
            assert run.right.mean() == pytest.approx(of.accuracy)
            assert samples.min() >= -1e-6 and samples.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    "name", ["macro_f1", "micro_f1", "accuracy", "mean_absolute_error", "quadratic_kappa"]
)
def test_the_samples_spread_as_those_of_rows_drawn_one_by_one(name: str) -> None:
    random = np.random.default_rng(3)
    several = name == "micro_f1"
    true = random.random((300, CLASSES)) < 0.4 if several else random.integers(CLASSES, size=300)
    other = random.random(true.shape) < 0.4 if several else random.integers(CLASSES, size=300)
    wrong = random.random(300) < 0.3
    predicted = np.where(wrong[:, None] if several else wrong, other, true)
    points = POINTS if name in ("mean_absolute_error", "quadratic_kappa") else None
    (samples,) = score_samples(name, runs_of(np.stack([true, predicted]), points), 2000)
    drawn = random.integers(300, size=(2000, 300))
    by_hand = [
        getattr(
            scores(decided_rows(true[rows], predicted[rows]), Classes(LABELS, scale=points)), name
        )
        for rows in drawn[:400]
    ]
    assert samples[1:].std() == pytest.approx(np.std(by_hand), rel=0.15)
    assert samples[1:].mean() == pytest.approx(np.mean(by_hand), abs=0.01)


@pytest.mark.parametrize("several", [False, True])
def test_classes_that_a_draw_leaves_out_do_not_lower_its_score(several: bool) -> None:
    ids = np.repeat(np.arange(60), 2)
    true = np.eye(60, dtype=bool)[ids] if several else ids
    run = RowPredictions(tuple(map(str, range(120))), true, true, tuple(map(str, range(60))))
    assert score_samples("macro_f1", [run], 50) == pytest.approx(1, abs=1e-6)


@given(predicted_rows(1), st.integers(1, 3))
def test_identical_predictions_differ_by_nothing(rows: Rows, seeds: int) -> None:
    one, other = samples_of(np.vstack([rows, rows[1:]]))
    ours, theirs = ({str(n): of for n in range(seeds)} for of in (one, other))
    found = difference(ours, theirs)
    assert found.value == 0 and found.interval == (0, 0) and not found.clear


@given(predicted_rows(4))
def test_runs_are_paired_by_their_seeds(rows: Rows) -> None:
    first, second, *_ = samples_of(rows)
    found = difference({"1": first, "2": second}, {"2": second, "1": first})
    assert found.value == 0 and found.interval == (0, 0)


@given(predicted_rows(2), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(rows: Rows, random: object) -> None:
    order = list(range(rows.shape[1]))
    random.shuffle(order)  # type: ignore[attr-defined]
    before, after = samples_of(rows), samples_of(rows[:, order])
    assert all(np.array_equal(a, b) for a, b in zip(before, after))


@given(predicted_rows(2))
def test_the_other_way_round_is_the_same_difference(rows: Rows) -> None:
    one, other = samples_of(rows)
    there, back = difference({"1": one}, {"1": other}), difference({"1": other}, {"1": one})
    assert there.value == -back.value
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert there.clear == back.clear


def test_pairing_finds_what_separate_intervals_hide() -> None:
    """One run is right on five rows more: the rows' own luck is the same for both."""
    random = np.random.default_rng(0)
    true = random.integers(CLASSES, size=400)
    worse = np.where(random.random(400) < 0.7, true, (true + 1) % CLASSES)
    wrong = np.flatnonzero(worse != true)[:12]
    better = worse.copy()
    better[wrong] = true[wrong]
    one, other = samples_of(np.stack([true, better, worse]), 1000)
    found = difference({"1": one}, {"1": other})
    assert found.clear and 0 < found.interval[0] < found.value < found.interval[1]
    apart = np.quantile(other[1:], 0.975) - np.quantile(one[1:], 0.025)
    assert apart > 0, "the intervals of the two overlap"


def test_different_seeds_widen_the_interval() -> None:
    true = np.arange(300) % CLASSES
    runs = [predictions_of(skill, 300, n).predicted for n, skill in enumerate((0.9, 0.5, 0.7))]
    samples = samples_of(np.stack([true, *runs]), 500)
    alone = difference({"1": samples[0]}, {"1": samples[2]})
    spread = difference({"1": samples[0], "2": samples[1]}, {"1": samples[2], "2": samples[2]})
    width = [of.interval[1] - of.interval[0] for of in (alone, spread)]
    assert width[1] > width[0]


# --- from run folders -----------------------------------------------------------------------------


def compared(folder: Path) -> Comparison:
    return compare(leaderboard([str(folder)]).ranked)


def two_runs(folder: Path, first: float = 0.9, second: float = 0.5) -> Path:
    make_run(folder / "one", "lr=1e-3", validation=0.8, test=first)
    make_run(folder / "two", "lr=1e-4", validation=0.7, test=second)
    return folder


def test_a_clear_lead_is_marked(tmp_path: Path) -> None:
    found = compared(two_runs(tmp_path))
    assert found.clear and found.differences[1].value < found.differences[1].interval[1] < 0
    assert found.test is not None
    low, high = found.test
    assert low < 0.95 and low < high


@pytest.mark.parametrize("known", [(0.7, 0.7), (0.5, 0.9)], ids=["equal", "worse"])
def test_a_lead_that_the_rows_do_not_bear_out_is_not_marked(
    tmp_path: Path, known: tuple[float, float]
) -> None:
    found = compared(two_runs(tmp_path, *known))
    assert not found.clear and 1 in found.differences


@settings(max_examples=15)
@given(st.floats(0, 1), st.floats(0, 1))
def test_test_scores_choose_no_winner(
    tmp_path_factory: pytest.TempPathFactory, first: float, second: float
) -> None:
    board = leaderboard([str(two_runs(tmp_path_factory.mktemp("runs"), first, second))])
    assert [of.best_entry.name for of in board.ranked] == ["one", "two"]


def test_the_test_rows_mark_nothing(tmp_path: Path) -> None:
    before = compared(two_runs(tmp_path))
    for name in ("one", "two"):
        (tmp_path / name / FILE).unlink()
    after = compared(tmp_path)
    assert after.differences == before.differences and after.clear
    assert before.test is not None and after.test is None


def test_what_was_decided_is_compared(tmp_path: Path) -> None:
    """Where a decision was fitted, its classes count, not the likeliest ones beside them."""
    before = compared(two_runs(tmp_path))
    tables = [parquet.read_table(tmp_path / name / VALIDATION_FILE) for name in ("one", "two")]
    for table, other, name in zip(tables, reversed(tables), ("one", "two")):
        decided = table.append_column(DECIDED, other["predicted"])
        parquet.write_table(decided, tmp_path / name / VALIDATION_FILE)
    after = compared(tmp_path)
    assert after.differences[1].value == pytest.approx(-before.differences[1].value)
    assert not after.clear


def test_shuffled_prediction_files_are_the_same(tmp_path: Path) -> None:
    before = compared(two_runs(tmp_path))
    path = tmp_path / "two" / VALIDATION_FILE
    table = parquet.read_table(path)
    order = np.random.default_rng(1).permutation(table.num_rows)
    parquet.write_table(table.take(pa.array(order)), path)
    assert compared(tmp_path) == before


def test_ordered_classes_are_compared_by_the_metric_that_chooses(tmp_path: Path) -> None:
    typed = ("data.labels_mode=ordinal", "evaluation.select=mean_absolute_error")
    for name, skill, error in (("one", 0.9, 0.2), ("two", 0.5, 0.6)):
        make_run(tmp_path / name, f"lr={skill / 1e3}", *typed, validation=skill, error=error)
    board = leaderboard([str(tmp_path)])
    found = compare(board.ranked)
    assert [of.best_entry.name for of in board.ranked] == ["one", "two"]
    assert found.score == "mean_absolute_error" and not found.greater_is_better
    assert found.clear and found.differences[1].interval[0] > 0
    assert "is clear: -0." in (told := "\n".join(verdict(board, found)))
    assert told.endswith("of mean_absolute_error")


@pytest.mark.parametrize("case", ["missing", "damaged", "other rows", "other labels", "few rows"])
def test_without_the_same_rows_there_is_no_difference(tmp_path: Path, case: str) -> None:
    two_runs(tmp_path)
    path = tmp_path / "two" / VALIDATION_FILE
    table = parquet.read_table(path)
    if case == "missing":
        path.unlink()
    elif case == "damaged":
        path.write_bytes(b"no parquet")
    elif case == "other rows":
        parquet.write_table(table.slice(1), path)
    elif case == "other labels":
        column = pa.array(["another"] * table.num_rows)
        parquet.write_table(table.set_column(3, "label", column), path)
    else:
        for name in ("one", "two"):
            parquet.write_table(table.slice(0, 9), tmp_path / name / VALIDATION_FILE)
    found = compared(tmp_path)
    assert not found.differences and not found.clear
    assert found.elsewhere == ((1,) if case == "other rows" else ())


def test_runs_that_were_validated_on_other_rows_are_told_in_every_form(tmp_path: Path) -> None:
    path = two_runs(tmp_path) / "two" / VALIDATION_FILE
    parquet.write_table(parquet.read_table(path).slice(1), path)
    board = leaderboard([str(tmp_path)])
    found = compare(board.ranked)
    other = named(board.ranked[1])
    told = f"validated on other rows or classes than the best, so that ranks say nothing: {other}"
    assert told in for_terminal(board, found) and told in as_markdown(board, found)
    assert json.loads(as_json(board, found))["notes"][0] == told
