"""Which configurations that were ended early go on after all."""

from __future__ import annotations

import math

import pytest

from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.taking_up import TakingUp

NAN = math.nan
CURVES = {
    "best": [0.1, 0.6, 0.7, 0.8], "second": [0.1, 0.5], "third": [0.1, 0.4],
    "first only": [0.9], "nan": [0.1, NAN], "last": [0.1, 0.2],
}  # fmt: skip


@pytest.mark.parametrize(
    ("ended", "reduction", "chosen"),
    [
        ({"second", "third", "last", "nan", "first only"}, 2, "second"),
        ({"third", "last"}, 2, None),
        ({"second"}, 3, None),
        ({"first only", "nan"}, 2, None),
        (set(), 2, None),
    ],
    ids=[
        "the better",
        "outside of the best half",
        "of the best third",
        "no rung, no score",
        "none",
    ],
)
def test_the_best_share_at_the_rung_of_the_end_goes_on(
    ended: set[str], reduction: int, chosen: str | None
) -> None:
    rule = TakingUp(2, reduction, Metric("macro_f1"))
    assert rule.choose(sorted(ended), CURVES, {"best"}) == chosen


def test_a_long_hopeless_one_is_compared_with_shorter_ones_that_have_completed() -> None:
    """Those with fewer evaluations came to their end before its rung."""
    short = {f"short {n}": [0.5, 0.6] for n in range(4)}
    long = {"long": [0.1] * 8, "as long": [0.1] * 8}
    rule = TakingUp(2, 2, Metric("macro_f1"))
    assert rule.choose(["long"], {**short, **long}, short) is None
    assert rule.choose(["long"], {**short, **long}, ()) == "long"


def test_less_of_a_loss_is_better_and_the_farthest_comes_first() -> None:
    curves = {"far": [9.0, 2.0, 2.0, 1.0], "near": [9.0, 0.5], "other": [9.0, 3.0, 3.0, 3.0],
              "more": [9.0, 4.0]}  # fmt: skip
    rule = TakingUp(2, 2, Metric("loss", False))
    assert rule.choose(["near", "far"], curves, ()) == "far"
    assert rule.choose(["near"], curves, ()) == "near"
