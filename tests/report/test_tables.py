"""Tables of scores for the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from results import results_for

from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.report.tables import sweep_table
from lingotune.runs.results import RunResults


def scored(right: bool) -> RunResults:
    """A run of two rows, all right or all wrong, and half right on validation."""
    shares, languages = np.eye(2), np.array(["de", "en"], object)
    true = np.array([0, 1] if right else [1, 0])
    test = results_for(
        Predictions(true, shares, languages, np.full(2, np.nan)), Classes(("a", "b")), 0
    )
    half = Predictions(np.array([0, 0]), shares, languages, np.full(2, np.nan))
    return replace(test, validation=results_for(half, Classes(("a", "b")), 0).validation)


def test_runs_are_compared_by_a_split_that_all_have() -> None:
    runs = [("seed=1", scored(True), Path("one")), ("seed=2", scored(False), Path("two"))]
    first, second = sweep_table(runs).splitlines()[1:]
    assert "1.000" in first and "*" in first and "0.000" in second
    name, results, folder = runs[0]
    untested = (name, replace(results, test=None), folder)
    first, second, note = sweep_table([untested, runs[1]]).splitlines()[1:]
    assert "0.500" in first and "0.500" in second
    assert note == "scores of the validation split: not every run has a test split"
