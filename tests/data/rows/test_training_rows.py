"""The choice of the rows that are trained on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.problems import ConfigError
from lingotune.config.schema import DataConfig, SelectMetric
from lingotune.data.rows.training_rows import (
    check_select,
    chosen_places,
    count_trained,
    limit_warnings,
)

KINDS = st.lists(st.tuples(st.sampled_from(["de", "en"]), st.integers(0, 2)), max_size=40)


@given(KINDS, st.integers(1, 6))
def test_fewer_rows_are_among_more_and_each_kind_has_its_number(
    kinds: list[tuple[str, int]], most: int
) -> None:
    ids = [f"id-{n}" for n in range(len(kinds))]
    few, more = (chosen_places(kinds, ids, n) for n in (most, most + 1))
    assert set(few) <= set(more) and few == sorted(few)
    for kind in set(kinds):
        taken = sum(kinds[place] == kind for place in few)
        assert taken == min(most, kinds.count(kind))


@given(KINDS, st.integers(1, 6), st.randoms())
def test_the_order_of_the_rows_changes_nothing(
    kinds: list[tuple[str, int]], most: int, random: object
) -> None:
    rows = [(kind, f"id-{n}") for n, kind in enumerate(kinds)]
    mixed = list(rows)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    chosen = [
        {of[place][1] for place in chosen_places([k for k, _ in of], [i for _, i in of], most)}
        for of in (rows, mixed)
    ]
    assert chosen[0] == chosen[1]


def test_rows_are_counted_by_language_and_class() -> None:
    rows = {"de": {0: 10, 1: 3}, "en": {0: 2}}
    for settings, count in [
        ({}, 15),
        ({"max_rows": 4}, 9),
        ({"train_languages": ["German"]}, 13),
        ({"train_languages": ["de"], "max_rows": 4}, 7),
    ]:
        assert count_trained(DataConfig(**settings), rows) == count  # type: ignore[arg-type]


def test_a_language_without_training_rows_is_told() -> None:
    with pytest.raises(ConfigError) as error:
        count_trained(DataConfig(train_languages=["en", "fr"]), {"de": {0: 1}, "en": {0: 1}})
    (problem,) = error.value.problems
    assert problem.what == "no training row is in fr; there are de, en"
    assert problem.fix == "'data.train_languages=[en]'"


def test_a_limit_above_every_class_is_told() -> None:
    rows = {"de": {0: 10, 1: 3}, "en": {0: 20}}
    told = limit_warnings(DataConfig(max_rows=20), rows)
    assert told == [
        "data.max_rows=20 leaves out no row: no class of a language has more than 20 training rows"
    ]
    assert limit_warnings(DataConfig(max_rows=20, train_languages=["de"]), rows)
    assert limit_warnings(DataConfig(max_rows=19), rows) == limit_warnings(DataConfig(), rows) == []


@pytest.mark.parametrize(
    ("select", "validation", "works"),
    [
        ("unseen_macro_f1", {"de", "en"}, True),
        ("unseen_macro_f1", {"de"}, True),
        ("unseen_macro_f1", {"en"}, False),
        ("seen_macro_f1", {"de", "en"}, True),
        ("seen_macro_f1", {"de"}, False),
        ("seen_macro_f1", {"en"}, False),
        ("macro_f1", {"en"}, True),
    ],
)
def test_a_checkpoint_is_chosen_by_rows_that_there_are(
    select: str, validation: set[str], works: bool
) -> None:
    if works:
        check_select(SelectMetric[select], {"en"}, validation)
        return
    with pytest.raises(ConfigError) as error:
        check_select(SelectMetric[select], {"en"}, validation)
    (problem,) = error.value.problems
    assert (
        problem.where == f"evaluation.select={select}"
        and problem.fix == "evaluation.select=macro_f1"
    )
