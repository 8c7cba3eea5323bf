"""Group files, shipped and the user's own: each is placed, read, composed and checked."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from lingotune.catalog.hardware import instances
from lingotune.config.jobfile import job_of
from lingotune.config.problems import (
    ConfigError,
    Problem,
    Severity,
    errors_only,
    nearest,
)
from lingotune.config.schema import MISSING, LaunchConfig, Source
from lingotune.config.settings import container_of, field_types, setting_types
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.checks.sagemaker import SAGEMAKER
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.group_files import GroupFile, group_files
from lingotune.launch.compose.keys import config_groups, describe_type, visible_files
from lingotune.launch.compose.overrides import in_a_line, read_overrides
from lingotune.preflight import check_job

_GLOBAL = "# @package _global_ as its first line"


def validate(conf_dir: Path, extra_dir: Path | None) -> list[Problem]:
    """Find what is wrong with the files of both folders; `where` names the file and the key."""
    if extra_dir and extra_dir.samefile(conf_dir):
        extra_dir = None  # `validate conf` in a checkout: its files are checked once
    validator = _Validator(conf_dir, extra_dir)
    files = [
        GroupFile(root, path)
        for root in (conf_dir, extra_dir)
        if root
        for path in visible_files(root)
        if path != conf_dir / "config.yaml"
    ]
    return [
        replace(problem, where=f"{file.path}: {problem.where}" if problem.where else str(file.path))
        for file in files
        for problem in validator.problems_of(file)
    ]


class _Validator:
    """Checks one file after the other: its place, then its content, then the job that comes of it.

    A later step is left out where the one before has found something, which it would only repeat.
    """

    def __init__(self, conf_dir: Path, extra_dir: Path | None) -> None:
        self._conf_dir, self._extra_dir = conf_dir, extra_dir
        self._groups = config_groups(conf_dir, extra_dir)
        self._shipped_groups = config_groups(conf_dir)
        readable = [_readable(file) for file in group_files(conf_dir, extra_dir)]
        self._left_open = {
            key for settings in readable for key, value in settings.items() if value == MISSING
        }

    def problems_of(self, file: GroupFile) -> list[Problem]:
        """Find what is wrong with one file."""
        found: list[Problem] = []
        for step in (self._place, self._content, self._composed):
            found += step(file)
            if errors_only(found):
                break
        return found

    def _place(self, file: GroupFile) -> Iterator[Problem]:
        if file.path.suffix == ".yml":
            yield Problem("", "is no option: only .yaml is read", f"{file.path.stem}.yaml")
        if file.path.suffix != ".yaml":
            return
        if not file.group:
            yield Problem("", "lies in no group's folder", f"experiment/{file.path.name}")
            return
        relative = file.path.relative_to(file.root)
        if file.root != self._conf_dir and (self._conf_dir / relative).is_file():
            what = f"is never read: the shipped {file.group}={file.option} comes first"
            yield Problem("", what, "another name")
        if file.group not in self._shipped_groups:
            yield from self._new_group(file)

    def _new_group(self, file: GroupFile) -> Iterator[Problem]:
        near = nearest(file.group, list(self._shipped_groups))
        if near:
            what = f"is chosen by +{file.group}={file.option}, as a group of your own{near}"
            yield Problem("", what, severity=Severity.warning)

    def _content(self, file: GroupFile) -> Iterator[Problem]:
        if file.path.suffix != ".yaml":
            return
        try:
            settings = file.settings()
        except UnicodeDecodeError as error:
            yield Problem("", f"is not UTF-8: {error}")
        except MarkedYAMLError as error:
            line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
            yield Problem(line, f"is not YAML: {error.problem or error.context}")
        except (YAMLError, OmegaConfBaseException, ValueError, OSError) as error:
            yield Problem("", in_a_line(error))
        else:
            yield from self._settings(file, settings)

    def _settings(self, file: GroupFile, settings: Mapping[str, Any]) -> Iterator[Problem]:
        if file.package and not _is_section(file.package):
            yield self._no_section(file)
            return
        if any(key.split(".")[0] == "hydra" for key in settings):
            what = "hydra's own settings have no effect here"
            yield Problem("hydra", what, "sweep on the command line: -m lr=1e-5,3e-5")
        config = OmegaConf.structured(LaunchConfig)
        for key, value in settings.items():
            if key.split(".")[0] == "hydra" or key == file.package:  # a file of comments
                continue
            if key not in setting_types() and not container_of(key):
                yield self._unknown(file, key)
            elif not _is_reference(value):
                yield from _unfit(config, key, value)

    def _no_section(self, file: GroupFile) -> Problem:
        what = f"its settings are put below {file.package}, and there is no such section"
        if file.group in self._shipped_groups:
            return Problem("", what, _GLOBAL)
        near = nearest(file.group, list(self._shipped_groups))
        return Problem(
            "", f"{what}{near}", f"{_GLOBAL}, or a folder named like a section: {_SECTIONS}"
        )

    def _unknown(self, file: GroupFile, key: str) -> Problem:
        _, (problem, *_) = read_overrides([f"{key}=null"], self._groups, multirun=False)
        inside = key.removeprefix(f"{file.package}.")
        fix = f"{_GLOBAL}" if file.package and inside in setting_types() else problem.fix
        return replace(problem, where=key, fix=fix)

    def _composed(self, file: GroupFile) -> Iterator[Problem]:
        if file.path.suffix != ".yaml":
            return
        new = "+" if file.group not in self._shipped_groups else ""
        choice = f"{new}{file.group}={file.option}"
        try:
            config = self._compose(choice)
        except ConfigError as error:
            yield from (
                replace(problem, where="" if problem.where == choice else problem.where)
                for problem in error.problems
            )
        else:
            yield from _checked(config, file.group)

    def _compose(self, choice: str) -> LaunchConfig:
        """The config of an option with what it leaves to the user, who would type it."""
        try:
            config = self._with(choice)
        except ConfigError as error:
            left_open = [p.where for p in error.problems if p.where in self._left_open]
            if not left_open:
                raise
            config = self._with(choice, *map(_example, left_open))
            choice = " ".join([choice, *left_open])
        data = config.data
        if data.source is Source.files and not (data.path or data.train):
            config = replace(config, data=replace(data, path="reviews.jsonl"))
        return config

    def _with(self, *overrides: str) -> LaunchConfig:
        return compose_all(
            list(overrides),
            self._conf_dir,
            lambda config: [],
            multirun=False,
            extra_dir=self._extra_dir,
        )[0].config


def _example(key: str) -> str:
    """Write an override that gives a setting some value that fits it."""
    if key == "cluster.instance_type":  # a text of its type alone would be no instance
        return f"{key}={next(iter(instances()))}"
    return describe_type(setting_types()[key], key)[1].split(", or ")[0]


def _checked(config: LaunchConfig, group: str) -> Iterator[Problem]:
    """Run the checks of the job, and those of a launch where the machines are SageMaker's.

    What SageMaker would refuse stops a cluster's file; elsewhere it is a warning, for the command line
    may still change it before a submit.
    """
    if config.cluster.instance_type is None:
        yield from errors_only(check_job(job_of(config)))
        return
    found = errors_only(check_launch(config))
    yield from found
    severity = Severity.error if group == "cluster" else Severity.warning
    for problem in errors_only(SAGEMAKER.run(config)):
        if problem not in found:
            yield replace(problem, severity=severity)


def _readable(file: GroupFile) -> Mapping[str, Any]:
    try:
        return file.settings()
    except (YAMLError, OmegaConfBaseException, ValueError, OSError):
        return {}


def _is_section(key: str) -> bool:
    return is_dataclass(setting_types().get(key)) or container_of(key) is not None


_SECTIONS = ", ".join(
    key for key, kind in setting_types().items() if "." not in key and is_dataclass(kind)
)


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) and ("${" in value or value == MISSING)


def _unfit(config: Any, key: str, value: Any) -> Iterator[Problem]:
    if _boolean_for_text(setting_types()[container_of(key) or key], value):
        what = "YAML 1.1 reads no, yes, on, off, true and false as booleans, and here is a text"
        yield Problem(key, f"{what}: {value}", "put it into quotes: 'no'")
        return
    try:
        OmegaConf.update(config, key, value, merge=True, force_add=container_of(key) is not None)
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        known = container_of(key) or key
        name, fix = describe_type(setting_types()[known], known)
        told = f"{value!r} is not {name}" if known == key else in_a_line(error)
        if isinstance(value, (list, dict)):
            told = in_a_line(error)
        yield Problem(key, told, fix)


def _boolean_for_text(kind: Any, value: Any) -> bool:
    """Tell whether a boolean stands where the schema has a text, which would be 'True' or 'False'."""
    inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    if isinstance(value, bool):
        return kind is str or str in inner
    if isinstance(value, list):
        return any(_boolean_for_text(inner[0] if inner else kind, item) for item in value)
    if isinstance(value, dict) and is_dataclass(kind):
        types = field_types(typing.cast(type, kind))
        return any(_boolean_for_text(types.get(name), item) for name, item in value.items())
    return False
