"""Overrides that mean what was typed, for those that Hydra's grammar cannot read."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

from lingotune.config.problems import listed
from lingotune.config.quoting import for_shell, hydra_value, repaired
from lingotune.config.settings import container_of, mapping_of, setting_types
from lingotune.launch.overrides.grammar import Groups
from lingotune.launch.overrides.keys import describe_type
from lingotune.launch.overrides.unknown_names import accepted
from lingotune.launch.overrides.values import as_on_keyboard, example_of, first_type, number_meant

_OPENS = {"[": "]", "{": "}"}


def forms_of(name: str, value: str, groups: Groups) -> Iterator[str]:
    """Yield overrides that mean what was typed, the likeliest first; at least one."""
    tried = (form for form in _guesses(name, value, groups) if accepted(form, groups))
    yield from tried
    kind = setting_types().get(name)
    if name in groups or is_choice(kind) or kind in (bool, int, float):
        yield f"{name}={choices_of(name, groups)}"
    else:
        yield f"{name}={hydra_value(value)}"


def _guesses(name: str, value: str, groups: Groups) -> Iterator[str]:
    """Yield what may be meant, of which not all can be read."""
    plain = as_on_keyboard(value).strip()
    kind = setting_types().get(container_of(name) or name)
    mapping = mapping_of(name)
    if "${" in value:
        yield f"{name}={value}" + "}"
    if mapping and mapping != name and not re.fullmatch(r"[\w.]+", name):
        yield f"{mapping}={hydra_value({name[len(mapping) + 1 :]: value})}"
    if (number := number_meant(value, kind)) is not None:
        yield f"{name}={hydra_value(number)}"
    if is_choice(kind) or name in groups:
        yield f"{name}={plain.strip(_STRAY)}"
        yield f"{name}={plain.strip(_STRAY).lower()}"
    if plain != value:
        yield f"{name}={plain}"
    if typing.get_origin(kind) in (list, dict) or plain[:1] in _OPENS:
        yield from (f"{name}={items}" for items in _items(value, plain, kind))
    if re.fullmatch(r"""['"][^'"]+|[^'"]+['"]""", plain):  # one that was left open
        yield f"{name}={hydra_value(plain.strip(_QUOTES))}"
    if value[-1:] in (",", ";"):
        yield f"{name}={hydra_value(value.rstrip(',;'))}"
    yield f"{name}={hydra_value(value)}"


def _items(value: str, plain: str, kind: Any) -> Iterator[str]:
    yield repaired(value.strip(), holds_items=True)
    yield repaired(_balanced(plain), holds_items=True)
    if typing.get_origin(kind) is list:
        yield f"[{repaired(plain.strip('[]'), holds_items=True)}]"


_QUOTES = "'\""
_STRAY = "'\"`()[] ,;="


def as_pasted(form: str) -> str:
    """Quote an override for the shell; a list of choices is no override yet."""
    if re.search(r"\$\{?[A-Z_]+\b", form) and '"' not in form:
        return f'"{form}"'  # a variable, which the shell fills in
    return form if " | " in form else for_shell(form)


def is_choice(kind: Any) -> bool:
    """Tell whether a type has a few values, each with a name."""
    kind = first_type(kind)
    return kind is bool or (isinstance(kind, type) and issubclass(kind, Enum))


def has_no_blanks(kind: Any) -> bool:
    """Tell whether no value of a type has a blank in it."""
    inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    return is_choice(kind) or bool({int, float} & {kind, *inner})


def _balanced(value: str) -> str:
    """Close the brackets and quotes of a list or mapping that are open, and drop empty items."""
    fixed, open_ = "", ""
    for letter in value:
        if letter in _OPENS:
            open_ += _OPENS[letter]
        elif letter in _OPENS.values():
            while open_ and open_[-1] != letter and letter in open_:
                fixed += open_[-1]
                open_ = open_[:-1]
            if not open_:
                continue  # closes what was never opened
            open_ = open_[:-1]
        fixed += letter
    fixed += open_[::-1]
    if any(fixed.count(quote) % 2 for quote in _QUOTES):
        fixed = re.sub(r"['\"]", "", fixed)
    return re.sub(r",\s*(?=[,\]}])|(?<=\[)\s*,", "", fixed)


def choices_of(name: str, groups: Groups) -> str:
    """Show what a setting or group may be given, without its name."""
    if name in groups:
        return listed("", groups[name])
    known = container_of(name) or name
    example = example_of(known) if known == name else None
    if example is not None and not is_choice(setting_types()[known]):
        return hydra_value(example)
    first, *_ = describe_type(setting_types()[known], known)[1].split(", or ")
    return first.strip("'").partition("=")[2]
