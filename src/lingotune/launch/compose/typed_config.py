"""From a composed config to typed objects: all that fits no setting is told."""

from __future__ import annotations

import pickle
import re
import typing
from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lingotune.catalog.hardware import instances
from lingotune.catalog.models import kind_of, lora_kind_of
from lingotune.config.problems import Problem, Severity, listed
from lingotune.config.schema import (
    BY_MODEL,
    MISSING,
    JobConfig,
    LaunchConfig,
    ModelConfig,
    Texts,
    TrainingConfig,
)
from lingotune.config.settings import container_of, field_types, setting_types
from lingotune.launch.compose.resolvers import CALL, example, resolver_refused
from lingotune.launch.overrides.keys import describe_type
from lingotune.launch.overrides.overrides import in_a_line
from lingotune.launch.overrides.values import is_reference

NO_VALUE = "has no value, and there is no default"
BY_MODEL_KEYS = [item.name for item in fields(JobConfig) if item.metadata == BY_MODEL]
"""Settings that are filled in with what suits the model."""


class SharedSections:
    """Sections of a config as typed objects, made once for all jobs that change nothing in them."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self._pickled: dict[str, bytes] = {}

    def find(self, name: str) -> Any:
        """Return a copy of a section; None where it is none, refers to others or has a value that does not
        fit."""
        if name not in self._pickled:
            self._pickled[name] = pickle.dumps(self._typed(name))
        return pickle.loads(self._pickled[name])

    def _typed(self, name: str) -> Any:
        node = _parts(self._config)[name]
        if not isinstance(node, DictConfig) or any(
            is_reference(value) for _, value in _leaves(node)
        ):
            return None
        try:
            section = OmegaConf.to_object(node)
        except OmegaConfBaseException:
            return None
        return None if any(_misfits(section, field_types(LaunchConfig)[name], name)) else section


def left_open(config: DictConfig) -> tuple[str, ...]:
    """List the settings without a value that are filled in with what suits the model."""
    return tuple(key for key in BY_MODEL_KEYS if OmegaConf.is_missing(config, key))


def unused_epochs(training: TrainingConfig, typed: str) -> list[Problem]:
    """Warn of epochs that were typed for a training whose length is a number of updates.

    A job always has epochs, so that only what was typed tells that they were meant.
    """
    if training.max_steps is None:
        return []
    what = f"has no effect: training.max_steps={training.max_steps} decides"
    fix, check = "training.max_steps=null", "epochs-unused"
    return [Problem(typed, what, fix, severity=Severity.warning, check=check, key="epochs")]


def _parts(config: DictConfig) -> dict[str, Any]:
    """Map the names at the top of a config to sections and values, references unresolved."""
    return {str(name): node for name, node in config.items_ex(resolve=False)}


def typed_config(
    config: DictConfig, shared: SharedSections, changed: Collection[str]
) -> tuple[LaunchConfig | None, list[Problem]]:
    """Turn the config of a job into typed objects, with a problem for each setting that cannot be.

    changed: names at the top of the config in which it may differ from the one of `shared`.
    """
    parts = _parts(config)
    ready = {n: section for n in parts if n not in changed and (section := shared.find(n))}
    open_keys = left_open(config)
    others = {name: node for name, node in parts.items() if name not in {*ready, *open_keys}}
    leaves = (leaf for name, node in others.items() for leaf in _leaves(node, name))
    problems = [problem for key, value in leaves for problem in _unusable(key, value)]
    if problems:
        return None, problems
    try:
        # training.lora may refer to what is no section, which is told below
        trains_lora = OmegaConf.select(config, "training.lora.rank") is not None
        name = OmegaConf.select(config, "model.name_or_path")
        kind = (lora_kind_of if trains_lora else kind_of)(ModelConfig(name_or_path=name))
        for key in open_keys:
            config[key] = getattr(kind, key)
        made = {name: _object(config[name]) for name in parts if name not in ready}
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "config"
        return None, [Problem(key, in_a_line(error), example(key), key=key)]
    typed = LaunchConfig(**ready, **made)
    kinds = field_types(LaunchConfig)
    problems = [one for name in made for one in _misfits(made[name], kinds[name], name)]
    if problems:
        return None, problems
    return typed, []


def _object(value: Any) -> Any:
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def _unusable(key: str, value: Any) -> list[Problem]:
    """Refuse a leaf without a value, or one that calls a resolver.

    Resolvers run on this machine and could read its secrets into a job.
    """
    if value == MISSING:
        fix = example(key).replace(f"{key}=text", f"{key}=...")
        if key == "cluster.instance_type":
            fix = f"{key}={listed('', list(instances()))}"
        return [Problem(key, NO_VALUE, fix, key=key)]
    if isinstance(value, str) and CALL.search(value):
        return [Problem(key, *resolver_refused(key, value), key=key)]
    return []


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted key and the value, references unresolved, of all that lies in a part of a config."""
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node, resolve=False)
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(value, f"{key}[{index}]")
    else:
        yield key, node


def _is_whole(value: Any, kind: Any) -> bool:
    """Tell whether a number was made whole by its section, as `JobConfig` does with epochs."""
    return kind is float and type(value) is int


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
    elif not isinstance(value, typing.get_origin(kind) or kind) and not _is_whole(value, kind):
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
    elif is_reference(value):
        what = f"{value!r} would be read as a reference"
        yield Problem(key, what, f"{key}=value", key=key)
