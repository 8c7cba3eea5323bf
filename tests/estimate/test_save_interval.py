"""The interval between checkpoints that loses least on spot capacity, and what others lose."""

from __future__ import annotations

import math

import pytest
from conftest import compose
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.jobfile import job_of
from lingotune.config.schema import JobConfig
from lingotune.estimate.batch import StepPlan
from lingotune.estimate.run_time import TimeEstimate
from lingotune.estimate.save_interval import (
    BETWEEN_INTERRUPTIONS,
    DISK_RATE,
    SaveInterval,
    check_interval,
    save_interval,
)

STEPS = StepPlan(160_000, 10_000, 30_000, 0, ())
SPOT = ["cluster=p3_16xl", "cluster.spot=true", "model=distilbert_multilingual"]


def job(*typed: str) -> JobConfig:
    return job_of(compose(*SPOT, *typed))


def measured(save_seconds: float | None = 4.0) -> TimeEstimate:
    return TimeEstimate(7000, 6000, 900, 100, 400, "1 run", (), save_seconds)


@given(st.floats(0.1, 600), st.floats(0.01, 10), st.floats(3600, 1e6), st.floats(0.1, 10))
def test_no_other_interval_loses_less(
    save: float, update: float, between: float, times: float
) -> None:
    found = SaveInterval(save, update, between, 1, "measured")
    other = max(1, round(found.best * times))
    assert found.lost(found.best) <= found.lost(other) * 1.001 or found.best == 1


def test_by_hand_from_a_measured_run() -> None:
    """4 s to save and 8 h between interruptions: every 480 s, which are 2 400 updates of 0.2 s."""
    found = save_interval(job(), STEPS, measured(), None)
    assert found and found.best == 2400 == round(math.sqrt(2 * 4 * BETWEEN_INTERRUPTIONS) / 0.2)
    assert found.now == 10_000 and found.lost(2400) == pytest.approx(4 / 480 + 240 / 28800)
    planned, least = found.lines(usd=100)
    assert planned.startswith("checkpoints every 10000 updates (33 min)") and "USD" in planned
    assert "training.save_steps=2400 = sqrt(2 x 4.0 s to save (measured) x 8 h 00 min" in least
    assert "(assumed)" in least


def test_without_a_run_that_counted_them_the_disk_takes_its_time() -> None:
    found = save_interval(job(), STEPS, measured(None), None)
    on_paper = save_interval(job(), STEPS, None, 0.2)
    assert found and on_paper and found == on_paper
    assert found.save_seconds == pytest.approx(16 * 135e6 / DISK_RATE, rel=0.02)
    two = save_interval(job("cluster.nodes=2"), STEPS, None, 0.2)
    assert two and two.between == BETWEEN_INTERRUPTIONS / 2


def test_nothing_is_derived_where_nothing_is_known_or_nothing_is_interrupted() -> None:
    assert save_interval(job(), STEPS, None, None) is None
    assert save_interval(job("cluster.spot=false"), STEPS, measured(), None) is None


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ([], True),  # an epoch of 33 minutes: 3.7 % instead of 1.7 %
        (["training.save_steps=5000"], False),
        (["training.save_steps=2000"], False),
        (["training.save_steps=100"], True),  # 20 % of the time to save
        (["training.eval_strategy=steps", "training.eval_steps=30000"], True),
        (
            ["training.eval_strategy=steps", "training.eval_steps=100"],
            False,
        ),  # each scored one is saved
    ],
)
def test_what_is_set_is_judged_by_what_it_loses(typed: list[str], told: bool) -> None:
    of = job(*typed)
    problems = check_interval(of, save_interval(of, STEPS, measured(), None), STEPS)
    assert [p.fix for p in problems] == ["training.save_steps=2400"] * told
    for problem in problems:
        mended = job(*typed, problem.fix)
        assert not check_interval(mended, save_interval(mended, STEPS, measured(), None), STEPS)


def test_a_run_that_is_shorter_than_the_best_interval_is_fine() -> None:
    short = StepPlan(1600, 100, 300, 0, ())
    found = SaveInterval(4.0, 0.2, BETWEEN_INTERRUPTIONS, 100, "measured")
    assert check_interval(job(), found, short) == []
