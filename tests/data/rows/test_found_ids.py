"""The column of ids, found by its usual name."""

from __future__ import annotations

from typing import Any

import pytest

from lingotune.config.schema import ColumnsConfig, DataConfig, LabelConfig, OnError
from lingotune.data.rows.cleaner import Cleaner


def cleaned(
    rows: list[dict[str, Any]], on_error: OnError = OnError.stop
) -> tuple[list[str], Cleaner]:
    columns = ColumnsConfig(text="text", label="label", id="auto")
    labels = [LabelConfig("a"), LabelConfig("b")]
    cleaner = Cleaner(DataConfig("x", columns=columns, labels=labels, on_error=on_error), "train")
    located = [
        (f"folder/file.jsonl:{n}", {"text": f"text {n}", "label": "a", **row})
        for n, row in enumerate(rows, 1)
    ]
    return [row.id for row in cleaner.rows(located)], cleaner


@pytest.mark.parametrize("name", ["id", "review_id", "Review_ID", " uid ", "tweet_id"])
def test_a_usual_name_is_found(name: str) -> None:
    ids, cleaner = cleaned([{name: "x"}, {name: 7}])
    assert ids == ["x", "7"] and not cleaner.problems()


@pytest.mark.parametrize("name", ["user_id", "product_id", "identity", "number"])
def test_without_one_rows_are_named_by_their_places(name: str) -> None:
    ids, cleaner = cleaned([{name: "x"}, {name: "y"}])
    assert ids == ["file.jsonl:1", "file.jsonl:2"] and not cleaner.problems()


def test_rows_may_have_other_columns() -> None:
    ids, cleaner = cleaned([{"id": "x"}, {}, {"review_id": "y"}, {"id": None}, {"id": [1]}])
    assert ids == ["x", "file.jsonl:2", "y", "file.jsonl:4", "file.jsonl:5"]
    assert not cleaner.problems()


@pytest.mark.parametrize("on_error", OnError)
def test_what_repeats_rejects_no_row(on_error: OnError) -> None:
    """Nobody has said that the column holds ids."""
    ids, cleaner = cleaned([{"id": "x"}, {"id": "x"}, {"id": "y"}], on_error)
    assert ids == ["x", "file.jsonl:2", "y"] and not cleaner.problems()
    assert any("the same id as an earlier row" in warning for warning in cleaner.warnings())
