"""A request held against botocore's service model: every field, type, bound, enum and pattern.

boto3 checks little more than types before it sends, and the loopback server checks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.session
import regex  # the model's patterns use \p{L}, which the standard library cannot parse
from botocore.model import Shape


def mistakes(operation: str, body: dict[str, Any], service: str = "sagemaker") -> list[str]:
    """Everything in `body` that the operation's input shape does not allow; [] if it fits."""
    model = botocore.session.get_session().get_service_model(service)
    shape = model.operation_model(operation).input_shape
    assert shape is not None
    return list(_walk(shape, body, operation))


def _walk(shape: Shape, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            yield f"{path}: not a structure"
            return
        members = shape.members  # type: ignore[attr-defined]
        yield from (f"{path}.{name}: unknown" for name in value if name not in members)
        required = shape.required_members  # type: ignore[attr-defined]
        yield from (f"{path}.{name}: missing" for name in required if name not in value)
        for name, member in value.items():
            if name in members:
                yield from _walk(members[name], member, f"{path}.{name}")
    elif kind == "list":
        yield from _bounds(shape, len(value), path)
        for index, item in enumerate(value):
            yield from _walk(shape.member, item, f"{path}[{index}]")  # type: ignore[attr-defined]
    elif kind == "map":
        yield from _bounds(shape, len(value), path)
        for name, item in value.items():
            yield from _walk(shape.key, name, f"{path} key {name!r}")  # type: ignore[attr-defined]
            yield from _walk(shape.value, item, f"{path}[{name!r}]")  # type: ignore[attr-defined]
    else:
        yield from _scalar(shape, value, path)


def _scalar(shape: Shape, value: Any, path: str) -> Iterator[str]:
    types = {"string": str, "integer": int, "long": int, "boolean": bool, "float": float}
    expected = types.get(shape.type_name)
    if expected and (not isinstance(value, expected) or (expected is int and value is True)):
        yield f"{path}: {value!r} is not a {shape.type_name}"
        return
    allowed = getattr(shape, "enum", None)
    if allowed and value not in allowed:
        yield f"{path}: {value!r} is not in the enum of {len(allowed)}"
    yield from _bounds(shape, len(value) if isinstance(value, str) else value, path)
    pattern = shape.metadata.get("pattern")
    if pattern and isinstance(value, str) and not regex.fullmatch(pattern, value):
        yield f"{path}: {value!r} does not match {pattern}"


def _bounds(shape: Shape, size: Any, path: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if not isinstance(size, bool) and low is not None and size < low:
        yield f"{path}: {size} is below {low}"
    if not isinstance(size, bool) and high is not None and size > high:
        yield f"{path}: {size} is above {high}"
