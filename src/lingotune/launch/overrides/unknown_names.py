"""Names that are no settings: what they are called here, or why there is nothing of the kind."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.errors import HydraException

from lingotune.config.problems import listed
from lingotune.config.quoting import for_shell, hydra_value
from lingotune.config.settings import container_of, setting_types
from lingotune.launch.overrides.grammar import Groups, parse
from lingotune.launch.overrides.keys import (
    ALIASES,
    describe_type,
    letters_of,
    likeness,
    meant_by,
    settings_of,
)
from lingotune.launch.overrides.other_tools import not_here
from lingotune.launch.overrides.values import fits, number_meant

_CERTAIN = 0.85
"""Likeness from which a name of another tool counts as misspelled."""
_NOTHING = "leave it out"
_NOT = ("false", "0", "null", "none", "no", "")


def unknown_name(key: str, value: str | None, groups: Groups) -> tuple[str, str]:
    """Tell what is wrong with a name, and the overrides that do what is meant by it; '' if none do.

    value: as typed, for these overrides; None where only the name is to be told.
    """
    parents = [part for part in key.split(".")[:-1] if part in ALIASES]
    section = key.partition(".")[0]
    meant = meant_by(parents[0] if parents else key, groups, value or "")
    exact = next((part for part in reversed(key.split(".")) if part in not_here()), "")
    if exact and (not meant.is_sure or exact == key.rpartition(".")[2]):
        row = not_here()[exact]
        return f"is not a setting here: {row.because}", row.instead or _NOTHING
    near = "" if meant.is_sure else _misspelled(key, meant.likeness)
    if near:
        row = not_here()[near]
        what = f"unknown setting {key!r}; {near} is not a setting here: {row.because}"
        return what, row.instead or _NOTHING
    what = f"unknown setting {key!r}{meant.hint}"
    fix = ", or ".join(_offered(meant.names, value or "", groups))
    if fix or meant.is_sure:
        return what, fix
    return what, settings_of(section)


def _misspelled(key: str, likeness_of_setting: float) -> str:
    """Find the name of another tool that is nearer than all settings; '' if none is."""
    letters = letters_of(key.rpartition(".")[2])
    scores = {name: likeness(letters, letters_of(name)) for name in not_here() if name[0] != "_"}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > max(_CERTAIN, likeness_of_setting) else ""


def _offered(names: Sequence[str], value: str, groups: Groups) -> list[str]:
    """Write the names that can have the value with it; else the first with what it can have."""
    with_value = [_with_value(name, value, groups) for name in names]
    return list(filter(None, with_value)) or [
        _with_example(name, value, groups) for name in names[:1]
    ]


def _with_value(meant: str, value: str, groups: Groups) -> str:
    """Write what is meant with a value as it was typed, or as the setting can have it; '' if it cannot."""
    *before, last = meant.split()
    if "=" in last:
        words = (for_shell(word.replace("NAME", value)) for word in meant.split())
        return _NOTHING if value.lower() in _NOT else " ".join(words)
    form = f"{last}={value}"
    if not accepted(form, groups):
        number = number_meant(value, setting_types().get(last))
        form = f"{last}=[{value}]" if number is None else f"{last}={hydra_value(number)}"
    if not accepted(form, groups):
        form = f"{last}={value}"
        if not _sweeps(form, groups):
            return ""
    return " ".join([*before, for_shell(form)])


def _with_example(meant: str, value: str, groups: Groups) -> str:
    *before, last = meant.split()
    if last in groups:
        return f"{last}={listed(value, groups[last])}"
    kind = setting_types().get(last)
    return " ".join([*before, describe_type(kind, last)[1]]) if kind else ""


def _sweeps(text: str, groups: Groups) -> bool:
    """Tell whether an override sweeps values that its setting can have."""
    try:
        override = parse(text)
        if not (override.is_sweep_override() and override.is_discrete_sweep()):
            return False
        values = list(override.sweep_string_iterator())
    except (HydraException, ValueError):
        return False
    key = override.key_or_group
    return bool(values) and all(accepted(f"{key}={value}", groups) for value in values)


def accepted(text: str, groups: Groups) -> bool:
    """Tell whether an override sets what there is to a value that it can have."""
    try:
        override = parse(text)
    except HydraException:
        return False
    key = override.key_or_group
    if override.is_sweep_override() or override.is_delete():
        return False
    if key in groups:
        return text.partition("=")[2] in groups[key]
    if key not in setting_types() and not container_of(key):
        return False
    return fits(key, override.value())
