"""Which split a row goes to: shares, strata, groups and duplicates, over generated rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lingotune.data.splits.carve import (
    INPUTS,
    REMOVED,
    Keys,
    choose_splits,
    hash_group,
    hash_text,
    repeated_in,
)
from lingotune.data.splits.rules import duplicate_warnings
from lingotune.system.arrays import mixed

SHARES = {"validation": 0.1, "test": 0.2}


def keys_of(rows: list[tuple[int, int, int, int]], source: str = "all") -> Keys:
    """From (text, group, label, language); the source is the same for all."""
    text, group, label, language = (np.array(c) for c in zip(*rows)) if rows else [np.array([])] * 4
    return Keys(
        text.astype(np.uint64),
        group.astype(np.uint64),
        label.astype(np.int16),
        language.astype(np.int16),
        np.full(len(rows), INPUTS.index(source), np.int8),
    )


rows = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(0, 2), st.integers(0, 2)),
    min_size=1,
    max_size=120,
)
shares = st.fixed_dictionaries(
    {}, optional={"validation": st.floats(0, 0.45), "test": st.floats(0, 0.45)}
)


@given(rows, shares, st.integers(0, 2**32 - 1))
def test_groups_stay_together_and_nothing_is_lost(
    found: list[tuple[int, int, int, int]], wanted: dict[str, float], seed: int
) -> None:
    keys = keys_of(found)
    chosen = choose_splits(keys, wanted, seed, unique=False)
    assert chosen.min() >= 0 and len(chosen) == len(found)
    for group in set(keys.group.tolist()):
        assert len(set(chosen[keys.group == group].tolist())) == 1
    assert (chosen == 0).any()  # train keeps something


@given(rows, shares, st.integers(0, 2**32 - 1))
def test_a_text_of_several_groups_is_in_one_split_too(
    found: list[tuple[int, int, int, int]], wanted: dict[str, float], seed: int
) -> None:
    keys = keys_of(found)
    loose = choose_splits(keys, wanted, seed, unique=False)
    chosen = choose_splits(keys, wanted, seed, unique=True)
    last = {text: loose[keys.text == text].max() for text in keys.text.tolist()}
    expected = [s if s == last[t] else REMOVED for s, t in zip(loose, keys.text.tolist())]
    assert chosen.tolist() == expected
    assert repeated_in(keys.text, chosen) == repeated_in(keys.group, chosen) == []


@given(rows, st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(
    found: list[tuple[int, int, int, int]], seed: int
) -> None:
    shuffled = np.random.default_rng(seed).permutation(len(found))
    straight = choose_splits(keys_of(found), SHARES, seed, unique=False)
    other = choose_splits(keys_of([found[i] for i in shuffled]), SHARES, seed, unique=False)
    assert straight[shuffled].tolist() == other.tolist()


@given(st.integers(30, 400), st.integers(0, 2**32 - 1))
def test_single_rows_are_carved_to_the_row(count: int, seed: int) -> None:
    found = [(n, n, n % 3, n % 2) for n in range(count)]
    chosen = choose_splits(keys_of(found), SHARES, seed, unique=True)
    counts = Counter(chosen.tolist())
    assert counts[1] == int(count * 0.1 + 0.5) and counts[2] == int(count * 0.2 + 0.5)
    for label in range(3):
        for language in range(2):
            at = [n for n in range(count) if (n % 3, n % 2) == (label, language)]
            assert abs((chosen[at] == 2).sum() - len(at) * 0.2) <= 1


def test_another_seed_chooses_other_rows() -> None:
    keys = keys_of([(n, n, 0, 0) for n in range(200)])
    first, second = (choose_splits(keys, SHARES, seed, unique=False) for seed in (1, 2))
    assert (first != second).sum() > 20
    assert (choose_splits(keys, SHARES, 1, unique=False) == first).all()


given_rows = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1, max_size=80)


@given(given_rows)
def test_a_text_stays_in_the_last_of_its_splits(found: list[tuple[int, int]]) -> None:
    text = np.array([t for t, _ in found], np.uint64)
    source = np.array([s for _, s in found], np.int8)
    zeros = np.zeros(len(found), np.int16)
    chosen = choose_splits(Keys(text, text, zeros, zeros, source), {}, 0, unique=True)
    last = {t: max(s for other, s in found if other == t) for t, _ in found}
    expected = [s if s == last[t] else REMOVED for t, s in found]
    assert chosen.tolist() == expected


def test_what_splits_have_in_common_is_counted() -> None:
    """Four groups (1 to 4) over given splits, and rows of none, whose texts are theirs alone."""
    source = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2], np.int8)
    text = np.arange(100, 109, dtype=np.uint64)
    text[8] = 100
    group = np.array([1, 2, 102, 2, 104, 1, 2, 4, 100], np.uint64)
    zeros = np.zeros(9, np.int16)
    keys = Keys(text, group, zeros, zeros, source)
    chosen = choose_splits(keys, {}, 0, unique=False)
    in_train = "also in train: its scores flatter the model"
    assert list(duplicate_warnings(keys, chosen)) == [
        ("test", f"1 of its 4 texts is {in_train}"),
        ("validation", f"1 of its 1 groups (data.columns.group) is {in_train}"),
        ("test", f"2 of its 3 groups (data.columns.group) are {in_train}"),
        ("test", "1 of its 3 groups (data.columns.group) is also in validation: its scores"
         " flatter the model"),
    ]  # fmt: skip


def test_a_group_is_no_text() -> None:
    assert hash_group("B001") == hash_group("B001") != hash_text("B001")


def test_what_is_carved_comes_out_of_train_where_splits_are_given() -> None:
    source = np.array([0] * 90 + [2] * 10, np.int8)
    text = np.arange(100, dtype=np.uint64)
    zeros = np.zeros(100, np.int16)
    chosen = choose_splits(
        Keys(text, text, zeros, zeros, source), {"validation": 0.1}, 3, unique=True
    )
    assert Counter(chosen.tolist()) == {0: 81, 1: 9, 2: 10}
    assert (chosen[90:] == 2).all()


@given(st.lists(st.integers(0, 2**64 - 1), unique=True), st.integers(0, 2**32 - 1))
def test_the_hash_keeps_values_apart(values: list[int], seed: int) -> None:
    assert len(set(mixed(np.array(values, np.uint64), seed).tolist())) == len(values)
