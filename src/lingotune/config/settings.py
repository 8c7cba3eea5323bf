"""Settings of the schema by their dotted keys. Standard library only."""

from __future__ import annotations

import functools
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any

from lingotune.config.schema import LaunchConfig

_INDEX = re.compile(r"\[(\d+)\]")


@functools.cache
def setting_types() -> Mapping[str, Any]:
    """Map the dotted key of every setting of the schema, sections included, to its type."""
    return MappingProxyType(dict(_walk(LaunchConfig, "")))


@functools.cache
def field_types(section: type) -> Mapping[str, Any]:
    """Map the field names of one dataclass of the schema to their types."""
    hints = typing.get_type_hints(section)
    return MappingProxyType({item.name: hints[item.name] for item in fields(section)})


def default_of(key: str) -> Any:
    """Return the schema's default of a setting by its dotted key; MISSING where it has none."""
    value: Any = _defaults()
    for part in key.split("."):
        value = getattr(value, part)
    return value


@functools.cache
def _defaults() -> LaunchConfig:
    return LaunchConfig()


def _walk(section: type, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, kind in field_types(section).items():
        yield prefix + name, kind
        if is_dataclass(kind):
            yield from _walk(typing.cast(type, kind), f"{prefix}{name}.")


def container_of(key: str) -> str | None:
    """Find the list or mapping that a key names or lies in: `data.labels` for `data.labels.0.name`."""
    parts = key.split(".")
    parents = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    settings = setting_types()
    return next((k for k in parents if typing.get_origin(settings.get(k)) in (list, dict)), None)


def mapping_of(key: str) -> str | None:
    """Find the mapping with names of the user's own that a key lies in: `aws.tags` for `aws.tags.team`."""
    container = container_of(key)
    kind = setting_types()[container] if container else None
    return container if typing.get_origin(kind) is dict else None


def is_setting(key: str) -> bool:
    """Tell whether a dotted key names a setting, a section, or an item of a list or a mapping."""
    plain = _INDEX.sub(r".\1", key)
    container = container_of(plain)
    if container is None or plain == container:
        return plain in setting_types()
    if mapping_of(container):
        return True
    inside = plain[len(container) + 1 :].split(".")[0]
    (row,) = typing.get_args(setting_types()[container])
    return inside.isdecimal() or inside in getattr(row, "__dataclass_fields__", {})


def setting_in(text: str) -> tuple[str, str | None]:
    """Split `key=value`, or a single key with value None; ("", None) if it names no setting."""
    key, equals, value = text.partition("=")
    return (key, value if equals else None) if is_setting(key) else ("", None)
