"""Overrides one at a time: reading them with Hydra's grammar, and refusing them in our own words."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from lingotune.config.problems import ConfigError, Problem, control_in, listed, nearest
from lingotune.config.program import program
from lingotune.config.quoting import for_shell, hydra_value, override_text
from lingotune.config.schema import SweepCode, Texts
from lingotune.config.secrets import looks_secret
from lingotune.config.settings import container_of, mapping_of, setting_types
from lingotune.config.undecodable import is_undecodable, renaming, with_bytes
from lingotune.launch.overrides.grammar import Groups, key_of_word, parse, repeated_name
from lingotune.launch.overrides.hydra_names import hydra_answer, is_of_hydra
from lingotune.launch.overrides.keys import describe_type
from lingotune.launch.overrides.offers import LEAVE_OUT
from lingotune.launch.overrides.swept import Axis, axis_of, swept_twice
from lingotune.launch.overrides.unknown_names import accepted, unknown_name
from lingotune.launch.overrides.unreadable import unreadable, without_loose_words
from lingotune.launch.overrides.values import fits, is_reference, number_meant

WITHOUT_DEFAULT = ("experiment", "sweep")
"""Groups of which no option is chosen by default; null stands for none."""
_VARIABLE = re.compile(r"\$\{(?:oc\.)?env:(\w+)[^}]*\}")
_PARAMS = "sweep.params"
_OF_HYDRA = "hydra.sweeper.params."


@dataclass(frozen=True)
class TypedOverride:
    """One override of a job: dotted key or group, value as text, and the whole as it was typed."""

    key: str
    value: str
    text: str

    @classmethod
    def read(cls, text: str) -> TypedOverride:
        """Split a text, which need not be an override that Hydra can read."""
        key, _, value = text.partition("=")
        return cls(key.lstrip("+~"), value, text)

    @classmethod
    def of(cls, override: Override) -> TypedOverride:
        """Convert Hydra's object."""
        text = override.input_line or ""
        return cls(override.key_or_group, text.partition("=")[2], text)

    @property
    def section(self) -> str:
        """First part of the key: `data` for `data.path`."""
        return self.key.partition(".")[0]

    def refused(self, what: str, fix: str = "") -> Problem:
        """Make a problem of the whole override, whose key need not be a setting."""
        return Problem(self.text, what, fix, key=self.key, value=self.value or None)

    def __str__(self) -> str:
        return self.text


_DEPLOY = "deploy"


def read_overrides(
    texts: Sequence[str], groups: Groups, *, multirun: bool, new_groups: Collection[str] = ()
) -> tuple[list[Axis], list[Problem]]:
    """Expand each text to its values; to a single one if it is not a sweep.

    Refused texts are left out; each becomes a problem. new_groups: the user's own, which are chosen by
    +group=option.
    """
    read: list[Axis] = []
    texts, problems = without_loose_words(texts, groups)
    for text in texts:
        axis = _read(in_full(text), groups, multirun, new_groups)
        if isinstance(axis, Problem):
            problems.append(axis)
        else:
            read.append(axis)
    return read, [*problems, *swept_twice(read)]


def read_params(
    params: Mapping[str, str], groups: Groups, new_groups: Collection[str]
) -> tuple[list[Axis], list[Problem]]:
    """Expand what a file sweeps, by setting or group; the key of a problem is sweep.params.KEY."""
    read: list[Axis] = []
    problems: list[Problem] = []
    for key, values in params.items():
        place = f"sweep.params.{key}"
        plus = "+" if key in new_groups else ""
        axis = _read(f"{plus}{key}={values}", groups, True, new_groups)
        if isinstance(axis, Problem):
            problems.append(replace(axis, key=place))
        else:
            read.append(replace(axis, place=place))
    return read, problems


def of_deploy(text: str) -> bool:
    """Tell whether an override, which need not be readable, is of the section that serves a model."""
    return _key_typed(text).partition(".")[0] == _DEPLOY and not control_in(text)


def no_effect_here(text: str) -> Problem:
    """Refuse a setting of the command that serves a trained model."""
    what = "is about serving a trained model, and has no effect here"
    try:
        parse(text)
        fix = f"{program('deploy')} RUN {for_shell(text)}"
    except HydraException:
        fix = LEAVE_OUT
    return Problem(text, what, fix, key=_key_typed(text))


def _key_typed(text: str) -> str:
    return key_of_word(text.lstrip("-~"))


def in_full(text: str) -> str:
    """Spell out `retry=failed` and `code=new`, which are short for settings of the sweep."""
    key, equals, value = text.partition("=")
    if equals and (key == "retry" or (key == "code" and value in SweepCode.__members__)):
        return f"sweep.{text}"
    return text


def _undecodable(typed: TypedOverride) -> Problem:
    """Refuse an override with bytes that are no UTF-8: with the command that renames the file it names."""
    path = Path(typed.value.strip("'\""))
    fix = renaming(path) if path.exists() else LEAVE_OUT
    what = "holds bytes that are not UTF-8, which no job file can"
    return Problem(with_bytes(typed.text), what, fix, key=typed.key)


def _read(text: str, groups: Groups, multirun: bool, new_groups: Collection[str]) -> Axis | Problem:
    if control := control_in(text):
        return Problem(text, f"holds the control character {control}", LEAVE_OUT)
    if is_undecodable(text):
        return _undecodable(TypedOverride.read(text))
    try:
        override = parse(text)
        if not override.key_or_group:
            raise HydraException
    except HydraException:
        return unreadable(text, groups)
    return _accepted(override, text, groups, multirun, new_groups)


def chooses_group(override: Override, groups: Groups) -> bool:
    """Tell whether an override chooses a group's option rather than values, as cluster={nodes: 2} does."""
    return override.key_or_group in groups and not isinstance(override.value(), dict)


def line_of(override: Override) -> str:
    """Return the override as typed, or as it would be typed for one value of a sweep."""
    return override.input_line or ""


def wrong_type(override: Override, error: object = "", now: Any = None) -> Problem:
    """Describe a value that does not fit its setting; `error` says why where the type alone cannot.

    now: the value of the job without the override.
    """
    typed = TypedOverride.of(override)
    key, value, text = typed.key, typed.value, typed.text
    known = key if key in setting_types() else container_of(key) or key
    kind = setting_types()[known]
    name, fix = describe_type(kind, known)
    if known != key:
        return Problem(text, f"does not fit {known}: {in_a_line(error)}", fix)
    if is_dataclass(kind):
        given = override.value()
        if not isinstance(given, dict):
            return Problem(text, f"{value!r} is not {name}", fix, key=key)
        for inner, held in given.items():
            if f"{key}.{inner}" not in setting_types():
                told = unknown_name(f"{key}.{inner}", hydra_value(held), {})
                return Problem(text, *told, key=key)
        return Problem(text, f"does not fit: {in_a_line(error)}", fix, key=key)
    if typing.get_origin(kind) is list and value == "null":
        fix = override_text(key, now or [])
    elif typing.get_origin(kind) is list and not value.startswith(("[", "{")):
        fix = for_shell(f"{key}=[{value}]")
    elif (meant := number_meant(value, kind)) is not None:
        fix = override_text(key, meant)
    elif kind in (bool, int, float) and isinstance(now, kind):
        fix = override_text(key, now)
    return Problem(text, f"{value!r} is not {name}", fix)


def removal(override: Override, groups: Groups, defaults: Mapping[str, Any], now: Any) -> Problem:
    """Refuse to remove a setting or a group; what works is the value that stands for none of it.

    defaults: option by group that is chosen without one. now: the value of the job as it is.
    """
    key = override.key_or_group
    kind = setting_types().get(key)
    value = now
    if key in groups:
        value = defaults.get(key)
    elif type(None) in typing.get_args(kind):
        value = None
    elif typing.get_origin(kind) in (list, dict):
        value = {} if typing.get_origin(kind) is dict else []
    elif is_dataclass(kind):
        return _refused(override, "settings cannot be removed", "leave it out")
    return _refused(override, "settings cannot be removed", override_text(key, value))


def in_a_line(error: object) -> str:
    """Join Hydra's and OmegaConf's messages, without the lines about their own objects."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    about_objects = ("full_key:", "object_type=", "reference_type=", "See http",
                     "Config search path:", "provider=")  # fmt: skip
    told = [line for line in lines if not line.startswith(about_objects)]
    return " ".join(told) or type(error).__name__


# --- refusing -----------------------------------------------------------------------------------


def _accepted(
    override: Override, text: str, groups: Groups, multirun: bool, new_groups: Collection[str]
) -> Axis | Problem:
    key = override.key_or_group
    choice = chooses_group(override, groups)
    problem = _refused_form(override, new_groups, groups, multirun) or (
        None if choice else _unknown_key(override, groups)
    )
    adds = override.is_add() or override.is_force_add()
    if adds and key not in new_groups and not mapping_of(key):
        problem = problem or _added(override, groups, multirun)
    if override.is_delete():
        return problem or Axis(override, (override,))
    several = override.is_sweep_override() and not multirun
    if not problem and (name := repeated_name(text)):
        swept = override.is_sweep_override()
        fix = "leave one out" if swept else override_text(key, override.value())
        problem = _refused(override, f"names {name} twice", fix)
    if not problem and not choice and isinstance(override.value(), Glob):
        what = "glob() chooses options of a group, and this is none"
        fix = describe_type(setting_types().get(key), key)[1]
        problem = _refused(override, what, fix)
    if problem or (several and not choice):
        return problem or _needs_multirun(override)
    try:
        axis = axis_of(override, groups)
    except ConfigError as error:
        (wrong,) = error.problems
        return replace(_refused(override, wrong.what, wrong.fix), check=wrong.check)
    except HydraException as error:
        fix = _options(key, groups) if choice else f"{key}=a,b,c"
        return _refused(override, in_a_line(error), fix)
    found = (_unfit(value, override, groups) for value in axis.values)
    problem = next((p for p in found if p), None)
    if several and not problem:
        problem = _needs_multirun(override)
    return problem or axis


def _refused(override: Override, what: str, fix: str = "") -> Problem:
    return TypedOverride.of(override).refused(what, fix)


def _unfit(value: Override, sweep: Override, groups: Groups) -> Problem | None:
    """Refuse one value of a sweep, showing the whole sweep."""
    if chooses_group(value, groups):
        return _unknown_option(value, sweep, groups)
    return _not_named_texts(value, sweep)


def _of_hydra(override: Override, multirun: bool) -> Problem:
    """Refuse a setting of Hydra's own; what works is ours that does the same."""
    key, text = override.key_or_group, line_of(override)
    what = "hydra's own settings cannot be changed here"
    if key.startswith(_OF_HYDRA) and not (override.is_delete() or looks_secret(text)):
        fix = f"-m {for_shell(text.lstrip('+~').removeprefix(_OF_HYDRA))}"
        return _refused(override, what, fix)
    answer = hydra_answer(key, None if override.is_delete() else override.value())
    return _refused(override, f"{what}: {answer.because}", answer.fix(multirun))


def _refused_form(
    override: Override, new_groups: Collection[str], groups: Groups, multirun: bool
) -> Problem | None:
    key, text = override.key_or_group, line_of(override)
    if is_of_hydra(key):
        return _of_hydra(override, multirun)
    if key == _PARAMS or key.startswith(f"{_PARAMS}."):
        what = "stands in files; what is typed is swept with -m"
        named = for_shell(text.lstrip("+~").removeprefix(f"{_PARAMS}."))
        return _refused(override, what, f"-m {'lr=1e-5,3e-5' if key == _PARAMS else named}")
    if override.is_sweep_override() and _of_the_command(key):
        one = re.split(r"[(,)]", TypedOverride.of(override).value.removeprefix("choice("))[0]
        what = "is about all jobs of the command, and cannot vary"
        return _refused(override, what, _one_of(key, one, groups))
    if override.is_force_add() and key in new_groups:
        what = "a group of your own is added, not forced"
        return _refused(override, what, for_shell(text.removeprefix("+")))
    if override.package is not None:
        plain = text.replace(f"@{override.package}", "", 1)
        fix = for_shell(plain if key in new_groups else plain.lstrip("+"))
        return _refused(override, "a group's place in the config is fixed", fix)
    return None


def _of_the_command(key: str) -> bool:
    """Tell whether a setting or group is one for all jobs of a command."""
    sections = ("sweep", "budget", "rehearsal")
    return key in ("action", "output", "job_file", *sections) or key.startswith(
        tuple(f"{section}." for section in sections)
    )


def _added(override: Override, groups: Groups, multirun: bool) -> Problem:
    """Refuse the + before what exists; where it would be refused without it too, that is told."""
    text = line_of(override)
    without = text.lstrip("+")
    found = _accepted(parse(without), without, groups, multirun, ())
    if isinstance(found, Problem):
        return replace(found, where=text)
    plain = parse(without)
    single = not plain.is_sweep_override() and not chooses_group(plain, groups)
    if single and override.key_or_group in setting_types() and not _fits(plain):
        return replace(wrong_type(plain), where=text)
    return _refused(override, "nothing can be added: every setting exists", for_shell(without))


def _fits(override: Override) -> bool:
    value = override.value()
    return is_reference(value) or fits(override.key_or_group, value)


def _one_of(key: str, value: str, groups: Groups) -> str:
    """Write the choice of one value for all jobs; where it is none, what can be chosen."""
    typed = f"{key}={value}"
    if accepted(typed, groups):
        return for_shell(typed)
    if key in groups:
        return _options(key, groups)
    kind = setting_types().get(key)
    return describe_type(kind, key)[1] if kind else for_shell(typed)


def _needs_multirun(override: Override) -> Problem:
    key, text = override.key_or_group, line_of(override)
    kind, value = setting_types().get(key), TypedOverride.of(override).value
    fix = f"-m {for_shell(text)}"
    is_call = "(" in value
    if typing.get_origin(kind) is list and not (is_call or "[" in value):
        fix = f"-m {for_shell(f'{key}=' + ','.join(f'[{one}]' for one in value.split(',')))}"
    if override.is_interval_sweep():
        fix += " sweep.search=tpe sweep.trials=20"
    if not is_call and (typing.get_origin(kind) is list or kind is Texts):
        fix += f"; or one list: '{key}=[{value}]'"
    if kind is Texts or mapping_of(key) or describe_type(kind, key)[0] == "a text":
        fix += f"; or one text: {override_text(key, value)}"
    if kind is float and (meant := number_meant(value, kind)) is not None:
        fix += f"; or one number: {override_text(key, meant)}"
    return _refused(override, "several values need a multirun", fix)


def _unknown_option(choice: Override, sweep: Override, groups: Groups) -> Problem | None:
    group = choice.key_or_group
    value = TypedOverride.of(choice).value
    if value in groups[group] or (group in WITHOUT_DEFAULT and value == "null"):
        return None
    if "${" in value:
        what = "an option is chosen before references are read"
        name = _VARIABLE.fullmatch(value)
        fix = f'"{group}=${name[1]}"' if name and name[1] in os.environ else ""
        return _refused(sweep, what, fix or _options(group, groups))
    what = f"{group} has no option {value!r}{nearest(value, groups[group])}"
    plain = re.sub(r"\.ya?ml$", "", value)
    fix = f"{group}={plain}" if plain in groups[group] else _options(group, groups, value)
    return _refused(sweep, what, f"+{fix}" if choice.is_add() else fix)


def _options(group: str, groups: Groups, typed: str = "") -> str:
    return f"{group}={listed(typed, groups[group])}"


def _not_named_texts(override: Override, sweep: Override) -> Problem | None:
    """Refuse values other than texts under names of the user's own: cluster.environment, aws.tags."""
    key, value = override.key_or_group, override.value()
    mapping = mapping_of(key)
    if mapping is None:
        return None
    if key != mapping:
        fix = f"{key}=text, or \"{key}='null'\""
        return None if isinstance(value, str) else _refused(sweep, "is not a text", fix)
    pairs = value.items() if isinstance(value, dict) else [(None, None)]
    if all(isinstance(part, str) for pair in pairs for part in pair):
        return None
    return wrong_type(override)


def _unknown_key(override: Override, groups: Groups) -> Problem | None:
    key, settings = override.key_or_group, setting_types()
    mapping = mapping_of(key)
    if mapping and key.count(".") > mapping.count(".") + 1:
        name = key[len(mapping) + 1 :]
        fix = f"'{mapping}={{{name}: value}}', if the name has dots"
        return _refused(override, f"{mapping} holds texts by name, nothing deeper", fix)
    if key in settings or container_of(key):
        return None
    return _refused(override, *unknown_name(key, TypedOverride.of(override).value, groups))
