"""What is typed, one override at a time: read with Hydra's grammar, refused in our words."""

from __future__ import annotations

import functools
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.overrides_visitor import HydraOverrideVisitor
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

from lingotune.config.problems import ConfigError, Problem, nearest
from lingotune.launch.compose.keys import (
    OTHER_NAMES,
    container_of,
    describe_type,
    mapping_of,
    setting_types,
)

Groups = Mapping[str, Sequence[str]]
"""Group name -> its options."""


def read_overrides(
    texts: Sequence[str], groups: Groups, *, multirun: bool, new_groups: Collection[str] = ()
) -> tuple[list[list[Override]], list[Problem]]:
    """Of each text the overrides that its sweep expands to (one without a sweep); what is refused
    is left out and becomes a problem. `new_groups`: those of the user's own, chosen by +group=option."""
    read: list[list[Override]] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            override = _parse(text)
        except HydraException:
            problems.append(_not_an_override(text))
            continue
        values = _accepted(override, text, groups, multirun, new_groups)
        if isinstance(values, Problem):
            problems.append(values)
        else:
            read.append(values)
    return read, problems


def chooses_group(override: Override, groups: Groups) -> bool:
    """Whether it picks a group's option, rather than setting values: cluster={nodes: 2} does not."""
    return override.key_or_group in groups and not isinstance(override.value(), dict)


def line_of(override: Override) -> str:
    """The override as text: as typed, or one value of a sweep."""
    return override.input_line or ""


def wrong_type(override: Override, error: object = "") -> Problem:
    """That the value does not fit the setting; `error` says why, where the type alone cannot."""
    text = line_of(override)
    key, _, value = text.partition("=")
    known = key if key in setting_types() else container_of(key) or key
    kind = setting_types()[known]
    name, fix = describe_type(kind, known)
    if known != key:
        return Problem(text, f"does not fit {known}: {in_a_line(error)}", fix)
    if is_dataclass(kind):
        fix = f"{key}.setting=value, each on its own"
        return Problem(text, f"does not fit: {in_a_line(error)}", fix)
    if typing.get_origin(kind) is list and not value.startswith(("[", "{")):
        fix = f"'{key}=[{value}]'"
    return Problem(text, f"{value!r} is not {name}", fix)


def in_a_line(error: object) -> str:
    """Hydra's and OmegaConf's messages without the trailing lines about their own objects."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    about_objects = ("full_key:", "object_type=", "reference_type=", "See http")
    told = [line for line in lines if not line.startswith(about_objects)]
    return " ".join(told) or type(error).__name__


# --- reading ------------------------------------------------------------------------------------


class _AsTyped(HydraOverrideVisitor):
    """Reads 1.10 and true as texts: a number would come back as 1.1."""

    def _createPrimitive(self, ctx: Any) -> Any:
        value = super()._createPrimitive(ctx)
        return ctx.getText().strip() if isinstance(value, (bool, int, float)) else value

    def visitFunction(self, ctx: Any) -> Any:
        return HydraOverrideVisitor(self.functions).visitFunction(ctx)  # range(1,3) counts


@functools.cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _parse(text: str) -> Override:
    override = _parser().parse_override(text)
    if mapping_of(override.key_or_group):
        tree = OverrideParser(CommonTokenStream(OverrideLexer(InputStream(text)))).override()  # type: ignore[no-untyped-call]
        override = _AsTyped(create_functions()).visit(tree)
        override.input_line = text
    return override


def _values(override: Override) -> list[Override]:
    """The overrides that a sweep expands to; a plain override is its own."""
    if not override.is_sweep_override():
        return [override]
    if not override.is_discrete_sweep() or (
        override.value_type and "GLOB" in override.value_type.name
    ):
        raise ConfigError([Problem("sweep", "only lists and range() of values can be swept")])
    key = override.get_key_element()
    return [_parse(f"{key}={value}") for value in override.sweep_string_iterator()]


# --- refusing -----------------------------------------------------------------------------------


def _accepted(
    override: Override, text: str, groups: Groups, multirun: bool, new_groups: Collection[str]
) -> list[Override] | Problem:
    key = override.key_or_group
    choice = chooses_group(override, groups)
    problem = _refused_form(override, text, new_groups) or (
        None if choice else _unknown_key(text, key, groups)
    )
    several = override.is_sweep_override() and not multirun
    if problem or (several and not choice):
        return problem or _needs_multirun(text, key)
    try:
        values = _values(override)
    except (HydraException, ConfigError) as error:
        fix = _options(key, groups) if choice else f"{key}=a,b,c"
        return Problem(text, in_a_line(error), fix)
    found = (_unfit(value, text, groups) for value in values)
    problem = next((p for p in found if p), None)
    if several and not problem:
        problem = _needs_multirun(text, key)
    return problem or values


def _unfit(override: Override, text: str, groups: Groups) -> Problem | None:
    if chooses_group(override, groups):
        return _unknown_option(override, text, groups)
    return _not_named_texts(override, text)


def _not_an_override(text: str) -> Problem:
    if text.startswith("-"):
        return Problem(
            text, "unknown option", "--help, --cfg job, --config-dir DIR, -m; or key=value"
        )
    fix = "key=value; quote values with spaces or symbols, e.g. \"data.path='my file.csv'\""
    return Problem(text, "is not a setting of the form key=value", fix)


def _refused_form(override: Override, text: str, new_groups: Collection[str]) -> Problem | None:
    key = override.key_or_group
    if key.split(".")[0].split("/")[0] == "hydra":
        return Problem(text, "hydra's own settings cannot be changed here", "run without it")
    if override.is_delete():
        return Problem(text, "settings cannot be removed", f"{key}=null, if it may be empty")
    added = override.is_add() and key in new_groups
    if (override.is_add() or override.is_force_add()) and not added:
        return Problem(text, "nothing can be added: every setting exists", text.lstrip("+"))
    if override.package is not None:
        return Problem(
            text, "a group's place in the config is fixed", text.replace(f"@{override.package}", "")
        )
    return None


def _needs_multirun(text: str, key: str) -> Problem:
    kind, value = setting_types().get(key), text.partition("=")[2]
    fix = f"-m {text}"
    if typing.get_origin(kind) is list:
        fix += f"; or one list: '{key}=[{value}]'"
    elif mapping_of(key) or describe_type(kind, key)[0] == "a text":
        fix += f"; or one text: '{key}=\"{value}\"'"
    return Problem(text, "several values need a multirun", fix)


def _unknown_option(override: Override, text: str, groups: Groups) -> Problem | None:
    group = override.key_or_group
    value = line_of(override).split("=", 1)[1]
    if value in groups[group] or (group == "experiment" and value == "null"):
        return None
    what = f"{group} has no option {value!r}{nearest(value, groups[group])}"
    return Problem(text, what, _options(group, groups))


def _options(group: str, groups: Groups) -> str:
    return f"{group}=" + " | ".join(groups[group])


def _not_named_texts(override: Override, text: str) -> Problem | None:
    """What is wrong with texts under names of the user's own: cluster.environment, aws.tags."""
    key, value = override.key_or_group, override.value()
    mapping = mapping_of(key)
    if mapping is None:
        return None
    if key != mapping:
        fix = f"{key}=text, or \"{key}='null'\""
        return None if isinstance(value, str) else Problem(text, "is not a text", fix)
    pairs = value.items() if isinstance(value, dict) else [(None, None)]
    if all(isinstance(part, str) for pair in pairs for part in pair):
        return None
    return wrong_type(override)


def _unknown_key(text: str, key: str, groups: Groups) -> Problem | None:
    settings = setting_types()
    mapping = mapping_of(key)
    if mapping and key.count(".") > mapping.count(".") + 1:
        name = key[len(mapping) + 1 :]
        fix = f"'{mapping}={{{name}: value}}', if the name has dots"
        return Problem(text, f"{mapping} holds texts by name, nothing deeper", fix)
    if key in settings or container_of(key):
        return None
    section, leaf = key.split(".")[0], key.rsplit(".", 1)[-1]
    if known_as := OTHER_NAMES.get(key):
        return Problem(text, f"unknown setting {key!r}: here it is {known_as}")
    moved = [known for known in settings if known.rsplit(".", 1)[-1] == leaf]
    if moved:
        return Problem(text, f"unknown setting {key!r}; did you mean {' or '.join(moved)}?")
    if known_as := OTHER_NAMES.get(leaf):
        return Problem(text, f"unknown setting {key!r}: here it is {known_as}")
    known = [*settings, *groups, *(f"{k}.{leaf}" for k in settings if mapping_of(k))]
    hint = nearest(key, known) or nearest(leaf, [k.rsplit(".", 1)[-1] for k in known])
    inside = [k for k in settings if k.startswith(f"{section}.") and k.count(".") == 1]
    fix = f"settings of {section}: " + ", ".join(k.split(".")[1] for k in inside)
    return Problem(text, f"unknown setting {key!r}{hint}", fix if inside else "")
