"""JSON as dataclasses: everything written is read back, and errors name the field."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.typed_json import (
    SEAL,
    UNLESS_NONE,
    from_json,
    parse_json,
    sealed,
    to_json,
    unsealed,
)


@dataclass(frozen=True)
class Inner:
    low: float
    high: float | None = field(default=None, metadata=UNLESS_NONE)


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: int
    flag: bool
    pair: tuple[int, float]
    rows: tuple[tuple[int, ...], ...]
    inner: dict[str, Inner]
    free: object
    none: int | None
    late: str = "default"


WHOLE: dict[str, Any] = {
    "name": "x", "count": 1, "flag": True, "pair": [1, 2.5], "rows": [[1, 2], []],
    "inner": {"a": {"low": 1.0}}, "free": [{"any": None}], "none": None, "late": "y",
}  # fmt: skip


def test_keys_and_their_order_come_back() -> None:
    assert json.dumps(to_json(from_json(Outer, WHOLE))) == json.dumps(WHOLE)


def test_absent_keys_and_keys_of_later_versions() -> None:
    values = {key: value for key, value in WHOLE.items() if key != "late"}
    found = from_json(Outer, {**values, "newer": 1})
    assert found.late == "default" and found.inner["a"].high is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, "name is 3"),
        ({"count": True}, "count is True"),
        ({"count": 1.5}, "count is 1.5"),
        ({"flag": 1}, "flag is 1"),
        ({"pair": [1]}, "pair has 1 items instead of 2"),
        ({"pair": "12"}, "pair is '12'"),
        ({"rows": [[1, None]]}, "rows is None"),
        ({"inner": []}, "inner is []"),
        ({"inner": {"a": []}}, "inner.a: list where an object is needed"),
        ({"inner": {"a": {}}}, "inner.a.low is missing"),
        ({"inner": {"a": {"low": "x"}}}, "inner.a.low is 'x'"),
        ({"inner": {"a": {"low": 10**400}}}, "inner.a.low is 1000"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        from_json(Outer, {**WHOLE, **change})
    assert str(caught.value).startswith(said) and len(str(caught.value)) < 100


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(any_json, st.sampled_from(sorted(WHOLE)))
def test_any_json_is_read_or_refused_with_a_value_error(value: Any, key: str) -> None:
    for values in (value, {**WHOLE, key: value}):
        with suppress(ValueError):
            from_json(Outer, values)


def test_a_number_that_json_lacks_is_null_and_comes_back_as_nan() -> None:
    @dataclass(frozen=True)
    class Scored:
        loss: float
        shares: tuple[float, ...]

    written = json.dumps(to_json(Scored(math.nan, (1.0, math.inf))), allow_nan=False)
    assert written == '{"loss": null, "shares": [1.0, null]}'
    read = from_json(Scored, json.loads(written))
    assert math.isnan(read.loss) and read.shares[0] == 1.0 and math.isnan(read.shares[1])


def test_json_that_is_too_deep_is_a_value_error() -> None:
    for text in ("[" * 200_000, b'{"a":' * 200_000, "{", b"\xff"):
        with pytest.raises(ValueError):
            parse_json(text)
    assert parse_json(b'{"a": [1]}') == {"a": [1]}


@given(st.dictionaries(st.text(max_size=3), any_json, max_size=3), any_json, st.text(max_size=3))
def test_any_change_of_a_sealed_object_is_seen(
    content: dict[str, Any], other: Any, key: str
) -> None:
    content.pop(SEAL, None)
    kept = json.loads(json.dumps(sealed(content)))
    assert repr(unsealed(kept)) == repr(content)  # NaN equals nothing
    changed = {**kept, key: other}
    if json.dumps(changed, sort_keys=True) != json.dumps(kept, sort_keys=True):
        with pytest.raises(ValueError):
            unsealed(changed)
    for value in (content, None, [], "x", {**content, SEAL: None}):
        with pytest.raises(ValueError):
            unsealed(value)
