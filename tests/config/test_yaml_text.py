"""YAML of ours: texts as they are written, numbers where the schema has numbers."""

from __future__ import annotations

from typing import Any, Optional

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.schema import LabelConfig, Schedule
from lingotune.config.yaml_text import read_yaml, typed_value

# ruff: noqa: UP045

WORDS = ["no", "yes", "on", "off", "y", "n", "No", "FALSE", "true", "0110", "0x1F", "0b11", "1_000",
         "1.10", "1e-5", "12:30", "1:2:3.5", "2024-01-01", ".inf", ".nan", "=", "<", "-", "+1"]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_plain_word_is_the_text_that_is_written(word: str) -> None:
    if word != "-":
        assert read_yaml(f"a: {word}\nb: [{word}, x]")[0] == {"a": word, "b": [word, "x"]}
    assert read_yaml(f"a: '{word}'")[0] == {"a": word}
    if word not in ("-", "<"):
        assert read_yaml(f"{word}: 1")[0] == {word: "1"}


def test_null_is_none_unless_it_is_quoted() -> None:
    text = "a: null\nb: ~\nc:\nd: Null\ne: 'null'\nf: nullable"
    assert read_yaml(text)[0] == {**dict.fromkeys("abcd"), "e": "null", "f": "nullable"}


def test_anchors_and_merges_work_and_keys_stand_once() -> None:
    assert read_yaml("a: &x {n: no}\nb: {<<: *x, m: 1}")[0]["b"] == {"n": "no", "m": "1"}
    with pytest.raises(yaml.YAMLError, match="duplicate key"):
        read_yaml("a: 1\na: 2")


def test_every_key_has_its_line() -> None:
    _, lines = read_yaml("# head\na:\n  b: 1\n\n  c: [x,\n    y]\n")
    assert lines == {"a": 2, "a.b": 3, "a.c": 5, "a.c[0]": 5, "a.c[1]": 6}
    assert read_yaml("# nothing\n") == (None, {})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "1e3", 1000), (int, "1_000", 1000), (int, "0110", 110), (int, "3.0", 3),
        (int, "1.5", "1.5"), (int, "1e400", "1e400"), (int, "${seed}", "${seed}"),
        (Optional[int], "16", 16), (float, "1e-5", 1e-5), (float, ".inf", float("inf")),
        (float, "-.INF", float("-inf")),
        (float, "1", 1.0), (float, "x", "x"),
        (bool, "no", False), (bool, "On", True), (bool, "2", "2"), (str, "0110", "0110"),
        (str, "no", "no"), (Optional[str], "yes", "yes"), (list[str], ["no", "1.0"], ["no", "1.0"]),
        (list[LabelConfig], [{"name": "no", "values": ["0"]}], [{"name": "no", "values": ["0"]}]),
        (Schedule, "linear", "linear"), (dict[str, str], {"a": "1"}, {"a": "1"}), (None, "5", "5"),
    ],
)  # fmt: skip
def test_the_schema_decides_what_is_a_number(kind: Any, text: Any, value: Any) -> None:
    found = typed_value(kind, text)
    assert found == value and type(found) is type(value)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.sampled_from(WORDS))
def test_what_yaml_writes_is_read_back(text: str) -> None:
    assert read_yaml(yaml.safe_dump({"a": [text]}, allow_unicode=True))[0] == {"a": [text]}
