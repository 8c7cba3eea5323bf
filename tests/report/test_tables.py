"""Score tables at the width of a terminal."""

from __future__ import annotations

import numpy as np
import pytest

from lingotune.evaluation.metrics import Classes, Predictions, scores_by_language
from lingotune.report.tables import score_table
from lingotune.runs.results import LanguageScores


@pytest.fixture(scope="module")
def scored() -> LanguageScores:
    labels = np.arange(60) % 3
    languages = np.array(["de", "fr"] * 30, dtype=object)
    stars = np.array([1.0, 3.0, 5.0])[labels]
    found = Predictions(labels, np.eye(3)[(labels + labels // 2) % 3], languages, stars)
    return scores_by_language(found, Classes(("bad", "so", "good"), (1.0, 3.0, 5.0)), 20)


@pytest.mark.parametrize(
    ("width", "dropped"),
    [
        (None, ()),
        (120, ()),
        (95, ("calibration",)),
        (80, ("calibration", "majority")),
        (60, ("calibration", "majority", "stars off")),
    ],
)
def test_columns_at_a_width(
    width: int | None, dropped: tuple[str, ...], scored: LanguageScores
) -> None:
    table = score_table(scored, width)
    head = table.splitlines()[0]
    for name in ("calibration", "majority", "stars off"):
        assert (name in head) is (name not in dropped)
    assert "macro-F1" in head and "accuracy" in head
    assert width is None or all(len(line) <= width for line in table.splitlines())
    told = f"{', '.join(dropped)}: in the report"
    assert (told in " ".join(table.split())) is bool(dropped)
