"""Rows with predictions keep their columns, in each format."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from lingotune.config.problems import ConfigError
from lingotune.evaluation import prediction_files
from lingotune.evaluation.prediction_files import check_output, write_rows

ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "text": 'a "quoted", text\nof two lines',
        "tags": ["x"],
        "predicted": "neg",
        "p": 0.5,
    },
    {"id": 2, "text": "b", "extra": None, "predicted": "pos", "p": 0.25},
    {"id": "three", "text": "c", "extra": "late", "predicted": "pos", "p": 0.75},
]


def test_jsonl_keeps_rows_as_they_are(tmp_path: Path) -> None:
    assert write_rows(iter(ROWS), tmp_path / "o.jsonl") == 3
    assert [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()] == ROWS


@pytest.mark.parametrize("block", [1, 2, 1000])
def test_csv_has_the_columns_of_all_rows(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_files, "_BLOCK", block)
    assert write_rows(iter(ROWS), tmp_path / "o.csv") == 3
    with (tmp_path / "o.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [row["text"] for row in ROWS]
    assert [row["extra"] for row in rows] == ["", "", "late"]
    assert rows[0]["tags"] == '["x"]' and set(rows[0]) == {
        "id",
        "text",
        "tags",
        "extra",
        "predicted",
        "p",
    }


@pytest.mark.parametrize("block", [1, 2, 1000])
def test_parquet_has_one_type_for_each_column(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_files, "_BLOCK", block)
    numbered = [{**row, "n": n if n else 0.5, "none": None} for n, row in enumerate(ROWS)]
    assert write_rows(iter(numbered), tmp_path / "o.parquet") == 3
    rows = parquet.read_table(tmp_path / "o.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["1", "2", "three"]
    assert [row["n"] for row in rows] == [0.5, 1.0, 2.0]
    assert [row["tags"] for row in rows] == [["x"], None, None]
    assert [row["extra"] for row in rows] == [None, None, "late"]


def test_an_output_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("")
    for name, what in {
        "o.txt": "is none of the formats", "there.csv": "is there already", "no/o.csv": "no folder",
    }.items():  # fmt: skip
        with pytest.raises(ConfigError, match=what):
            check_output(str(tmp_path / name))
    assert check_output(str(tmp_path / "o.csv")) == tmp_path / "o.csv"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def rows() -> Any:
        yield ROWS[0]
        raise ConfigError([])

    for suffix in (".csv", ".jsonl", ".parquet"):
        with pytest.raises(ConfigError):
            write_rows(rows(), tmp_path / f"o{suffix}")
    assert list(tmp_path.iterdir()) == []
