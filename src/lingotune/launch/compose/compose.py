"""From the command line to configs: Hydra composes the groups, then each job's values are set.

The commands do not use `@hydra.main`: it writes what was typed to disk, lets `hydra.*` overrides write
anywhere, and reports one problem at a time. Instead Hydra's compose API and its override grammar do the
work, and problems are collected and reported together.

Hydra takes a fifth of a second per config. Jobs of a sweep that choose the same groups share a config:
each sets its values on a copy, with the same call as Hydra's.
"""

from __future__ import annotations

import functools
import itertools
import pickle
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lingotune.catalog.hardware import fill_in, instances
from lingotune.catalog.models import kind_of
from lingotune.config.problems import ConfigError, Problem, errors_only, listed
from lingotune.config.program import program
from lingotune.config.quoting import hydra_value
from lingotune.config.schema import BY_MODEL, MISSING, JobConfig, LaunchConfig, ModelConfig, Texts
from lingotune.config.settings import container_of, field_types, mapping_of, setting_types
from lingotune.config.yaml_text import typed_value
from lingotune.launch.compose.config_dirs import moved_into_place
from lingotune.launch.compose.file_source import hydra_at, path_of, problems_so_far, reading
from lingotune.launch.compose.from_job import PRIMARY, default_options
from lingotune.launch.compose.from_job import register as register_job
from lingotune.launch.compose.grammar import Groups
from lingotune.launch.compose.keys import config_groups, describe_type
from lingotune.launch.compose.overrides import (
    TypedOverride,
    chooses_group,
    in_a_line,
    line_of,
    read_overrides,
    removal,
    wrong_type,
)
from lingotune.launch.compose.own_code import Origin, with_own_code
from lingotune.launch.compose.short_forms import spelled_out

_VARIABLE = re.compile(r"\$\{(?:oc\.)?env:(\w+)[^}]*\}")
_RESOLVER_CALL = re.compile(r"\$\{[^}]*(:|\$\{)")
"""Also ${${...}}: an inner reference could name the resolver."""


@dataclass(frozen=True)
class Composed:
    """One job of the command: its overrides, the typed config, and what its check found.

    options: to be typed with the overrides to get the same job again, e.g. --config-dir. config_dir: the
    user's own folder of group files, typed or found. words: all that was typed, for all jobs.
    """

    overrides: tuple[TypedOverride, ...]
    config: LaunchConfig
    findings: tuple[Problem, ...] = ()
    options: tuple[str, ...] = ()
    config_dir: Path | None = None
    words: tuple[str, ...] = ()

    @property
    def typed(self) -> str:
        """Overrides as they were typed, in one line."""
        return " ".join(map(str, self.overrides))


def compose_all(
    overrides: list[str],
    conf_dir: Path,
    check: Callable[[LaunchConfig], list[Problem]],
    *,
    multirun: bool,
    extra_dir: Path | None = None,
    base: JobConfig | None = None,
    base_dir: Path | None = None,
    help_command: str = "",
) -> list[Composed]:
    """Compose every job that the overrides describe: one, or with multirun the product of all sweeps.

    extra_dir: the user's own folder of group files. base: a job whose settings the overrides change.
    base_dir: the folder of its file, with its copy of the user's own code.
    help_command: lists groups and settings, for an error's next command; by default that of `launch`.
    check: finds problems of a composed config. ConfigError lists every error, of all overrides and jobs:
    refused overrides are left out so that the rest can still be checked.
    """
    _register_schema()
    groups = config_groups(conf_dir, extra_dir)
    shipped = config_groups(conf_dir) if extra_dir else groups
    new_groups = groups.keys() - shipped.keys()
    read, problems = read_overrides(overrides, groups, multirun=multirun, new_groups=new_groups)
    if extra_dir:
        problems = [_with_move(problem, groups, extra_dir) for problem in problems]
    later: list[Problem] = []
    composed, defaults = [], default_options(conf_dir)
    origin = Origin(extra_dir, base, base_dir)
    with hydra_at(conf_dir), reading(groups, shipped) as files:
        chosen = _chosen_groups(extra_dir, (base, conf_dir) if base else None)
        for job in itertools.product(*read):
            config, wrong = _compose_one(job, groups, chosen, defaults, origin)
            typed = {o.key_or_group for o in job}
            later += [p if p.key in typed else files.placed(p) for p in wrong]
            # findings about a key whose override was left out only follow from that
            refused = {p.key for p in errors_only([*problems, *files.problems, *later]) if p.key}
            found = check(config) if config else []
            refused |= {p.key for p in found if p.check == "secret-in-config"}
            later += [p for p in found if p.key not in refused or p.check == "secret-in-config"]
            if config:
                composed.append(Composed(tuple(map(TypedOverride.of, job)), config, tuple(found)))
    problems += [*files.problems, *later]
    if errors_only(problems):
        raise ConfigError(problems, help_command or f"{program('launch')} --help")
    return composed


def _with_move(problem: Problem, groups: Groups, folder: Path) -> Problem:
    """Offer to move a file into place where an option is missing that has its name."""
    option = problem.value or ""
    if not option or option in groups.get(problem.key, [option]):
        return problem
    move = moved_into_place(folder, problem.key, option)
    return replace(problem, fix=move) if move else problem


@functools.cache
def _register_schema() -> None:
    ConfigStore.instance().store(name="schema", node=LaunchConfig)


_Chosen = Callable[[tuple[str, ...]], "bytes | Exception"]


def _chosen_groups(extra_dir: Path | None, base: tuple[JobConfig, Path] | None) -> _Chosen:
    """Compose each set of group choices once; returns pickled configs, or the problems that prevent them.

    Loading a pickle copies a config ten times faster than copy.deepcopy.
    """
    search = [f"hydra.searchpath=[{hydra_value(path_of(extra_dir))}]"] if extra_dir else []

    @functools.cache
    def chosen(choices: tuple[str, ...]) -> bytes | Exception:
        overrides = [*search, *choices]
        try:
            return pickle.dumps(
                _onto_job(*base, overrides) if base else compose("config", overrides=overrides)
            )
        except RecursionError:
            what = "group files choose each other in a circle"
            return ConfigError([Problem(" ".join(choices), what)])
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
            wrong = problems_so_far()
            return ConfigError(wrong) if wrong else error

    return chosen


def _onto_job(job: JobConfig, conf_dir: Path, overrides: list[str]) -> DictConfig:
    """Compose onto a job: once to find out which groups are chosen, also by group files, and once with
    the sections of these groups at their defaults."""
    register_job(job, conf_dir)
    asked = compose(PRIMARY, overrides=overrides, return_hydra_config=True)
    chosen = {group for group, option in asked.hydra.runtime.choices.items() if option is not None}
    if not chosen & field_types(JobConfig).keys():
        with open_dict(asked):
            del asked["hydra"]
        return asked
    register_job(job, conf_dir, chosen)
    return compose(PRIMARY, overrides=overrides)


def _compose_one(
    job: Sequence[Override],
    groups: Groups,
    chosen: _Chosen,
    defaults: Mapping[str, Any],
    origin: Origin,
) -> tuple[LaunchConfig | None, list[Problem]]:
    """Compose the config of the overrides that fit, with a problem for each that does not."""
    removed = [o for o in job if o.is_delete()]
    options = [o for o in job if not o.is_delete() and chooses_group(o, groups)]
    values = [o for o in job if not o.is_delete() and not chooses_group(o, groups)]
    # experiment=null is the default, for which Hydra has no syntax
    choices = tuple(line_of(o) for o in options if o.value() is not None)
    base = chosen(choices)
    if isinstance(base, ConfigError):
        return None, base.problems  # also those of files, which are told once
    if isinstance(base, Exception):
        return None, [Problem(" ".join(choices) or "config", in_a_line(base))]
    config = pickle.loads(base)
    problems = [removal(o, groups, defaults, _now(config, o.key_or_group)) for o in removed]
    problems += [p for o in values for p in _set_value(config, o)]
    typed, more = _typed(config)
    if typed is not None:
        typed, found = with_own_code(typed, [o.key_or_group for o in values], origin)
        more = [*more, *found]
    return typed, problems + more


def _set_value(config: DictConfig, override: Override) -> list[Problem]:
    """Apply an override as Hydra would, adding names of the user's own as with ++."""
    key, value = override.key_or_group, spelled_out(override.key_or_group, override.value())
    added = mapping_of(key) is not None
    if isinstance(value, float):  # 1e3 is a whole number, too
        value = typed_value(setting_types().get(key), str(value))
    try:
        OmegaConf.update(config, key, value, merge=True, force_add=added)
    except (OmegaConfBaseException, ValueError, TypeError) as error:  # data.labels.x is no index
        return [wrong_type(override, error, _now(config, key))]
    return []


def _now(config: DictConfig, key: str) -> Any:
    """The value of a setting as far as it is known; None for what is no key."""
    try:
        if key in _BY_MODEL and OmegaConf.is_missing(config, key):
            return getattr(kind_of(ModelConfig(name_or_path=config.model.name_or_path)), key)
        now = OmegaConf.select(config, key)
        return OmegaConf.to_container(now) if OmegaConf.is_config(now) else now
    except OmegaConfBaseException:
        return None


# --- from a config to plain objects -------------------------------------------------------------

_BY_MODEL = [item.name for item in fields(JobConfig) if item.metadata == BY_MODEL]
"""Settings that are filled in with what suits the model."""


def _typed(config: DictConfig) -> tuple[LaunchConfig | None, list[Problem]]:
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    left_open = [key for key in _BY_MODEL if raw[key] == MISSING]
    leaves = ((key, value) for key, value in _leaves(raw, "") if key not in left_open)
    problems = [p for key, value in leaves for p in _unusable(key, value)]
    if problems:
        return None, problems
    try:
        kind = kind_of(ModelConfig(name_or_path=config.model.name_or_path))
        config.merge_with({key: getattr(kind, key) for key in left_open})
        typed = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "config"
        return None, [Problem(key, in_a_line(error), _example(key), key=key)]
    assert isinstance(typed, LaunchConfig)
    problems = list(_misfits(typed, LaunchConfig, ""))
    if problems:
        return None, problems
    return replace(typed, cluster=fill_in(typed.cluster)), []


def _unusable(key: str, value: Any) -> list[Problem]:
    """Refuse a leaf without a value, or one that calls a resolver.

    Resolvers run on this machine and could read its secrets into a job.
    """
    if value == MISSING:
        fix = _example(key).replace(f"{key}=text", f"{key}=...")
        if key == "cluster.instance_type":
            fix = f"{key}={listed('', list(instances()))}"
        return [Problem(key, "has no value, and there is no default", fix, key=key)]
    if isinstance(value, str) and _RESOLVER_CALL.search(value):
        what = f"{value!r} calls a resolver; only ${{other.setting}} is allowed"
        plain = _VARIABLE.sub(r"$\1", value)  # which the shell fills in
        fix = f'"{key}={plain}"' if "${" not in plain and '"' not in plain else f"{key}=value"
        return [Problem(key, what, fix, key=key)]
    return []


def _example(key: str) -> str:
    """Write an override that gives a setting some value of its type."""
    plain = _INDEX.sub(r".\1", key)
    known = container_of(plain) or plain
    kind = setting_types().get(known)
    if kind is None:
        return ""
    return describe_type(kind, known)[1].split(", or ")[0]


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, object]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{prefix}[{index}]")
    else:
        yield prefix, node


_INDEX = re.compile(r"\[(\d+)\]")


def _outer(key: str) -> tuple[Any, str]:
    """Type and key of the list that a key lies in."""
    known = container_of(key) or key
    return setting_types()[known], known


def _misfits(value: Any, kind: Any, key: str) -> Iterator[Problem]:
    """Find values of a wrong type that come from references, and texts that look like references.

    OmegaConf checks neither, and the job file is read with references resolved.
    """
    if typing.get_origin(kind) is typing.Union:
        if value is None:
            return
        kind = typing.get_args(kind)[0]
    if kind is Texts:
        texts = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(text, str) for text in texts):
            name, fix = describe_type(kind, key)
            yield Problem(key, f"{value!r} is not {name}", fix, key=key)
        else:
            for text in texts if value is not None else ():
                yield from _misfits(text, str, key)
    elif not isinstance(value, typing.get_origin(kind) or kind):
        name, fix = describe_type(kind, key)
        if "[" in key:  # as it is typed: data.labels.0.name
            typed = _INDEX.sub(r".\1", key)
            fix = describe_type(*_outer(typed) if key.endswith("]") else (kind, typed))[1]
        yield Problem(key, f"the setting that it refers to is not {name}", fix, key=key)
    elif is_dataclass(value):
        for name, inner in field_types(kind).items():
            yield from _misfits(getattr(value, name), inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for index, row in enumerate(value):
            yield from _misfits(row, typing.get_args(kind)[0], f"{key}[{index}]")
    elif isinstance(value, dict):
        for name, text in value.items():
            yield from _misfits(text, str, f"{key}.{name}")
    elif isinstance(value, str) and ("${" in value or value == MISSING):
        what = f"{value!r} would be read as a reference"
        yield Problem(key, what, f"{key}=value", key=key)
