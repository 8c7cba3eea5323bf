"""Lines of group files that work, for those that do not."""

from __future__ import annotations

import re
import shlex
import typing
from dataclasses import is_dataclass
from typing import Any

import yaml

from lingotune.config.quoting import hydra_value
from lingotune.config.settings import mapping_of, setting_types
from lingotune.config.yaml_text import typed_value
from lingotune.launch.overrides.keys import describe_type
from lingotune.launch.overrides.values import Misfit, example_of, number_meant

_OVERRIDE = re.compile(r"'?([a-z_][\w.]*)=")
_SEVERAL = re.compile(r"[\w.+-]+(, ?[\w.+-]+)+|(choice|range)\(.*\)")
_MENDED = {
    "'\\t' that cannot start": "blanks in place of the tab",
    "cannot start any token": "quotes around the value, as in name: '@a'",
    "mapping values are not allowed": "quotes around a value with a colon, as in name: 'a: b'",
    "determine a constructor": "leave out the tag, or put quotes around the value",
    "another document": "one document in a file: leave out the --- and what follows it",
    "duplicate key": "leave one of them out",
    "<block end>": "the same number of blanks before each setting of a section",
    "unhashable key": "a key is one word",
    "alias stands for": "the value itself, without & and *",
    "aliases stand for": "the values themselves, without & and *",
    "nested too deeply": "settings in sections, as --cfg job prints them",
    "undefined alias": "quotes around the value, as in name: '*a'",
}
"""Words of a YAML parser's message -> what works."""


def mended(message: str) -> str:
    """Tell what works for a message of the YAML parser; '' where nothing certain does."""
    return next((fix for words, fix in _MENDED.items() if words in message), "")


def in_yaml(value: Any) -> str:
    """Write a value on one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return str(text).removesuffix("\n...\n").strip()


def nested(key: str, value: Any) -> str:
    """Write a setting by its dotted key, in its sections: `training: {compile: true}`."""
    *sections, name = key.split(".")
    text = f"{name}: {value if isinstance(value, str) else in_yaml(value)}"
    for section in reversed(sections):
        text = f"{section}: {{{text}}}"
    return text


def line_for(misfit: Misfit, key: str) -> str:
    """Write the line of a setting with a value that fits."""
    kind, name = setting_types()[key], misfit.key.rpartition(".")[2]
    instead = misfit.instead
    is_number = {int, float} & {kind, *typing.get_args(kind)}
    if instead is None and misfit.key == key and is_number:
        instead = example_of(key)
    if instead is not None and name.endswith("]"):
        return f"- {in_yaml(instead)}"
    if instead is not None:
        return f"{name}: {in_yaml(instead)}"
    if mapping_of(key) and misfit.key != key:
        return f"{name}: text"
    if is_dataclass(kind):
        return f"{name}: {{SETTING: value}}, or leave it out"
    return as_lines(describe_type(kind, key)[1], key)


def as_lines(fix: str, key: str) -> str:
    """Turn overrides that are offered for a key into lines of a file: 'epochs=3' into 'epochs: 3'."""
    section = key.rpartition(".")[0]
    lines = [_as_line(offered, section) for offered in fix.split(", or ")]
    if mapping_of(key):
        del lines[1:]  # KEY.NAME=value, which no file has
    return ", or ".join(lines)


def _as_line(offered: str, section: str) -> str:
    if not _OVERRIDE.match(offered):
        return offered
    words = [offered] if "|" in offered or "..." in offered else shlex.split(offered)
    return "; ".join(_line(word.strip("'"), section) for word in words)


def _line(override: str, section: str) -> str:
    key, _, value = override.partition("=")
    if is_dataclass(setting_types().get(key)):  # a group's option
        return f"defaults: [override /{key}: {value}]"
    parent, _, name = key.rpartition(".")
    return f"{name}: {value}" if parent == section else nested(key, value)


def sweep_of(value: Any, kind: Any) -> str:
    """Write several values for a setting of one as they are swept; '' for what is no such list."""
    if typing.get_origin(kind) in (list, dict) or is_dataclass(kind):
        return ""
    if isinstance(value, list) and len(value) > 1:
        return ",".join(hydra_value(typed_value(float, item)) for item in value)
    if isinstance(value, str) and _SEVERAL.fullmatch(value) and number_meant(value, kind) is None:
        return value.replace(" ", "")
    return ""
