"""Where rows come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lingotune.config.schema import ColumnsConfig, DataConfig, Source
from lingotune.data.rows.findings import Record, Unfit
from lingotune.data.rows.origins import MOST, Origins, Sources


def data(kind: Source = Source.files, **columns: str | None) -> DataConfig:
    return DataConfig(name="tiny", source=kind, columns=replace(ColumnsConfig(), **columns))


def read(config: DataConfig, rows: Sequence[tuple[str, Record]]) -> list[str | None]:
    origins, found = Origins(config), []
    for location, record in rows:
        origins.look(tuple(record))
        found.append(origins.of(location, record))
    return found


FILES = [("in/a.jsonl:1", {"t": 1}), ("in/a.jsonl:12", {"t": 1}), ("in/b.parquet row 7", {"t": 1})]


def test_a_row_comes_from_its_file() -> None:
    assert read(data(), FILES) == ["in/a.jsonl", "in/a.jsonl", "in/b.parquet"]
    assert read(data(source=None), FILES) == [None] * 3
    assert read(data(Source.sample), FILES) == [None] * 3
    apart = [(f"{name}:1", {"t": 1}) for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl")]
    assert read(data(), apart) == ["a.jsonl", "a.jsonl.gz", "a.jsonl"]


def test_a_column_of_that_name_goes_first() -> None:
    rows = [("a.csv:1", {"Source": " shop "}), ("a.csv:2", {"Source": None}), ("b.csv:1", {"t": 1})]
    assert read(data(), rows) == ["shop", None, "b.csv"]
    assert read(data(label="Source"), rows[:1]) == ["a.csv"]  # it has another part already


def test_a_named_column_is_read_alone() -> None:
    rows = [("a.csv:1", {"shop": 7}), ("a.csv:2", {"shop": ["x"]}), ("b.csv:1", {"source": "y"})]
    assert read(data(source="shop"), rows) == ["7", None, None]
    with pytest.raises(Unfit):
        read(data(source="shop"), [("a.csv:1", {"shop": "\ud800"})])


def counted(rows: dict[str | None, int]) -> Sources:
    sources = Sources()
    for source, count in rows.items():
        for _ in range(count):
            sources.count(source)
    return sources


def test_files_are_named_without_the_folders_that_they_share() -> None:
    found = counted({"/x/in/de/a.csv": 30, "/x/in/de/b.csv": 30, "/x/in/fr/a.csv": 30})
    names = {
        "/x/in/de/a.csv": "de/a.csv",
        "/x/in/de/b.csv": "de/b.csv",
        "/x/in/fr/a.csv": "fr/a.csv",
    }
    assert found.names(ColumnsConfig()) == names
    assert counted({"in/a.csv": 30, "a.csv": 30}).names(ColumnsConfig())["in/a.csv"] == "in/a.csv"


@pytest.mark.parametrize(
    "rows",
    [{}, {"a": 50}, {"a": 50, None: 50}, {f"{n}.txt": 1 for n in range(40)}],
    ids=["none", "one", "one and nothing", "a file for each text"],
)
def test_nothing_is_told_apart(rows: dict[str | None, int]) -> None:
    assert counted(rows).names(ColumnsConfig()) == {}


def test_a_named_column_is_taken_as_it_is_unless_it_has_too_many_values() -> None:
    named = replace(ColumnsConfig(), source="shop")
    assert counted({"x/a": 1, "x/b": 1}).names(named) == {"x/a": "x/a", "x/b": "x/b"}
    many = counted({str(n): 1 for n in range(MOST + 9)})
    assert many.names(named) == {}
    (told,) = many.warnings(named)
    assert "data.columns.source=shop has more than 1,000 values" in told
    assert not many.warnings(ColumnsConfig())
