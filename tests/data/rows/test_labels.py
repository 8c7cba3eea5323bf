"""Whatever people write into a label column is read, or becomes one problem with one list to paste."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tables import collect

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ColumnsConfig, DataConfig, LabelConfig, OnError, Source
from lingotune.data.rows.labels import format_labels
from lingotune.data.sources.files import read_files


def config(*labels: LabelConfig, **settings: Any) -> DataConfig:
    columns = ColumnsConfig(text="text", label="label")
    return DataConfig("d", Source.files, columns=columns, labels=list(labels), **settings)


def of(*names: str) -> list[LabelConfig]:
    return [LabelConfig(name) for name in names]


def read(values: list[Any], data: DataConfig) -> list[int]:
    located = ((f"r.csv:{n}", {"text": "a", "label": v}) for n, v in enumerate(values, 2))
    return collect(located, data, "train").label


def problem(values: list[Any], data: DataConfig) -> Problem:
    with pytest.raises(ConfigError) as caught:
        read(values, data)
    (only,) = caught.value.problems
    return only


def pasted(fix: str) -> list[LabelConfig]:
    """The classes of an override, as a shell and Hydra read it."""
    (word,) = shlex.split(fix)
    value = OverridesParser.create().parse_override(word).value()
    return [
        LabelConfig(str(item["name"]), [str(v) for v in item["values"]])
        if isinstance(item, dict)
        else LabelConfig(str(item))
        for item in value
    ]


# --- spellings ----------------------------------------------------------------------------------


def test_values_that_differ_by_case_or_blanks_are_joined_by_one_override() -> None:
    values = ["negative ", "Negative", "NEGATIVE", "Positive", "positive", "Positive "] * 3
    found = problem(values, config(*of("Negative", "Positive")))
    assert found.where == "r.csv:2, :4, :6 and 9 more"
    assert "4 values in 'label' are not in data.labels" in found.what
    classes = pasted(found.fix)
    assert classes == [
        LabelConfig("Negative", ["negative ", "NEGATIVE"]),
        LabelConfig("Positive", ["positive", "Positive "]),
    ]
    assert read(values, config(*classes)) == [0, 0, 0, 1, 1, 1] * 3
    assert pasted(problem(values, config(*of("no", "yes"))).fix) == [
        LabelConfig("negative", ["negative ", "Negative", "NEGATIVE"]),
        LabelConfig("Positive", ["positive", "Positive "]),
    ]


def test_values_of_which_none_is_mapped_are_one_list() -> None:
    values = ["card_arrival", "Refund not showing up", "top_up, failed", "don't know"] * 5
    found = problem(values, config(*of("negative", "positive")))
    pasteable, _, auto = found.fix.rpartition(", or ")
    assert auto == "data.labels=auto"
    assert read(values, config(*pasted(pasteable))) == [0, 2, 3, 1] * 5
    assert found.where == "r.csv:2, :3, :4 and 17 more"


def test_alike_is_not_the_same() -> None:
    values = ["positive"] * 9 + ["negative"] + ["likely"] * 4
    found = problem(values, config(*of("positive", "unlikely")))
    assert pasted(found.fix.split(", or ")[0]) == of("positive", "likely", "negative")
    assert found.fix.split(", or ")[1] == "data.on_error=skip data.max_rejected=0.36"
    skipping = config(*of("positive", "unlikely"), on_error=OnError.skip, max_rejected=0.36)
    assert read(values, skipping) == [0] * 9


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])), min_size=2))
def test_what_is_to_be_pasted_gives_the_classes_back(names: list[str]) -> None:
    classes = [LabelConfig(name, [name + " "]) for name in names if "${" not in name]
    if classes:
        assert pasted(format_labels(classes)) == classes


# --- types --------------------------------------------------------------------------------------


@pytest.mark.parametrize("false", ["FALSE", "False", "false"])
@pytest.mark.parametrize(
    "raw", [("TRUE", "FALSE"), ("True", "False"), (True, False), ("1", "0"), (1, 0)]
)
def test_booleans_match_however_they_are_written(false: str, raw: tuple[Any, Any]) -> None:
    data = config(LabelConfig("good", ["True"]), LabelConfig("bad", [false]))
    assert read([*raw], data) == [0, 1]


def test_booleans_of_a_mapping_of_0_and_1() -> None:
    assert read(
        [True, False, "true"], config(LabelConfig("a", ["0"]), LabelConfig("b", ["1"]))
    ) == [1, 0, 1]


def test_a_list_of_one_is_that_one_and_more_is_a_clear_no() -> None:
    data = config(*of("neg", "pos"))
    assert read([["neg"], ["pos"], "neg"], data) == [0, 1, 0]
    assert problem([["neg"], ["neg", "pos"], ["pos"]], data) == Problem(
        "r.csv:3",
        "has several classes in 'label', such as ['neg', 'pos']; here a text has exactly one",
        "data.on_error=skip data.max_rejected=0.34, or data.labels_mode=multi",
    )


def class_labels(path: Path, names: list[str], values: list[int]) -> Path:
    features = {"label": {"names": names, "_type": "ClassLabel"}, "text": {"_type": "Value"}}
    told = json.dumps({"info": {"features": features}})
    table = pa.table({"text": ["a"] * len(values), "label": values})
    parquet.write_table(table.replace_schema_metadata({"huggingface": told}), path)
    return path


@pytest.mark.parametrize(
    "labels",
    [
        of("neg", "pos"),
        [LabelConfig("bad", ["neg"]), LabelConfig("good", ["pos"])],
        [LabelConfig("bad", ["0"]), LabelConfig("good", ["1"])],
        of("0", "1"),
    ],
)
def test_stored_classes_go_by_name_and_by_number(labels: list[LabelConfig], tmp_path: Path) -> None:
    path = class_labels(tmp_path / "a.parquet", ["neg", "pos"], [0, 1, 1])
    assert collect(read_files([path]), config(*labels), "train").label == [0, 1, 1]


def test_numbers_of_stored_classes_are_no_stars_by_accident(tmp_path: Path) -> None:
    names = ["1 star", "2 stars", "3 stars"]
    path = class_labels(tmp_path / "a.parquet", names, [0, 1, 2])
    stars = [LabelConfig("bad", ["1", "2"]), LabelConfig("good", ["3"])]
    with pytest.raises(ConfigError) as caught:
        collect(read_files([path]), config(*stars), "train")
    (found,) = caught.value.problems
    assert "3 values in 'label' are not in data.labels: '1 star' (1)" in found.what
    rows = collect(read_files([path]), config(*stars, label_offset=1), "train")
    assert rows.label == [0, 0, 1]
