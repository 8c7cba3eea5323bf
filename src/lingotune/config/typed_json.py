"""Reading JSON into frozen dataclasses, checking every value against its annotation, and writing it.

Annotations may be dataclasses, `X | None`, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]`, `int`,
`float`, `str`, `bool` and, for JSON of any shape, `object`. Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

_T = TypeVar("_T")
_NOT_WRITTEN = "not written"
UNLESS_NONE = types.MappingProxyType({_NOT_WRITTEN: None})
"""Metadata of a field that `to_json` leaves out if it is None: `field(default=None, metadata=...)`."""
SEAL = "sha256"
"""Entry of a sealed object, by which any change of the others is seen."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; ValueError for what is none, and for what is nested too deeply to be parsed."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def sealed(content: Mapping[str, object]) -> dict[str, object]:
    """Add a seal to a JSON object: the SHA-256 of its other entries."""
    return {**content, SEAL: _digest(content)}


def unsealed(content: object) -> dict[str, Any]:
    """Return a sealed object without its seal; ValueError if it is no such object, or was changed."""
    if not isinstance(content, dict) or SEAL not in content:
        raise ValueError("it has no seal")
    entries = {key: value for key, value in content.items() if key != SEAL}
    if content[SEAL] != _digest(entries):
        raise ValueError("it was changed after it was written")
    return entries


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def from_json(kind: type[_T], values: object, path: str = "") -> _T:
    """Build a dataclass from a JSON object; unknown keys are ignored, so that newer files can be read.

    path: prefix for the names of fields in errors. ValueError names the field that is missing or has
    another type; the dataclass may raise its own.
    """
    if not isinstance(values, dict):
        before = f"{path}: " if path else ""
        raise ValueError(f"{before}{type(values).__name__} where an object is needed")
    given, hints = {}, _hints(kind)  # type: ignore[arg-type]  # types are hashable
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]  # a type variable of dataclasses
        name = f"{path}.{one.name}" if path else one.name
        if one.name in values:
            given[one.name] = _value(hints[one.name], values[one.name], name)
        elif one.default is one.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name} is missing")
    return kind(**given)


def to_json(value: object) -> Any:
    """Convert dataclasses, mappings and sequences to dicts and lists, fields in their order.

    Numbers that are infinite or NaN become null; `from_json` reads it as NaN where it needs a number.
    """
    if dataclasses.is_dataclass(value):
        return {
            one.name: to_json(found)
            for one in dataclasses.fields(value)
            if (found := getattr(value, one.name)) is not None or _NOT_WRITTEN not in one.metadata
        }
    if isinstance(value, Mapping):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(inner) for inner in value]
    # JSON has no number that is infinite or NaN; `json.dumps` would write one all the same.
    return None if isinstance(value, float) and not math.isfinite(value) else value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _value(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value, name)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _value(inner[0], value, name)
    if origin is tuple and isinstance(value, list):
        return _items(inner, value, name)
    if origin is dict and isinstance(value, dict):
        return {key: _value(inner[1], item, f"{name}.{key}") for key, item in value.items()}
    if hint is object or (hint in (int, str, bool) and type(value) is hint):
        return value
    if hint is float and value is None:
        return math.nan
    if hint is float and type(value) in (int, float):
        try:
            return float(value)
        except OverflowError:
            pass  # an integer beyond floats
    raise ValueError(f"{name} is {reprlib.repr(value)}")


def _items(inner: tuple[Any, ...], values: list[Any], name: str) -> tuple[Any, ...]:
    if inner[-1] is not Ellipsis:
        if len(values) != len(inner):
            raise ValueError(f"{name} has {len(values)} items instead of {len(inner)}")
        return tuple(_value(hint, item, name) for hint, item in zip(inner, values))
    if inner[0] is int and set(map(type, values)) <= {int}:  # histograms are long
        return tuple(values)
    return tuple(_value(inner[0], item, name) for item in values)
