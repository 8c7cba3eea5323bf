"""Short forms of settings, spelled out before values reach the schema: `data.labels=[a, b]`, `auto`,
`cluster.fallback=[a, b]`; `lr=auto`; and lists of a sweep's values as one text."""

from __future__ import annotations

from typing import Any

from lingotune.config.quoting import hydra_value, is_plain
from lingotune.config.schema import AUTO, MISSING

_LABELS = ("data", "labels")
_FALLBACK = ("cluster", "fallback")
_PARAMS = ("sweep", "params")
_LOOKED_UP = (("lr",), ("epochs",))
"""Settings that `auto` leaves open, for composing to look up."""


def spelled_out(key: str, value: Any) -> Any:
    """Return the value of a dotted key with the labels in it as a list of classes, machines as rows, a
    sweep's values as one text, and what is to be looked up as missing; others as they are.

    A text that is not `auto`, and what else is no list, stays for the schema to refuse.
    """
    path = tuple(key.split(".")) if key else ()
    if path == _LABELS:
        return _labels(value)
    if path in _LOOKED_UP and value == AUTO:
        return MISSING
    if path == _FALLBACK:
        return [_label(item) for item in value] if isinstance(value, list) else value
    if isinstance(value, dict) and path == _PARAMS:
        return {name: _swept(inner) for name, inner in value.items()}
    if isinstance(value, dict) and any(
        path == one[: len(path)] for one in (_LABELS, _FALLBACK, _PARAMS, *_LOOKED_UP)
    ):
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


def _swept(values: Any) -> Any:
    """Write the values of a swept key as they are typed with -m."""
    if values is None:
        return "null"
    if not isinstance(values, list):
        return values
    texts = ",".join(map(_element, values))
    return texts if len(values) > 1 else f"choice({texts})"


def _element(value: Any) -> str:
    """Write one value so that Hydra's grammar reads a single one; numbers stand in files as texts."""
    if isinstance(value, list):
        return f"[{','.join(map(_element, value))}]"
    if isinstance(value, str) and _is_written_as_read(value):
        return value
    return hydra_value(value)


def _is_written_as_read(text: str) -> bool:
    """Tell whether Hydra's grammar reads a text as one value, such as a number or a list."""
    if is_plain(text):
        return True
    from hydra.errors import HydraException  # a third of a second, which completion does not have

    from lingotune.launch.overrides.grammar import parse

    try:
        return not parse(f"key={text}").is_sweep_override()
    except HydraException:
        return False
