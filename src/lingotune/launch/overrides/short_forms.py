"""Short forms of settings, spelled out before values reach the schema: `data.labels=[a, b]`, `auto`."""

from __future__ import annotations

from typing import Any

from lingotune.config.schema import AUTO

_KEY = ("data", "labels")


def spelled_out(key: str, value: Any) -> Any:
    """Return the value of a dotted key with the labels in it as a list of classes; others as they are.

    A text that is not `auto`, and what else is no list, stays for the schema to refuse.
    """
    path = tuple(key.split(".")) if key else ()
    if path == _KEY:
        return _labels(value)
    if isinstance(value, dict) and path == _KEY[: len(path)]:
        return {
            name: spelled_out(".".join([*path, str(name)]), inner) for name, inner in value.items()
        }
    return value


def _labels(value: Any) -> Any:
    if value == AUTO:
        value = [AUTO]
    return [_label(item) for item in value] if isinstance(value, list) else value


def _label(item: Any) -> Any:
    if isinstance(item, (dict, list)):
        return item
    if isinstance(item, bool):
        item = str(item).lower()
    return {"name": "null" if item is None else item}
