"""Groups of rows and pairs of classes, against their definitions counted one by one."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lingotune.evaluation.breakdown import (
    by_length,
    by_value,
    hardest_pairs,
    similar_together,
    wilson,
)
from lingotune.evaluation.metrics import Classes, Predictions

CLASSES = Classes(("bad", "fair", "good"))
CONFUSIONS = st.integers(2, 9).flatmap(
    lambda size: arrays.arrays(np.int64, (size, size), elements=st.integers(0, 30))
)


def said(true: list[int], predicted: list[int]) -> Predictions:
    shares = np.eye(3)[predicted]
    rows = len(true)
    return Predictions(np.array(true), shares, np.full(rows, "de", object), np.full(rows, np.nan))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=80))
def test_quarters_of_lengths_hold_every_row_once_and_do_not_overlap(lengths: list[int]) -> None:
    rows = len(lengths)
    found = by_length(said([0] * rows, [0] * rows), np.array(lengths), CLASSES)
    assert sum(of.rows for of in found.values()) == rows and len(found) <= 4
    ends = [tuple(map(int, (name.split("-") * 2)[:2])) for name in found]
    ends = [(low, high if "-" in name else low) for (low, high), name in zip(ends, found)]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    for (low, high), of in zip(ends, found.values()):
        assert of.rows == sum(low <= length <= high for length in lengths)


def test_quarters_of_different_lengths_are_quarters() -> None:
    found = by_length(said([0] * 80, [0] * 40 + [1] * 40), np.arange(80), CLASSES)
    assert {name: (of.rows, of.accuracy) for name, of in found.items()} == {
        "0-19": (20, 1.0), "20-39": (20, 1.0), "40-59": (20, 0.0), "60-79": (20, 0.0),
    }  # fmt: skip


def test_values_are_in_the_order_of_numbers_and_rows_without_one_are_left_out() -> None:
    found = by_value(said([0, 1, 2, 2], [0, 1, 0, 2]), ["10", "2", "", "b"], CLASSES)
    assert [(name, of.rows, of.accuracy) for name, of in found.items()] == [
        ("2", 1, 1.0), ("10", 1, 1.0), ("b", 1, 1.0),
    ]  # fmt: skip


def test_intervals_of_shares() -> None:
    # Newcombe 1998 (doi 10.1002/(SICI)1097-0258(19980430)17:8<857), table I, method 3.
    for hits, rows, expected in [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)),
                                 (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))]:  # fmt: skip
        assert wilson(hits, rows) == pytest.approx(expected, abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@given(CONFUSIONS)
def test_pairs_are_those_with_the_most_errors(confusion: Any) -> None:
    found = hardest_pairs(confusion, 3)
    errors = {
        (a, b): int(confusion[a, b] + confusion[b, a])
        for a, b in combinations(range(len(confusion)), 2)
    }
    most = sorted((count for count in errors.values() if count), reverse=True)[:3]
    assert [errors[pair.first, pair.second] for pair in found] == most
    for pair in found:
        assert pair.as_second == confusion[pair.first, pair.second]
        assert pair.as_first == confusion[pair.second, pair.first]
        count = errors[pair.first, pair.second]
        assert pair.share == pytest.approx(count / sum(errors.values()))


@given(CONFUSIONS)
def test_the_order_has_every_class_once(confusion: Any) -> None:
    assert sorted(similar_together(confusion)) == [*range(len(confusion))]


def test_classes_that_are_confused_are_neighbours() -> None:
    families = np.arange(30) % 5
    confusion = 2 * (families[:, None] == families[None, :]) + 90 * np.eye(30, dtype=int)
    ordered = families[similar_together(confusion)]
    assert (
        sum(a != b for a, b in pairwise(ordered.tolist())) == 4
    )  # five families, each in one piece
