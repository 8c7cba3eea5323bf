"""What a row says of every class: lists in cells, files of lists, columns of 0 and 1, shares."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import (
    ColumnsConfig,
    DataConfig,
    LabelConfig,
    LabelsMode,
    OnError,
    Separator,
    Source,
)
from lingotune.data.rows.cleaner import Row
from lingotune.data.splits.found_labels import find_labels
from lingotune.data.splits.readers import readers_of
from lingotune.data.splits.scan import scan

NAMES = ("price", "quality", "service")


def config(path: Path, *, label: str | None = "topics", **settings: Any) -> DataConfig:
    labels = [LabelConfig(name, []) for name in NAMES]
    columns = ColumnsConfig(text="text", label=label)
    given = {"labels": labels, "labels_mode": LabelsMode.multi, "columns": columns, **settings}
    return DataConfig("d", Source.files, path=str(path), **given)


def read(data: DataConfig) -> list[Row]:
    rows: list[Row] = []
    scan(readers_of(data), data, lambda rejected: None, rows.append)
    return rows


def problems(data: DataConfig) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(data)
    return caught.value.problems


def csv_of(folder: Path, cells: Sequence[str], header: str = "text,topics") -> Path:
    path = folder / "t.csv"
    lines = [f"text {n},{cell}" for n, cell in enumerate(cells)]
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def named(row: Row) -> set[str]:
    return {NAMES[id] for id in row.classes}


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("price", {"price"}),
        ("price|service", {"price", "service"}),
        ("price; service;", {"price", "service"}),
        ('"price,quality, service"', {"price", "quality", "service"}),
        ("price\tquality", {"price", "quality"}),
        ('"[""price"", ""quality""]"', {"price", "quality"}),
        ("\"['price', 'quality']\"", {"price", "quality"}),
        ("[]", set()),
        ("", set()),
        ("price|price", {"price"}),
    ],
)
def test_the_classes_of_a_cell(cell: str, found: set[str], tmp_path: Path) -> None:
    (row,) = read(config(csv_of(tmp_path, [cell])))
    assert named(row) == found
    assert row.targets == tuple(float(name in found) for name in NAMES)


def test_a_separator_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    labels = [LabelConfig("a, b", []), LabelConfig("c", [])]
    data = config(
        csv_of(tmp_path, ['"a, b"', '"a, b;c"']), labels=labels, label_separator=Separator.semicolon
    )
    assert [row.classes for row in read(data)] == [(0,), (0, 1)]
    # by itself a cell that names a class is that class, whatever is in its name
    assert read(config(csv_of(tmp_path, ['"a, b"']), labels=labels))[0].classes == (0,)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_of_files_that_know_lists(kind: str, tmp_path: Path) -> None:
    topics: list[list[str] | None] = [["quality", "price"], [], ["service"], None]
    path = tmp_path / f"t.{kind}"
    rows = [{"text": f"text {n}", "topics": of} for n, of in enumerate(topics)]
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)
    found = read(config(path))
    assert [named(row) for row in found] == [{"price", "quality"}, set(), {"service"}, set()]


def test_lists_of_numbers_that_datasets_names(tmp_path: Path) -> None:
    feature = {"_type": "ClassLabel", "names": ["service", "price", "quality"]}
    features = {"topics": {"_type": "Sequence", "feature": feature}, "text": {"_type": "Value"}}
    table = pa.table({"text": ["a", "b"], "topics": [[0, 2], [1]]})
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet.write_table(table.replace_schema_metadata(told), tmp_path / "t.parquet")
    found = read(config(tmp_path / "t.parquet"))
    assert [named(row) for row in found] == [{"service", "quality"}, {"price"}]


def test_a_column_for_each_class(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,service,price,quality\na,0,1,0\nb,1,1.0,true\nc,0,0,False\n")
    found = read(config(path))
    assert [named(row) for row in found] == [{"price"}, {*NAMES}, set()]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    cells = ["price|cost", "quality", "costs|price", "cost"]
    (unknown,) = problems(config(csv_of(tmp_path, cells)))
    assert "'cost' (2), 'costs' (1)" in unknown.what and unknown.where.endswith("t.csv:2, :4, :5")
    assert "cost" in unknown.fix and "price" in unknown.fix
    path = tmp_path / "t.csv"
    path.write_text("text,service,price,quality\na,0,1,-1\nb,,1,0\nc,0,0,2\n")
    told = {problem.what: problem for problem in problems(config(path))}
    assert told["has '-1' in 'quality', neither 0 nor 1"].where == f"{path}:2, :4"
    assert told["has no value in 'service'"].where == f"{path}:3"


def test_columns_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,service,price\na,0,1\n")
    (one,) = problems(config(path))
    assert "no column for the class quality" in one.what
    assert one.fix == "'data.labels=[price, service]'"
    path.write_text("text,tags\na,price\n")
    (none,) = problems(config(path))
    assert "'topics'" in none.what and "nor a column for each class" in none.what
    assert "it has: text, tags" in none.what


def test_rows_that_cannot_be_used_are_skipped(tmp_path: Path) -> None:
    data = config(
        csv_of(tmp_path, ["price", "none such", "quality"]), on_error=OnError.skip, max_rejected=0.5
    )
    assert [named(row) for row in read(data)] == [{"price"}, {"quality"}]


def test_the_classes_are_found_in_lists(tmp_path: Path) -> None:
    path = csv_of(tmp_path, ["price|service", "", "quality", "price"])
    found = find_labels(config(path, labels=[LabelConfig("auto")]))
    assert [label.name for label in found.labels] == [*NAMES]
    assert found.rows == {"price": 2, "service": 1, "quality": 1}


def test_one_class_for_each_text_names_the_setting_for_more(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a", "topics": ["price", "quality"]}\n')
    (one,) = problems(config(path, labels_mode=LabelsMode.single))
    assert one.fix == "data.labels_mode=multi"


# --- shares ---------------------------------------------------------------------------------------


def test_shares_are_votes_divided_by_their_sum(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"text": "a", "topics": [0.2, 0.5, 0.3]}\n{"text": "b", "topics": [3, 0, 1]}\n'
    )
    first, second = read(config(path, labels_mode=LabelsMode.soft))
    assert first.targets == pytest.approx((0.2, 0.5, 0.3)) and first.label == 1
    assert second.targets == (0.75, 0, 0.25) and second.classes == (0,)
    path = tmp_path / "t.csv"
    path.write_text("text,quality,price,service\na,0.5,0.25,0.25\n")
    (row,) = read(config(path, labels_mode=LabelsMode.soft))
    assert row.targets == (0.25, 0.5, 0.25) and row.label == 1


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("[0.5, 0.5]", "has 2 shares in 'topics', and data.labels 3 classes"),
        ("[1, -1, 0]", "has -1 in 'topics', no share from 0"),
        ("[0, 0, 0]", "has no share above 0"),
        ('"price"', "has no list of shares, but 'price'"),
        ('[1, "x", 0]', "has 'x' in 'topics', no share from 0"),
    ],
)
def test_shares_that_are_none(cell: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"text": "a", "topics": {cell}}}\n')
    assert any(told in one.what for one in problems(config(path, labels_mode=LabelsMode.soft)))
