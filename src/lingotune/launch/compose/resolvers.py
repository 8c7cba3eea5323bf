"""Calls of resolvers in values, `${oc.env:NAME}`, `${now:%Y}`: why they are refused, and what works."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException

from lingotune.config.quoting import for_shell
from lingotune.config.settings import container_of, is_setting, setting_types
from lingotune.config.yaml_text import typed_value
from lingotune.launch.compose.variables import REFERENCE
from lingotune.launch.overrides.grammar import parse
from lingotune.launch.overrides.keys import describe_type
from lingotune.launch.overrides.values import fits

CALL = re.compile(r"\$\{[^}]*(:|\$\{)")
"""Also ${${...}}: an inner reference could name the resolver."""
_INNERMOST = re.compile(r"\$\{([\w.]+):([^${}]*)\}")
_INDEX = re.compile(r"\[(\d+)\]")
_FIRST_ARGUMENT = re.compile(r"\s*([^,\s]+)\s*(?:,\s*(.*))?")


def resolver_refused(key: str, value: str) -> tuple[str, str]:
    """Say what is wrong with a value that calls a resolver, and write what works."""
    what = f"{value!r} calls a resolver; only ${{other.setting}} is allowed"
    names = _readable(key, value)
    if names:
        return what, " ".join(f"--env {name}" for name in names)
    unset = [m[1] for m in REFERENCE.finditer(value) if m[2] is None and m[1] not in os.environ]
    if unset:
        what += f"; {' and '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set here"
    return what, _instead(_INDEX.sub(r".\1", key), value) or example(key)


def example(key: str) -> str:
    """Write an override that gives a setting some value of its type; '' for what is no setting."""
    plain = _INDEX.sub(r".\1", key)
    known = container_of(plain) or plain
    kind = setting_types().get(known)
    return describe_type(kind, known)[1].split(", or ")[0] if kind is not None else ""


def _readable(key: str, value: str) -> list[str]:
    """List the variables that a value refers to, if they are all that it calls, and their values fit."""
    names = []
    text = value
    while found := REFERENCE.search(text):
        if found[2] is None and found[1] not in os.environ:
            return []
        names.append(found[1])
        filled = os.environ.get(found[1], _unquoted(found[2] or ""))
        text = text[: found.start()] + filled + text[found.end() :]
    kind = setting_types().get(key)
    if CALL.search(text) or (kind and not fits(key, typed_value(kind, text))):
        return []
    return list(dict.fromkeys(names))


def _instead(key: str, value: str) -> str:
    """Write the override that does what the calls do; '' where none does."""
    text = value
    while found := _INNERMOST.search(text):
        call = _CALLS.get(found[1])
        plain = call(found[2]) if call else None
        if plain is None:
            return ""
        text = text[: found.start()] + plain + text[found.end() :]
    if "${" in text and not all(map(is_setting, re.findall(r"\$\{([^{}]*)\}", text))):
        return ""
    if f"${{{key}}}" in text:
        return ""
    if "$" in text.replace("${", ""):  # which the shell fills in
        return f'"{key}={text}"' if not set('"`\\') & set(text) and "${" not in text else ""
    return for_shell(f"{key}={text}") if _is_accepted(key, text) else ""


def _is_accepted(key: str, text: str) -> bool:
    try:
        value: Any = parse(f"{key}={text}").value()
    except HydraException:
        return False
    known = container_of(key) or key
    return "${" in text or (known == key and fits(key, typed_value(setting_types()[key], value)))


def _now(pattern: str) -> str | None:
    """Let the shell write the time."""
    return f"$(date +{pattern})" if re.fullmatch(r"[%\w.-]+", pattern) else None


def _of_hydra(name: str) -> str | None:
    group = name.removeprefix("runtime.choices.")
    if group != name:
        return f"${{{group}.name}}"
    return {
        "job.name": "${name}",
        "run.dir": "${runs_dir}",
        "sweep.dir": "${runs_dir}",
        "runtime.output_dir": "${runs_dir}",
        "runtime.cwd": "$PWD",
    }.get(name)


def _selected(arguments: str) -> str | None:
    found = _FIRST_ARGUMENT.fullmatch(arguments)
    if found is None:
        return None
    return f"${{{found[1]}}}" if is_setting(found[1]) else _unquoted(found[2] or "")


def _unquoted(text: str) -> str:
    return re.sub(r"^\s*(['\"])(.*)\1\s*$", r"\2", text).strip()


def _variable(arguments: str) -> str | None:
    name, comma, default = arguments.partition(",")
    if name.strip() in os.environ:
        return f"${name.strip()}"
    return _unquoted(default) if comma else None


_CALLS: dict[str, Callable[[str], str | None]] = {
    "now": _now,
    "hydra": _of_hydra,
    "oc.env": _variable,
    "env": _variable,
    "oc.select": _selected,
    "oc.deprecated": _selected,
    "oc.decode": _unquoted,
    "oc.create": _unquoted,
}
"""Resolver -> what stands for a call with its arguments; None where nothing does."""
