"""What an epoch draws: shares, rotation, and weights in the loss."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingotune.data.loader.sampling import Sampling, class_weights, plan_sampling

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=200)
ALPHA = st.floats(0, 1)


def sampled(rows: list[tuple[int, int]], alpha: float | None, resample: bool) -> Sampling | None:
    language, label = np.array(rows, np.int64).T
    return plan_sampling(
        label, language.astype(np.int16), language_alpha=alpha, resample=resample, seed=7
    )


@given(ROWS, ALPHA, st.booleans())
@settings(max_examples=200)
def test_an_epoch_has_as_many_draws_as_rows_of_every_stratum(
    rows: list[tuple[int, int]], alpha: float, resample: bool
) -> None:
    sampling = sampled(rows, alpha, resample)
    if sampling is None:
        assert alpha == 1 and not resample
        return
    for epoch in range(3):
        drawn = [rows[n] for n in sampling.places(epoch).tolist()]
        assert len(drawn) == len(rows) and set(drawn) == set(rows)
        assert Counter(drawn) == sampling.counts()


@given(ROWS, ALPHA, st.booleans(), st.integers(1, 7))
@settings(max_examples=200)
def test_rows_of_a_stratum_are_drawn_equally_often(
    rows: list[tuple[int, int]], alpha: float, resample: bool, epochs: int
) -> None:
    sampling = sampled(rows, alpha, resample)
    if sampling is None:
        return
    times = Counter(n for epoch in range(epochs) for n in sampling.places(epoch).tolist())
    for kind in set(rows):
        of_kind = [times[n] for n, row in enumerate(rows) if row == kind]
        assert max(of_kind) - min(of_kind) <= 1


def rows_of(sizes: dict[tuple[int, int], int]) -> list[tuple[int, int]]:
    return [kind for kind, count in sizes.items() for _ in range(count)]


SIZES = {(0, 0): 8000, (0, 1): 2000, (1, 0): 600, (1, 1): 400, (2, 1): 100}
ROOTS = 100 + 1000**0.5 + 10


@pytest.mark.parametrize(
    ("alpha", "resample", "shares"),
    [
        (0.0, False, {(0, 0): 0.8 / 3, (0, 1): 0.2 / 3, (1, 0): 0.2, (1, 1): 0.4 / 3, (2, 1): 1 / 3}),
        (1.0, True, {(0, 0): 5 / 11.1, (0, 1): 5 / 11.1, (1, 0): 0.5 / 11.1, (1, 1): 0.5 / 11.1,
                     (2, 1): 0.1 / 11.1}),
        (0.5, False, {(0, 0): 80 / ROOTS, (0, 1): 20 / ROOTS, (1, 0): 0.6 * 1000**0.5 / ROOTS,
                      (1, 1): 0.4 * 1000**0.5 / ROOTS, (2, 1): 10 / ROOTS}),
        (0.0, True, {(0, 0): 1 / 6, (0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 6, (2, 1): 1 / 3}),
    ],
)  # fmt: skip
def test_shares(alpha: float, resample: bool, shares: dict[tuple[int, int], float]) -> None:
    sampling = sampled(rows_of(SIZES), alpha, resample)
    assert sampling is not None
    total = sum(SIZES.values())
    for kind, count in sampling.counts().items():
        assert count == pytest.approx(total * shares[kind], abs=1)


@given(ROWS, ALPHA, st.booleans())
@settings(max_examples=200)
def test_shares_are_met_to_the_row_but_for_strata_of_less_than_one(
    rows: list[tuple[int, int]], alpha: float, resample: bool
) -> None:
    sampling = sampled(rows, alpha, resample)
    if sampling is None:
        return
    of, languages = Counter(rows), Counter(language for language, _ in rows)
    whole = sum(count**alpha for count in languages.values())
    expected = {}
    for language, label in of:
        classes = [count for (other, _), count in of.items() if other == language]
        within = 1 / len(classes) if resample else of[language, label] / languages[language]
        expected[language, label] = len(rows) * languages[language] ** alpha / whole * within
    spare = sum(max(0.0, 1 - exact) for exact in expected.values())
    for kind, count in sampling.counts().items():
        assert count < expected[kind] + 1.001
        assert count > expected[kind] - 1.001 - spare


def test_a_stratum_of_less_than_one_draw_has_one_at_the_others_expense() -> None:
    rows = rows_of({(0, 0): 5000, (0, 1): 1, (1, 0): 4999})
    sampling = sampled(rows, 0.0, False)
    assert sampling is not None
    assert sampling.counts() == {(0, 0): 4999, (0, 1): 1, (1, 0): 5000}


def test_as_they_are() -> None:
    assert sampled([(0, 0), (1, 1)], None, False) is None
    assert sampled([(0, 0), (1, 1)], 1.0, False) is None


def test_the_same_in_another_process_and_another_with_another_seed() -> None:
    code = """
import numpy as np
from lingotune.data.loader.sampling import plan_sampling
label, language = np.arange(1000) % 3, np.arange(1000) % 7 // 3
s = plan_sampling(label, language, language_alpha=0.3, resample=True, seed=7)
print(s.places(2).tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    label, language = np.arange(1000) % 3, np.arange(1000) % 7 // 3
    given: dict[str, Any] = {"language_alpha": 0.3, "resample": True}
    here = plan_sampling(label, language, **given, seed=7)
    other = plan_sampling(label, language, **given, seed=8)
    assert here is not None and other is not None
    assert done.stdout.strip() == str(here.places(2).tolist())
    assert sorted(other.places(0).tolist()) != sorted(here.places(0).tolist())


def test_the_draws_of_every_numpy() -> None:
    """A job that goes on elsewhere, with another image's numpy, goes on with these very rows."""
    rows = [(0, 0), (0, 1), (0, 0), (1, 1), (0, 0), (0, 1), (0, 0), (0, 0)]
    sampling = sampled(rows, 0.3, True)
    assert sampling is not None
    assert [sampling.places(epoch).tolist() for epoch in (0, 1, 7)] == [
        [6, 7, 0, 5, 1, 3, 3, 3],
        [2, 4, 6, 5, 1, 3, 3, 3],
        [7, 0, 2, 5, 1, 3, 3, 3],
    ]


def test_epochs_go_on_where_the_last_one_ended() -> None:
    sampling = sampled(rows_of({(0, 0): 10, (1, 0): 4}), 0.0, False)
    assert sampling is not None and sampling.counts() == {(0, 0): 7, (1, 0): 7}
    large = [n for epoch in range(10) for n in sampling.places(epoch).tolist() if n < 10]
    assert sorted(large[:10]) == list(range(10)) and large == large[:10] * 7


@given(st.lists(st.integers(0, 4), min_size=1, max_size=100))
def test_weights_are_one_on_average_and_make_classes_alike(label: list[int]) -> None:
    weights = class_weights(np.array(label), 6)
    assert len(weights) == 6 and np.mean(weights[label]) == pytest.approx(1)
    sums = [weights[c] * label.count(c) for c in set(label)]
    assert sums == pytest.approx([len(label) / len(set(label))] * len(sums))
    assert all(weights[c] == 0 for c in range(6) if c not in label)
