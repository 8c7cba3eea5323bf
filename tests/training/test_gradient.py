"""The gradient of an update is the mean over its global batch, however that is split."""

from __future__ import annotations

from pathlib import Path

import pytest
from gradients import models, update, worst


@pytest.mark.parametrize(
    "kind",
    [
        "distilbert",
        *(pytest.param(k, marks=pytest.mark.slow) for k in models() if k != "distilbert"),
    ],
)
def test_any_split_into_processes_and_parts_gives_the_full_batchs_gradient(
    kind: str, tmp_path: Path
) -> None:
    assert worst([kind], tmp_path)[kind] < 1e-5


def test_without_the_guard_the_gradient_is_multiplied(tmp_path: Path) -> None:
    """The fault is still there to be guarded; once it is not, the guard can go."""
    whole = update("bert", tmp_path / "whole")
    wrong = update("bert", tmp_path / "wrong", accumulation=4, guarded=False)
    assert (wrong.norm() / whole.norm()).item() == pytest.approx(4.0, rel=1e-3)
