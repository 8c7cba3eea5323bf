"""Validation of group files, shipped and the user's own: location, content, composition, checks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from yaml import YAMLError

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
from lingotune.config.settings import setting_types
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.checks.sagemaker import SAGEMAKER
from lingotune.launch.checks.sweep import SWEEP
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.file_checks import read_checked
from lingotune.launch.compose.group_files import GroupFile, group_files
from lingotune.launch.compose.variables import Variables
from lingotune.launch.overrides.keys import config_groups, describe_type, visible_files
from lingotune.preflight import check_job


def validate(
    conf_dir: Path, extra_dir: Path | None, variables: Variables | None = None
) -> list[Problem]:
    """Find what is wrong with the files of both folders; `where` names the file and the key.

    variables: those of this machine that files may refer to.
    """
    if extra_dir and extra_dir.samefile(conf_dir):
        extra_dir = None  # `validate conf` in a checkout: its files are checked once
    validator = _Validator(conf_dir, extra_dir, variables or Variables())
    files = [
        GroupFile(root, path)
        for root in (conf_dir, extra_dir)
        if root
        for path in visible_files(root)
        if path != conf_dir / "config.yaml"
    ]
    return [_placed(problem, file) for file in files for problem in validator.problems_of(file)]


def _placed(problem: Problem, file: GroupFile) -> Problem:
    """Name the file, where it is not named yet."""
    path = str(file.path)
    if problem.where.startswith((path, str(file.path.resolve()))):
        return problem
    return replace(problem, where=f"{path}: {problem.where}" if problem.where else path)


class _Validator:
    """Checker of group files: of a file's location, then its content, then the job that it composes.

    If a step finds something, the later ones are skipped, as they would only repeat it.
    """

    def __init__(self, conf_dir: Path, extra_dir: Path | None, variables: Variables) -> None:
        self._variables = variables
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
            fix = _moved(file.path, file.path.with_suffix(".yaml"))
            yield Problem("", "is no option: only .yaml is read", fix)
        if file.path.suffix != ".yaml":
            return
        if not file.group:
            fix = _moved(file.path, file.root / "experiment" / file.path.name)
            yield Problem("", "lies in no group's folder", fix)
            return
        relative = file.path.relative_to(file.root)
        if file.root != self._conf_dir and (self._conf_dir / relative).is_file():
            what = f"is never read: the shipped {file.group}={file.option} comes first"
            own = file.path.with_stem(f"my_{file.path.stem}")
            yield Problem("", what, f"another name: {_moved(file.path, own)}")
        if file.group not in self._shipped_groups:
            yield from self._new_group(file)

    def _new_group(self, file: GroupFile) -> Iterator[Problem]:
        near = nearest(file.group, list(self._shipped_groups))
        if near:
            what = f"is chosen by +{file.group}={file.option}, as a group of your own{near}"
            yield Problem("", what, severity=Severity.warning)

    def _content(self, file: GroupFile) -> Iterator[Problem]:
        if file.path.suffix == ".yaml":
            yield from read_checked(file, self._groups, self._shipped_groups).problems

    def _composed(self, file: GroupFile) -> Iterator[Problem]:
        if file.path.suffix != ".yaml":
            return
        new = "+" if file.group not in self._shipped_groups else ""
        choice = f"{new}{file.group}={file.option}"
        try:
            configs = self._compose(choice)
        except ConfigError as error:
            yield from (
                replace(problem, where="" if problem.where == choice else problem.where)
                for problem in error.problems
            )
        else:
            checked = (problem for config in configs for problem in _checked(config, file.group))
            yield from dict.fromkeys(checked)

    def _compose(self, choice: str) -> list[LaunchConfig]:
        """Compose the configs of an option, several if it sweeps, with examples for the settings that it
        leaves to the user."""
        try:
            configs = self._with(choice)
        except ConfigError as error:
            left_open = [p.key for p in error.problems if p.key in self._left_open]
            if not left_open:
                raise
            configs = self._with(choice, *map(_example, left_open))
        return [_with_source(config) for config in configs]

    def _with(self, *overrides: str) -> list[LaunchConfig]:
        composed = compose_all(
            list(overrides),
            self._conf_dir,
            lambda config: [],
            multirun=False,
            sweeps=True,
            extra_dir=self._extra_dir,
            # one file need not refer to all of them
            variables=replace(self._variables, used=set(self._variables.allowed)),
        )
        return [one.config for one in composed]


def _with_source(config: LaunchConfig) -> LaunchConfig:
    """Fill in a file where the command line has to name one."""
    data = config.data
    if data.source is Source.files and not (data.path or data.train):
        return replace(config, data=replace(data, path="reviews.jsonl"))
    return config


def _moved(path: Path, target: Path) -> str:
    """Write the command that moves a file to where it is found."""
    move = shlex.join(["mv", str(path), str(target)])
    return move if target.parent.is_dir() else f"mkdir {shlex.quote(str(target.parent))} && {move}"


def _example(key: str) -> str:
    """Format an override that gives a setting some valid value."""
    if key == "cluster.instance_type":  # a text of its type alone would be no instance
        return f"{key}={next(iter(instances()))}"
    return describe_type(setting_types()[key], key)[1].split(", or ")[0]


_TYPED = "model-needs-code"
"""Check of what no file may say: which code of a model runs is typed for each run."""


def _checked(config: LaunchConfig, group: str) -> Iterator[Problem]:
    return (one for one in _all_checked(config, group) if one.check != _TYPED)


def _all_checked(config: LaunchConfig, group: str) -> Iterator[Problem]:
    """Run the checks of the job, and on SageMaker's machines those of a launch.

    What SageMaker would refuse is an error in a cluster's file, and a warning in others, as the command
    line may still change it before a submit.
    """
    if config.cluster.instance_type is None:
        yield from errors_only([*check_job(job_of(config)), *SWEEP.run(config)])
        return
    found = errors_only(check_launch(config))
    yield from found
    severity = Severity.error if group == "cluster" else Severity.warning
    for problem in errors_only(SAGEMAKER.run(config)):
        if problem not in found:
            yield replace(problem, severity=severity)


def _readable(file: GroupFile) -> Mapping[str, object]:
    try:
        return file.settings()
    except (YAMLError, ValueError, OSError):
        return {}
