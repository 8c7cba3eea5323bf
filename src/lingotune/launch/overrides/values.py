"""Values and the settings that they are for: what does not fit, and what fits instead."""

from __future__ import annotations

import re
import typing
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, make_dataclass
from enum import Enum
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lingotune.catalog.models import model_kinds
from lingotune.config.problems import closest, nearest
from lingotune.config.quoting import hydra_value
from lingotune.config.schema import BY_MODEL, MISSING, JobConfig, Texts
from lingotune.config.settings import (
    container_of,
    default_of,
    field_types,
    mapping_of,
    setting_types,
)
from lingotune.config.yaml_text import typed_value
from lingotune.launch.overrides.keys import describe_type
from lingotune.launch.overrides.short_forms import spelled_out

_PASTED = str.maketrans({
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02", '"'),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\uff07", "'"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\uff0d", "-"),
    **dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff\u00ad", None),
    **dict.fromkeys("\u00a0\u2009\u202f\u3000", " "),
    "\uff1d": "=", "\uff0c": ",", "\uff1a": ":", "\uff3b": "[", "\uff3d": "]",
})  # fmt: skip
"""Characters that web pages, word processors and input methods put in place of those on the keyboard."""
_DECIMAL_COMMA = re.compile(r"([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)")
_AROUND = " \t\r\n,;=:'\"`"
"""Characters that stand around a number by mistake."""


def as_on_keyboard(text: str) -> str:
    """Replace characters that come from web pages, such as curly quotes, by those that were meant."""
    return text.translate(_PASTED)


def is_reference(value: object) -> bool:
    """Tell whether a value stands for another one: `${other.setting}`, or `???`, which is still open."""
    return isinstance(value, str) and ("${" in value or value == MISSING)


def first_type(kind: Any) -> Any:
    """Return the first type inside of another, null aside; a plain type as it is."""
    return next((arg for arg in typing.get_args(kind) if arg is not type(None)), kind)


def number_meant(text: str, kind: Any) -> int | float | None:
    """Read what was meant by a text that is no number of a type: 0x1F, 1,5, 2e-5; or a pasted minus."""
    kind = first_type(kind)
    if kind not in (int, float):
        return None
    plain = unicodedata.normalize("NFKC", as_on_keyboard(text)).strip(_AROUND)
    comma = _DECIMAL_COMMA.fullmatch(plain)
    number: Any = typed_value(kind, f"{comma[1]}.{comma[2]}" if comma else plain)
    if isinstance(number, str):
        with suppress(ValueError):
            number = kind(int(number, 0))
    return None if isinstance(number, str) else number


def example_of(key: str) -> Any:
    """Return a value that a setting of one number can have: its default, or what suits most models."""
    if key in (item.name for item in fields(JobConfig) if item.metadata == BY_MODEL):
        return getattr(model_kinds()["base"], key)
    default = default_of(key)
    return None if default == MISSING or isinstance(default, (list, dict)) else default


@dataclass(frozen=True)
class Misfit:
    """A value that does not fit, or a part of one: its key, such as `data.labels[1].name`, what is wrong
    with it, and the value that fits instead where one is known."""

    key: str
    what: str
    instead: Any = None


def fits(key: str, value: Any) -> bool:
    """Tell whether a setting can have a value, as YAML or Hydra's grammar has read it."""
    value = spelled_out(key, value)
    kind = setting_types().get(key) if container_of(key) in (None, key) else None
    if isinstance(value, float):
        value = typed_value(kind, str(value))
    return not refusal(key, value) and not (kind and next(misfits(kind, value, key), None))


def refusal(key: str, value: Any) -> Exception | None:
    """Return the error of OmegaConf where a setting of the schema cannot have a value.

    It is tried on this setting alone: making the whole schema takes longer than reading all files.
    """
    known = container_of(key) or key
    section, _, name = known.rpartition(".")
    alone = make_dataclass("Setting", [(name, setting_types()[known], MISSING)])
    config, inside = OmegaConf.structured(alone), key.removeprefix(f"{section}.")
    try:
        OmegaConf.update(config, inside, value, merge=True, force_add=mapping_of(key) is not None)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        return error
    return None


def misfits(kind: Any, value: Any, key: str) -> Iterator[Misfit]:
    """Find every part of a value that its type does not allow."""
    if typing.get_origin(kind) is typing.Union:
        if value is None:
            return
        kind = first_type(kind)
    if is_reference(value):
        return
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is list:
        yield from _in_list(kind, value, key)
    elif typing.get_origin(kind) is dict:
        if not isinstance(value, dict):
            yield _not_a(kind, value, key)
            return
        for name, item in value.items():
            yield from misfits(inner[1], item, f"{key}.{name}")
    elif is_dataclass(kind):
        yield from _in_row(typing.cast(type, kind), value, key)
    elif kind is Texts:
        yield from _in_texts(value, key)
    elif not _is_a(kind, value):
        yield _not_a(kind, value, key)


def _in_list(kind: Any, value: Any, key: str) -> Iterator[Misfit]:
    if not isinstance(value, list):
        yield _not_a(kind, value, key)
        return
    for index, item in enumerate(value):
        yield from misfits(typing.get_args(kind)[0], item, f"{key}[{index}]")


def _in_row(kind: type, value: Any, key: str) -> Iterator[Misfit]:
    types = field_types(kind)
    if not isinstance(value, dict):
        form = "a section of settings" if key in setting_types() else f"a row of {{{_row(kind)}}}"
        yield Misfit(key, f"{_shown(value)} is not {form}")
        return
    rows = _rows_meant(kind, value)
    if len(value) == 1 and rows and not closest(str(next(iter(value))), list(types)):
        yield Misfit(key, f"{_shown(value)} is not a row of {{{_row(kind)}}}", rows[0])
        return
    for name, item in value.items():
        if name in types:
            yield from misfits(types[name], item, f"{key}.{name}")
        else:
            what = f"unknown name {name!r}{nearest(str(name), list(types))}"
            yield Misfit(f"{key}.{name}", what)


def _in_texts(value: Any, key: str) -> Iterator[Misfit]:
    for index, text in enumerate(value if isinstance(value, list) else []):
        if isinstance(text, (list, dict)) or text is None:
            yield Misfit(f"{key}[{index}]", f"{_shown(text)} is not a text")
    if isinstance(value, dict):
        yield _not_a(Texts, value, key)


def _is_a(kind: Any, value: Any) -> bool:
    if isinstance(value, (list, dict)) or value is None:
        return False
    if kind is bool:
        return isinstance(value, bool) or value in (0, 1)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return str(value).rpartition(".")[2] in kind.__members__
    return True


def _not_a(kind: Any, value: Any, key: str) -> Misfit:
    of_list = typing.get_origin(kind) is list
    instead: Any = _rows_meant(typing.get_args(kind)[0], value) if of_list else None
    if isinstance(value, str):
        instead = number_meant(value, kind)
    if isinstance(value, str) and typing.get_args(kind) == (str,):
        instead = [part.strip() for part in value.split(",")]
    return Misfit(key, f"{_shown(value)} is not {describe_type(kind, key)[0]}", instead)


def _rows_meant(row: Any, value: Any) -> list[dict[str, Any]] | None:
    """Write {name: values, ...} as rows that have names and values."""
    if not isinstance(value, dict) or not is_dataclass(row):
        return None
    first, *others = field_types(typing.cast(type, row))
    if len(others) != 1:
        return None
    return [{first: name, others[0]: inner if isinstance(inner, list) else [inner]}
            for name, inner in value.items()]  # fmt: skip


def _row(kind: type) -> str:
    return ", ".join(f"{name}: ..." for name in field_types(kind))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else hydra_value(value)
