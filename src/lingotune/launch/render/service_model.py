"""Validation of requests such as CreateTrainingJob against SageMaker's own model of them. Pure.

boto3 itself checks little more than types before sending. The model (types, bounds, patterns, choices,
required fields) is botocore's, copied into facts/request.json by tools/facts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex  # the model's patterns use \p{L}, which the standard library cannot parse

from lingotune.catalog import load
from lingotune.launch.render.shared_fields import Request

Shape = dict[str, Any]
"""Shape of botocore's service model: its type, bounds, pattern, choices or members."""


@dataclass(frozen=True)
class Mistake:
    """A field that the model does not allow: its path (`Tags[3].Key`), what is wrong, and the value."""

    path: str
    what: str
    value: Any = None


@lru_cache(maxsize=1)
def _model() -> tuple[dict[str, str], dict[str, Shape]]:
    loaded = load("request", "lingotune.launch")
    return loaded["roots"], loaded["shapes"]


@lru_cache(maxsize=256)
def _matches(pattern: str) -> Callable[..., Any]:
    matcher: Callable[..., Any] = regex.compile(pattern).fullmatch
    return matcher


def mistakes(request: Request, operation: str = "CreateTrainingJob") -> list[Mistake]:
    """List everything in the request that the service's model does not allow; [] if it is valid."""
    roots, _ = _model()
    return list(_walk(roots[operation], request, ""))


def choices(shape: str) -> list[str]:
    """List the values of an enum of the model, e.g. of TrainingInstanceType."""
    found: list[str] = _model()[1][shape]["enum"]
    return found


def _walk(name: str, value: Any, path: str) -> Iterator[Mistake]:
    shape = _model()[1][name]
    kind = shape["type"]
    expected = {"structure": dict, "map": dict, "list": list}.get(kind)
    if expected is None:
        yield from _scalar(shape, value, path)
    elif not isinstance(value, expected):
        yield Mistake(path, f"is not a {kind}")
    elif kind == "structure":
        yield from _structure(shape, value, f"{path}." if path else "")
    else:
        yield from _bounds(shape, len(value), path, "entries", value)
        if kind == "list":
            for index, item in enumerate(value):
                yield from _walk(shape["member"], item, f"{path}[{index}]")
        else:
            for key, item in value.items():
                yield from _walk(shape["key"], key, f"{path}[{key!r}] (its name)")
                yield from _walk(shape["value"], item, f"{path}[{key!r}]")


def _structure(shape: Shape, value: Request, prefix: str) -> Iterator[Mistake]:
    members = shape["members"]
    yield from (Mistake(prefix + n, "is unknown to the service") for n in value if n not in members)
    yield from (Mistake(prefix + n, "is missing") for n in shape["required"] if n not in value)
    for name, member in value.items():
        if name in members:
            yield from _walk(members[name], member, prefix + name)


def _scalar(shape: Shape, value: Any, path: str) -> Iterator[Mistake]:
    types: dict[str, Any] = {
        "string": str, "integer": int, "long": int, "boolean": bool, "float": (float, int),
    }  # fmt: skip
    expected = types.get(shape["type"])
    misread = isinstance(value, bool) and expected is not bool
    if expected and (misread or not isinstance(value, expected)):
        yield Mistake(path, f"{value!r} is not a {shape['type']}", value)
        return
    if "enum" in shape and value not in shape["enum"]:
        what = f"{value!r} is none of the {len(shape['enum'])} that the service knows"
        yield Mistake(path, what, value)
    if isinstance(value, str):
        yield from _bounds(shape, len(value), path, "characters", value)
        pattern = shape.get("pattern")
        if pattern and not _matches(pattern)(value):
            yield Mistake(path, f"{value!r} does not match {pattern}", value)
    elif not isinstance(value, bool):
        yield from _bounds(shape, value, path, "", value)


def _bounds(shape: Shape, size: Any, path: str, unit: str, value: Any) -> Iterator[Mistake]:
    low, high = shape.get("min"), shape.get("max")
    got = f"{size} {unit}".strip()
    if low is not None and size < low:
        yield Mistake(path, f"{got}: at least {low}", value)
    if high is not None and size > high:
        yield Mistake(path, f"{got}: at most {high}", value)
