"""Pairs of texts: read, compared and drawn out of their source as pairs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lingotune.config.problems import ConfigError
from lingotune.config.schema import (
    ColumnsConfig,
    DataConfig,
    LabelConfig,
    OnError,
    SampleConfig,
    Source,
)
from lingotune.data.rows.cleaner import Texts
from lingotune.data.rows.findings import Unfit
from lingotune.data.rows.pairs import columns_of, displayed, joined, parts_of
from lingotune.data.sources.sample_lexicon import LEXICONS
from lingotune.data.sources.sample_pairs import HEADLINES, pair_rows
from lingotune.data.splits.readers import readers_of
from lingotune.data.splits.scan import scan
from lingotune.data.splits.survey import survey

COLUMNS = ColumnsConfig(text="premise", text_pair="hypothesis", label="relation", title="head")
PLAIN = replace(COLUMNS, title=None)


def data_of(file: Path, rows: list[dict[str, Any]], **settings: Any) -> DataConfig:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    labels = [LabelConfig("yes"), LabelConfig("no")]
    given = {"columns": PLAIN, "labels": labels, "source": Source.files, **settings}
    return DataConfig(name="pairs", path=str(file), **given)


def row(premise: Any, hypothesis: Any, relation: str = "yes") -> dict[str, Any]:
    return {"premise": premise, "hypothesis": hypothesis, "relation": relation}


def test_a_pair_is_one_text_with_a_mark_that_no_text_can_have() -> None:
    pair = joined("a", "b")
    assert parts_of(pair) == ["a", "b"] and parts_of("a") == ["a"] == [joined("a")]
    assert columns_of([pair, joined("c d", "e")]) == (["a", "c d"], ["b", "e"])
    assert columns_of(["a", "b"]) == (["a", "b"], None) and columns_of([]) == ([], None)
    assert displayed(pair) == "a ‖ b"
    with pytest.raises(Unfit, match="NUL"):
        Texts(PLAIN, normalize=True).of(row("a\0b", "c"))


def test_both_texts_are_prepared_and_the_title_belongs_to_the_first() -> None:
    texts = Texts(COLUMNS, normalize=True)
    assert texts.of({**row("e\u0301", "e\u0301"), "head": "T"}) == "T\né\0é"
    for wrong, reason in (
        (row("", "b"), "empty-text"),
        (row("a", " \u200b"), "empty-text-pair"),
        (row("a", None), "empty-text-pair"),
        (row("a", 7), "not-text-pair"),
    ):
        with pytest.raises(Unfit, match=r"in '(premise|hypothesis)'") as raised:
            texts.of(wrong)
        assert raised.value.reason == reason


def test_a_column_that_is_missing_is_told_with_the_one_that_is_meant(tmp_path: Path) -> None:
    rows = [{"premise": "a", "sentence2": "b", "relation": "yes"}] * 3
    data = data_of(tmp_path / "a.jsonl", rows)
    with pytest.raises(ConfigError) as raised:
        scan(readers_of(data), data, print, print)
    (problem,) = raised.value.problems
    assert problem.where == "data.columns.text_pair=hypothesis"
    assert problem.fix == "data.columns.text_pair=sentence2, or data.columns.text_pair=null"


def test_a_row_without_its_second_text_is_left_out(tmp_path: Path) -> None:
    rows = [row("a", f"b{n}", ("yes", "no")[n % 2]) for n in range(9)] + [row("a", "")]
    lenient = {"on_error": OnError.skip, "max_rejected": 0.5}
    data = data_of(tmp_path / "a.jsonl", rows, **lenient)
    told: list[Any] = []
    found = scan(readers_of(data), data, told.append, lambda row: None)
    assert found.counts["all"].rejected == {"empty-text-pair": 1}
    assert [one.reason for one in told] == ["empty-text-pair"]


def test_pairs_are_duplicates_where_both_texts_are_the_same(tmp_path: Path) -> None:
    """A premise with two hypotheses makes two pairs; the same pair is in one split only."""
    rows = [row("one", f"h{n % 20}", ("yes", "no")[n % 2]) for n in range(60)]
    rows.append(row("one", "h1", "yes"))  # no in three other rows
    kept: list[Any] = []
    data = data_of(tmp_path / "a.jsonl", rows)
    found = survey(data, 0, lambda row: None, kept.append, kept)
    by_split: dict[int, set[str]] = {}
    for one, split in found.rows(kept):
        by_split.setdefault(split, set()).add(one.text)
    assert len(set.union(*by_split.values())) == 20
    assert sum(map(len, by_split.values())) == 20
    (told,) = [warning for warning in found.warnings if "different classes" in warning]
    assert "4 rows share 1 text" in told and "'one ‖ h1' is " in told


def test_the_sample_of_pairs() -> None:
    """Each class as often as the others, every review once, and a class that follows from both texts."""
    size = SampleConfig(train_rows=30, validation_rows=9, test_rows=9)
    found = {split: list(pair_rows(size, split)) for split in ("train", "validation", "test")}
    assert [len(rows) for rows in found.values()] == [180, 54, 54]
    for rows in found.values():
        counts = [sum(one["headline_is"] == name for one in rows) for name in HEADLINES]
        assert len(set(counts)) == 1
    texts = [one["review_body"] for rows in found.values() for one in rows]
    assert len(set(texts)) == len(texts)
    assert list(pair_rows(size, "test")) == found["test"]
    for one in found["train"]:
        titles = LEXICONS[one["language"]].titles
        (stars,) = (stars for stars, names in titles.items() if one["headline"] in names)
        more = stars - one["stars"]
        expected = "fits" if not more else "too_kind" if more > 1 else "too_harsh"
        assert one["headline_is"] == expected and abs(more) != 1
