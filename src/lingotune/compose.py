"""From the command line to configs: Hydra's grammar and groups, our checks and messages.

Entries do not use `@hydra.main`: it writes what was typed to disk, lets `hydra.*` overrides write
anywhere, and reports one problem at a time. The compose API and Hydra's own override grammar do the
work here; problems are gathered and reported together.
"""

from __future__ import annotations

import itertools
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lingotune.messages import errors_only, nearest
from lingotune.schema import MISSING, ConfigError, LaunchConfig, Problem, Severity

OTHER_NAMES = {
    "learning_rate": "lr",
    "batch_size": "per_device_bs",
    "per_device_batch_size": "per_device_bs",
    "per_device_train_batch_size": "per_device_bs",
    "per_device_eval_batch_size": "training.eval_bs",
    "num_train_epochs": "epochs",
    "gradient_accumulation_steps": "scaling.accumulation",
    "fp16": "training.precision=fp16",
    "bf16": "training.precision=bf16",
    "warmup_steps": "training.warmup_ratio",
    "instance_type": "cluster",
    "instance_count": "cluster.nodes",
    "max_seq_length": "data.max_length",
    "model_name_or_path": "model=pretrained model.name_or_path",
    "model_id": "model=pretrained model.name_or_path",
    "push_to_hub": "hub=private",
    "hub_model_id": "hub.repo",
    "role": "aws.role",
    "bucket": "aws.bucket",
    "region": "aws.region",
}
"""What the same setting is called elsewhere (transformers, the SageMaker SDK)."""

_RESOLVER_CALL = re.compile(r"\$\{\s*[\w.]+\s*:")


@dataclass(frozen=True)
class Composed:
    """One job of the command: the overrides that make it, and the typed result."""

    overrides: tuple[str, ...]
    config: LaunchConfig


def compose_all(
    overrides: list[str],
    conf_dir: Path,
    check: Callable[[LaunchConfig], list[Problem]],
    *,
    multirun: bool,
    extra_dir: Path | None = None,
) -> list[Composed]:
    """Every job that the overrides describe: one, or with multirun the product of all sweeps.

    `check` names what is wrong with a composed config. ConfigError lists every error found, over
    all overrides and jobs: refused overrides are left out so that the rest can still be checked.
    """
    ConfigStore.instance().store(name="schema", node=LaunchConfig)
    groups = config_groups(conf_dir, extra_dir)
    search = [f"hydra.searchpath=[file://{extra_dir.resolve()}]"] if extra_dir else []
    with initialize_config_dir(str(conf_dir.resolve()), version_base="1.3"):
        parsed, problems = _parse_all(overrides, groups, multirun=multirun)
        composed = []
        for job in itertools.product(*(_values(o) for o in parsed)):
            config, wrong = _compose_one(list(job), search, groups)
            problems += wrong
            refused = [p.where for p in problems if p.severity is Severity.error]
            found = check(config) if config else []
            problems += [p for p in found if not _follows_from(p, refused)]
            if config:
                composed.append(Composed(tuple(job), config))
    if errors_only(problems):
        raise ConfigError(problems, _NEXT)
    return composed


def _follows_from(problem: Problem, refused: list[str]) -> bool:
    """Whether the problem is about a key whose override was left out."""
    key = problem.where.split("=")[0]
    return any(key == r.split("=")[0].lstrip("+~") for r in refused)


_NEXT = "the same command with --help lists groups and settings"


def config_groups(conf_dir: Path, extra_dir: Path | None = None) -> dict[str, list[str]]:
    """Group name -> its options, from the folders of YAML files."""
    groups: dict[str, set[str]] = {}
    for root in [conf_dir] + ([extra_dir] if extra_dir else []):
        for path in sorted(root.glob("*/*.yaml")):
            groups.setdefault(path.parent.name, set()).add(path.stem)
    return {name: sorted(options) for name, options in sorted(groups.items())}


def setting_types() -> dict[str, Any]:
    """Dotted key -> type of every setting of the schema, sections included."""
    return dict(_walk(LaunchConfig, ""))


def _walk(section: type, prefix: str) -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(section)
    for item in fields(section):
        kind = hints[item.name]
        yield prefix + item.name, kind
        if is_dataclass(kind):
            yield from _walk(typing.cast(type, kind), f"{prefix}{item.name}.")


# --- one override at a time ---------------------------------------------------------------------


def _parse_all(
    overrides: list[str], groups: dict[str, list[str]], *, multirun: bool
) -> tuple[list[Override], list[Problem]]:
    parser = OverridesParser.create()
    settings = setting_types()
    problems: list[Problem] = []
    parsed: list[Override] = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            problems.append(_not_an_override(text))
            continue
        problem = _refused(override, text, groups, settings, multirun=multirun)
        if problem:
            problems.append(problem)
        else:
            parsed.append(override)
    return parsed, problems


def _not_an_override(text: str) -> Problem:
    if text.startswith("-"):
        return Problem(
            text, "unknown option", "--help, --cfg job, --config-dir DIR, -m; or key=value"
        )
    works = "key=value; quote values with spaces or symbols, e.g. \"data.path='my file.csv'\""
    return Problem(text, "is not a setting of the form key=value", works)


def _refused(
    override: Override,
    text: str,
    groups: dict[str, list[str]],
    settings: dict[str, Any],
    *,
    multirun: bool,
) -> Problem | None:
    key = override.key_or_group
    if key.split(".")[0].split("/")[0] == "hydra":
        return Problem(text, "hydra's own settings cannot be changed here", "run without it")
    if override.is_delete():
        return Problem(text, "settings cannot be removed", f"{key}=null, if it may be empty")
    if override.is_add():
        return Problem(text, "nothing can be added: every setting exists", text.lstrip("+"))
    if override.package is not None:
        return Problem(
            text, "a group's place in the config is fixed", text.replace(f"@{override.package}", "")
        )
    if key in groups and not isinstance(override.value(), dict):
        return _unknown_option(override, text, groups) or _sweep_problem(override, text, multirun)
    return _unknown_key(key, text, groups, settings) or _sweep_problem(override, text, multirun)


def _unknown_option(override: Override, text: str, groups: dict[str, list[str]]) -> Problem | None:
    group = override.key_or_group
    options = groups[group]
    try:
        chosen = [v.split("=", 1)[1] for v in _values(override)]
    except (HydraException, ConfigError) as error:
        return Problem(text, _in_a_line(error), _options(group, options))
    for value in chosen:
        if value not in options and not (group == "experiment" and value == "null"):
            what = f"{group} has no option {value!r}{nearest(value, options)}"
            return Problem(text, what, _options(group, options))
    return None


def _options(group: str, options: list[str]) -> str:
    return f"{group}=" + " | ".join(options)


def _unknown_key(
    key: str, text: str, groups: dict[str, list[str]], settings: dict[str, Any]
) -> Problem | None:
    if key in settings or _inside_container(key, settings):
        return None
    if key in OTHER_NAMES:
        return Problem(text, f"unknown setting {key!r}: here it is {OTHER_NAMES[key]}")
    leaf = key.rsplit(".", 1)[-1]
    moved = [known for known in settings if known.rsplit(".", 1)[-1] == leaf]
    if moved:
        return Problem(text, f"unknown setting {key!r}; did you mean {' or '.join(moved)}?")
    if leaf in OTHER_NAMES:
        return Problem(text, f"unknown setting {key!r}: here it is {OTHER_NAMES[leaf]}")
    known = list(settings) + list(groups)
    hint = nearest(key, known) or nearest(leaf, [k.rsplit(".", 1)[-1] for k in known])
    section = key.split(".")[0]
    inside = [k for k in settings if k.startswith(f"{section}.") and k.count(".") == 1]
    works = (
        f"settings of {section}: " + ", ".join(k.split(".")[1] for k in inside) if inside else ""
    )
    return Problem(text, f"unknown setting {key!r}{hint}", works)


def _inside_container(key: str, settings: dict[str, Any]) -> bool:
    """Whether the key points into a list of the schema, e.g. data.labels.0.name."""
    parts = key.split(".")
    parents = (".".join(parts[:n]) for n in range(1, len(parts)))
    return any(typing.get_origin(settings.get(parent)) in (list, dict) for parent in parents)


def _sweep_problem(override: Override, text: str, multirun: bool) -> Problem | None:
    if not override.is_sweep_override():
        return None
    if not multirun:
        key = override.key_or_group
        return Problem(
            text, "several values need a multirun", f"-m {text}; or a list: '{key}=[...]'"
        )
    try:
        _values(override)
    except (HydraException, ConfigError) as error:
        return Problem(text, _in_a_line(error), f"{override.key_or_group}=a,b,c")
    return None


def _values(override: Override) -> list[str]:
    """The overrides that a sweep expands to, one text each; a plain override is its own."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    if not override.is_discrete_sweep() or (
        override.value_type and "GLOB" in override.value_type.name
    ):
        raise ConfigError([Problem("sweep", "only lists and range() of values can be swept")])
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


# --- one job at a time --------------------------------------------------------------------------


def _compose_one(
    job: list[str], search: list[str], groups: dict[str, list[str]]
) -> tuple[LaunchConfig | None, list[Problem]]:
    """The config of the overrides that compose, and a problem for each that does not.

    Only when the whole fails is each tried alone, on top of the chosen groups.
    """
    config = _try_compose(search + job)
    if isinstance(config, DictConfig):
        return _typed(config)
    settings = setting_types()
    chosen = [o for o in job if o.split("=", 1)[0] in groups]
    good, problems = list(chosen), []
    for override in job:
        if override in chosen:
            continue
        if isinstance(_try_compose([*search, *chosen, override]), DictConfig):
            good.append(override)
        else:
            problems.append(_wrong_type(override, settings))
    rest = _try_compose(search + good)
    if not problems or not isinstance(rest, DictConfig):
        return None, [*problems, Problem(" ".join(chosen) or "config", _in_a_line(config))]
    typed, more = _typed(rest)
    return typed, problems + more


def _try_compose(overrides: list[str]) -> DictConfig | Exception:
    try:
        return compose("config", overrides=overrides)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        return error


def _typed(config: DictConfig) -> tuple[LaunchConfig | None, list[Problem]]:
    raw = OmegaConf.to_container(config, resolve=False)
    problems = [p for key, value in _leaves(raw, "") for p in _unusable(key, value)]
    if problems:
        return None, problems
    try:
        typed = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "config"
        return None, [Problem(key, _in_a_line(error), f"{key}=value, or ${{other.setting}}")]
    assert isinstance(typed, LaunchConfig)
    return typed, []


def _in_a_line(error: object) -> str:
    """Hydra's and OmegaConf's messages without the trailing lines about their own objects."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [
        line for line in lines if not line.startswith(("full_key:", "object_type=", "See http"))
    ]
    return " ".join(told) or type(error).__name__


def _wrong_type(override: str, settings: dict[str, Any]) -> Problem:
    key, _, value = override.partition("=")
    kind = settings.get(key)
    name, works = describe_type(kind, key)
    if typing.get_origin(kind) is list and not value.startswith(("[", "{")):
        works = f"'{key}=[{value}]'"
    return Problem(override, f"{value!r} is not {name}", works)


def describe_type(kind: Any, key: str) -> tuple[str, str]:
    """A type in words ('a whole number'), and an override that fits it."""
    options = [k for k in typing.get_args(kind) if k is not type(None)]
    if typing.get_origin(kind) is typing.Union:
        name, works = describe_type(options[0], key)
        return name, f"{works}, or {key}=null"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of its {len(kind)} choices", f"{key}=" + " | ".join(e.name for e in kind)
    if typing.get_origin(kind) is list and is_dataclass(options[0]):
        row = ", ".join(f"{item.name}: ..." for item in fields(options[0]))
        return f"a list of rows of {{{row}}}", f"'{key}=[{{{row}}}]'"
    if typing.get_origin(kind) is list:
        return "a list that fits", f"'{key}=[a,b]'"
    if typing.get_origin(kind) is dict or is_dataclass(kind):
        return "a mapping that fits", f"'{key}={{name: value}}'"
    words = {int: ("a whole number", "3"), float: ("a number", "0.1"), str: ("a text", "text")}
    name, example = words.get(kind, ("a value that fits", "..."))
    return name, f"{key}={example}"


def _unusable(key: str, value: Any) -> list[Problem]:
    """A leaf without a value, or one that calls a resolver.

    Resolvers run on this machine and could read its secrets into a job.
    """
    if value == MISSING:
        return [Problem(key, "has no value, and there is no default", f"{key}=...")]
    if isinstance(value, str) and _RESOLVER_CALL.search(value):
        what = f"{value!r} calls a resolver; only ${{other.setting}} is allowed"
        return [Problem(key, what, f"{key}=value")]
    return []


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{prefix}[{index}]")
    else:
        yield prefix, node
