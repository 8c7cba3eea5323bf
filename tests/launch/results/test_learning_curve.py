"""What more rows would bring: the fit, its interval, and sentences that are true of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sweep_folders import make_run, make_sweep

from lingotune.launch.results.collect import leaderboard
from lingotune.launch.results.entries import Entry, Leaderboard, ranked
from lingotune.launch.results.learning_curve import curves_of, fit_power_law, with_told
from lingotune.launch.results.page import page_of
from lingotune.launch.results.table import as_json, for_terminal
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.trial import State

F1, LOSS = Metric("macro_f1"), Metric("loss", False)
SIZES = (100, 200, 400, 800, 1600)


def board(scores: dict[tuple[int, str], float], metric: Metric = F1, **more: str) -> Leaderboard:
    """Runs by their training rows and seeds."""
    entries = [
        Entry(
            number=number, varies={**more, "data.max_rows": str(rows), "seed": seed}, name=f"job-{number}",
            state=State.completed, validation={metric.name: score}, train_rows=rows,
        )
        for number, ((rows, seed), score) in enumerate(scores.items(), 1)
    ]  # fmt: skip
    keys = (*more, "data.max_rows", "seed")
    return Leaderboard("sweep", metric, keys, ranked(entries, metric))


def drawn(
    noise: float, seed: int, scale: float = 4.0, exponent: float = 0.5
) -> dict[tuple[int, str], float]:
    random = np.random.default_rng(seed)
    return {
        (rows, str(of)): 0.9 - scale * rows**-exponent + random.normal(0, noise)
        for rows in SIZES
        for of in range(3)
    }


def test_a_power_law_is_found_again() -> None:
    scores = drawn(0.0, 0)
    fit = fit_power_law([rows for rows, _ in scores], [*scores.values()], F1)
    gain = 4 * (1600**-0.5 - 3200**-0.5)
    assert fit.exponent == pytest.approx(0.5, abs=0.04)
    assert fit.gain == pytest.approx(gain, rel=0.02)
    assert fit.rows[0] == 100 and fit.rows[-1] == pytest.approx(3200)
    assert fit.middle[-1] == pytest.approx(0.9 - 4 * 3200**-0.5, abs=1e-3)


def test_the_interval_holds_the_true_gain_as_often_as_it_says() -> None:
    gain = 4 * (1600**-0.5 - 3200**-0.5)
    held = 0
    for seed in range(40):
        scores = drawn(0.01, seed)
        fit = fit_power_law([rows for rows, _ in scores], [*scores.values()], F1)
        held += fit.gain_interval[0] <= gain <= fit.gain_interval[1]
    assert held >= 34  # of 38


def test_a_loss_falls_and_no_error_is_below_zero() -> None:
    scores = {(rows, str(n)): 3 * rows**-0.5 for rows in SIZES for n in range(2)}
    (curve,) = curves_of(board(scores, LOSS))
    assert curve.fit and curve.fit.gain == pytest.approx(3 * (1600**-0.5 - 3200**-0.5), rel=0.02)
    assert min(curve.fit.low) >= 0
    assert re.search(r"would change loss by -0\.02\d \(95% interval -0\.02", curve.told)
    assert curve.told.endswith(": more rows help")


@pytest.mark.parametrize(
    ("scores", "meaning"),
    [
        (drawn(0.002, 1), "more rows help"),
        (drawn(0.002, 2, scale=0.0), "more rows would hardly help"),
        (drawn(0.08, 3), "whether more rows would help cannot be told from these runs"),
    ],
)
def test_sentences_are_true_of_their_interval(
    scores: dict[tuple[int, str], float], meaning: str
) -> None:
    (curve,) = curves_of(board(scores))
    assert curve.fit and curve.told.endswith(f": {meaning}")
    low, high = map(float, re.findall(r"([-+]\d\.\d+) to ([-+]\d\.\d+)", curve.told)[0])
    assert (round(curve.fit.gain_interval[0], 3), round(curve.fit.gain_interval[1], 3)) == (
        low,
        high,
    )
    assert "twice the training rows, 3,200 for 1,600, would change macro_f1" in curve.told


def test_nothing_is_said_of_too_few_runs() -> None:
    few = {key: score for key, score in drawn(0.01, 0).items() if key[0] < 800}
    (curve,) = curves_of(board(few))
    assert curve.fit is None
    assert curve.told == (
        "what more rows would bring is not said: that takes 4 numbers of training rows and 6 runs,"
        " and there are 3 and 9"
    )
    one_seed = {key: score for key, score in drawn(0.01, 0).items() if key[1] == "0"}
    (curve,) = curves_of(board(one_seed))
    assert curve.fit is None and "there are 5 and 5" in curve.told


def test_each_model_has_its_curve_and_a_limit_above_what_there_is_counts_once() -> None:
    both = [board(drawn(0.01, seed), model=name).entries for seed, name in enumerate(("a", "b"))]
    again = Entry(
        number=99, varies={"model": "a", "data.max_rows": "null", "seed": "0"}, name="job-99",
        state=State.completed, validation={"macro_f1": 0.8}, train_rows=1600,
    )  # fmt: skip
    entries = [*both[0], *(replace(of, number=of.number + 20) for of in both[1]), again]
    found = curves_of(Leaderboard("s", F1, ("model", "data.max_rows", "seed"), ranked(entries, F1)))
    assert [of.name for of in found] == ["model=a", "model=b"]
    assert [len(of.rows) for of in found] == [15, 15]
    assert found[0].told.startswith("model=a: twice the training rows")


def test_a_sweep_of_something_else_has_none() -> None:
    runs = board(drawn(0.01, 0))
    other = Leaderboard("sweep", F1, ("lr", "seed"), runs.configurations)
    assert curves_of(other) == [] and with_told(other).notes == ()


def test_terminal_json_and_page_tell_the_same(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    trials = []
    for rows in (25, 50, 100, 200):
        for seed in ("1", "2"):
            varies = {"data.max_rows": str(rows), "seed": seed}
            score = 0.8 - rows**-0.5 + 0.01 * int(seed)
            trials.append((varies, State.completed, score))
            typed = [f"{key}={value}" for key, value in varies.items()]
            make_run(runs / f"job-{len(trials)}", *typed, validation=score, trained=rows)
    found = leaderboard([str(make_sweep(runs / "curve", trials))])
    (told,) = [note for note in found.notes if "twice the training rows" in note]
    assert "3,600 for 1,800" in told  # of three classes in three languages
    from lingotune.launch.results.compare import compare

    comparison = compare(found.ranked)
    assert told in for_terminal(found, comparison) and told in as_json(found, comparison)
    page = page_of(found, found.folder or runs)
    assert page.count(told) == 1 and "macro_f1 by training rows" in page
    assert "macro_f1 by data.max_rows" not in page
