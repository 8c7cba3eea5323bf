"""Comparison row by row: properties of the bootstrap, and its agreement with scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from sweep_folders import LABELS, make_run, predictions_of

from lingotune.evaluation.metrics import Classes, scores
from lingotune.evaluation.predictions import DECIDED, FILE, VALIDATION_FILE
from lingotune.launch.results.collect import leaderboard
from lingotune.launch.results.compare import Comparison, compare, difference, f1_samples

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


def samples_of(rows: Rows) -> list[npt.NDArray[np.float64]]:
    return list(f1_samples(rows[0], rows[1:], CLASSES, 50))


@given(predicted_rows(2))
def test_the_first_sample_is_the_score_of_all_rows(rows: Rows) -> None:
    from lingotune.evaluation.metrics import Predictions

    for predicted, samples in zip(rows[1:], samples_of(rows)):
        given_rows = Predictions(
            rows[0], np.eye(CLASSES)[predicted], np.full(rows.shape[1], "en", object),
            np.full(rows.shape[1], np.nan),
        )  # fmt: skip
        assert samples[0] == pytest.approx(scores(given_rows, Classes(LABELS)).macro_f1, abs=1e-6)
        assert samples.min() >= 0 and samples.max() <= 1 + 1e-6


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
    one, other = f1_samples(true, np.stack([better, worse]), CLASSES, 1000)
    found = difference({"1": one}, {"1": other})
    assert found.clear and 0 < found.interval[0] < found.value < found.interval[1]
    apart = np.quantile(other[1:], 0.975) - np.quantile(one[1:], 0.025)
    assert apart > 0, "the intervals of the two overlap"


def test_different_seeds_widen_the_interval() -> None:
    true = np.arange(300) % CLASSES
    runs = [predictions_of(skill, 300, n).predicted for n, skill in enumerate((0.9, 0.5, 0.7))]
    samples = f1_samples(true, np.stack(runs), CLASSES, 500)
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
