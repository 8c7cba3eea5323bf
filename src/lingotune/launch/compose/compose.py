"""From the command line to configs: Hydra composes the groups, then each job's values are set.

The commands do not use `@hydra.main`: it writes what was typed to disk, lets `hydra.*` overrides write
anywhere, and reports one problem at a time. Instead Hydra's composition of groups and its override grammar
do the work, and problems are collected and reported together.

Hydra takes a tenth of a second per config. Jobs of a sweep that choose the same groups share a config:
each sets its values on a copy, with the same call as Hydra's.
"""

from __future__ import annotations

import functools
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lingotune.catalog.models import kind_of
from lingotune.config.jobfile import digest_in, dump_job, job_of
from lingotune.config.problems import ConfigError, Problem, closest, errors_only, nearest
from lingotune.config.program import program
from lingotune.config.quoting import for_shell
from lingotune.config.remote_code import not_typed, permit
from lingotune.config.schema import (
    JobConfig,
    LaunchClusterConfig,
    LaunchConfig,
    ModelConfig,
    SweepConfig,
)
from lingotune.config.settings import field_types, mapping_of, setting_types
from lingotune.config.yaml_text import typed_value
from lingotune.launch.compose.config_dirs import moved_into_place
from lingotune.launch.compose.fallback import with_machines
from lingotune.launch.compose.file_source import Reading, problems_so_far, reading
from lingotune.launch.compose.from_job import PRIMARY, default_options
from lingotune.launch.compose.from_job import register as register_job
from lingotune.launch.compose.hydra_groups import SCHEMA, compose_groups
from lingotune.launch.compose.own_code import Origin, with_own_code
from lingotune.launch.compose.sweep_jobs import Expansion, placed_in_file, sweep_file
from lingotune.launch.compose.teacher import with_teacher
from lingotune.launch.compose.tried_fixes import with_tried_fixes
from lingotune.launch.compose.typed_config import (
    BY_MODEL_KEYS,
    NO_VALUE,
    SharedSections,
    left_open,
    typed_config,
    unused_epochs,
)
from lingotune.launch.compose.variables import Variables
from lingotune.launch.overrides.grammar import Groups
from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.overrides.overrides import (
    TypedOverride,
    chooses_group,
    in_a_line,
    line_of,
    no_effect_here,
    of_deploy,
    read_overrides,
    removal,
    wrong_type,
)
from lingotune.launch.overrides.short_forms import spelled_out
from lingotune.launch.overrides.swept import Axis, corners, value_of

_TRIED = 8
"""Jobs of a sweep that are composed where a fix is tried."""


@dataclass(frozen=True)
class Composed:
    """One job of the command: its overrides, the typed config, and what its check found.

    options: to be typed with the overrides to get the same job again, e.g. --config-dir. config_dir: the
    user's own folder of group files, typed or found. words: all that was typed, for all jobs. varies: of a
    job of a sweep, the swept keys and its values as texts. space: what the sweep varies; None for a job of
    its own. The jobs of a search are the corners of its space, and `space.suggested` makes the others.
    left_open: settings that nothing said, filled in with what suits the model.
    """

    overrides: tuple[TypedOverride, ...]
    config: LaunchConfig
    findings: tuple[Problem, ...] = ()
    options: tuple[str, ...] = ()
    config_dir: Path | None = None
    words: tuple[str, ...] = ()
    varies: Mapping[str, str] = field(default_factory=dict)
    space: Space | None = None
    left_open: tuple[str, ...] = ()

    @property
    def typed(self) -> str:
        """Overrides as they were typed, in one line."""
        return " ".join(map(str, self.overrides))

    @functools.cached_property
    def job_file(self) -> bytes:
        """Bytes of its job file."""
        return dump_job(job_of(self.config))

    @property
    def key(self) -> str:
        """SHA-256 of its job file."""
        return digest_in(self.job_file)


@dataclass(frozen=True)
class Space:
    """Swept keys of a sweep. suggested: composes and checks the job of one value for each; ConfigError
    lists what is wrong with it. file: option of the group sweep, if one was chosen."""

    axes: tuple[Axis, ...]
    suggested: Callable[[Mapping[str, str]], Composed]
    file: str | None = None


def _nothing(config: LaunchConfig) -> list[Problem]:
    """Find nothing."""
    return []


def compose_all(
    overrides: list[str],
    conf_dir: Path,
    check: Callable[[LaunchConfig], list[Problem]],
    *,
    multirun: bool,
    sweeps: bool | None = None,
    extra_dir: Path | None = None,
    base: JobConfig | None = None,
    base_dir: Path | None = None,
    help_command: str = "",
    variables: Variables | None = None,
    later: Callable[[LaunchConfig], list[Problem]] = _nothing,
    deploys: bool = False,
) -> list[Composed]:
    """Compose every job that the overrides describe: one, or the product of all sweeps.

    Keys are swept by overrides, with multirun, and by files (`sweep.params`); of a search the corners of
    its space are composed. extra_dir: the user's own folder of group files. base: a job whose settings the
    overrides change. base_dir: the folder of its file, with its copy of the user's own code. sweeps: files
    may sweep, too; False for a command that takes one job, None = as multirun.
    help_command: lists groups and settings, for an error's next command; by default that of `launch`.
    variables: those of this machine that values may refer to.
    check: finds problems of a composed config. ConfigError lists every error, of all overrides and jobs:
    refused overrides are left out so that the rest can still be checked. later: finds what is told of a
    config once it is sound, as fixes have to stand those checks, too. deploys: whether settings of the
    section deploy have an effect.
    """
    variables = variables or Variables()
    origin = Origin(extra_dir, base, base_dir)
    composer = _Composer(conf_dir, check, extra_dir, origin, variables, deploys=deploys)
    sweeps = multirun if sweeps is None else sweeps
    composed, problems = composer.all(overrides, multirun=multirun, sweeps=sweeps)
    if errors_only(problems):
        problems = composer.with_tried_fixes(
            problems, overrides, later, multirun=multirun, sweeps=sweeps
        )
    else:
        problems += variables.unused()
    if errors_only(problems):
        raise ConfigError(problems, help_command or f"{program('launch')} --help")
    for code in {one.config.model.remote_code for one in composed} - {None}:
        permit(str(code))  # it was typed, and nothing is wrong: fixes that are tried permit nothing
    return composed


class _Composer:
    """Composer of the jobs of a command, which share the configs of their group choices."""

    def __init__(
        self,
        conf_dir: Path,
        check: Callable[[LaunchConfig], list[Problem]],
        extra_dir: Path | None,
        origin: Origin,
        variables: Variables,
        *,
        deploys: bool,
    ) -> None:
        _register_schema()
        self._variables, self._deploys = variables, deploys
        self._conf_dir, self._extra_dir = conf_dir, extra_dir
        self._check, self._origin = check, origin
        self._groups = config_groups(conf_dir, extra_dir)
        self._shipped = config_groups(conf_dir) if extra_dir else self._groups
        self._new = self._groups.keys() - self._shipped.keys()
        self._chosen = _filled(_chosen_groups(conf_dir, extra_dir, origin.base), variables)
        self._defaults = default_options(conf_dir)
        self._settings: dict[tuple[tuple[str, ...], tuple[str, ...]], SweepConfig | None] = {}

    def with_tried_fixes(
        self,
        problems: list[Problem],
        overrides: list[str],
        later: Callable[[LaunchConfig], list[Problem]],
        *,
        multirun: bool,
        sweeps: bool,
    ) -> list[Problem]:
        """Return the problems of a command with fixes that work there, later checks included."""
        check = self._check
        self._check = lambda config: [*check(config), *later(config)]

        def tried(words: list[str], several: bool) -> list[Problem]:
            return self.all(words, multirun=several, sweeps=sweeps, most=_TRIED)[1]

        return with_tried_fixes(problems, overrides, tried, self._groups, multirun=multirun)

    def all(
        self, overrides: list[str], *, multirun: bool, sweeps: bool, most: int | None = None
    ) -> tuple[list[Composed], list[Problem]]:
        """Compose all jobs; returns those that compose, and what is wrong.

        most: of more jobs than that each value is composed once.
        """
        elsewhere = [] if self._deploys else [word for word in overrides if of_deploy(word)]
        typed, problems = read_overrides(
            [word for word in overrides if word not in elsewhere],
            self._groups,
            multirun=multirun,
            new_groups=self._new,
        )
        problems += map(no_effect_here, elsewhere)
        if self._extra_dir:
            problems = [_with_move(one, self._groups, self._extra_dir) for one in problems]
        composed: list[Composed] = []
        with reading(self._groups, self._shipped) as files:
            expansion = Expansion(self._settings_of, self._groups, self._new)
            found = expansion.expand(
                typed,
                sweeps=sweeps,
                is_whole=lambda: not errors_only([*problems, *files.problems]),
            )
            later = [files.placed(problem) for problem in found.problems]
            if most is not None and len(found.jobs) > most:
                found.jobs = list(corners(found.axes, most))
            for job in found.jobs:
                before = errors_only([*problems, *files.problems, *later])
                refused = {p.key for p in before if p.key}
                one, told = self._one(job, found.axes, files, refused)
                later += told
                composed += [one] if one else []
        if found.swept:
            space = Space(found.swept, partial(self._suggested, found.axes), sweep_file(typed))
            composed = [replace(one, space=space) for one in composed]
        return composed, [*problems, *files.problems, *later]

    def _suggested(self, axes: Sequence[Axis], varies: Mapping[str, str]) -> Composed:
        job = [axis.at(varies[axis.key]) if axis.is_swept else axis.values[0] for axis in axes]
        with reading(self._groups, self._shipped) as files:
            one, problems = self._one(job, axes, files, set())
        if one is None or errors_only(problems):
            raise ConfigError([*files.problems, *problems])
        return one

    def _one(
        self, job: Sequence[Override], axes: Sequence[Axis], files: Reading, refused: set[str]
    ) -> tuple[Composed | None, list[Problem]]:
        """Compose one job and check it. refused: keys of which something is told already."""
        config, left, wrong = _compose_one(
            job, self._groups, self._chosen, self._defaults, self._origin, self._variables
        )
        wrong = [p for p in wrong if not (p.section in files.unread and p.what == NO_VALUE)]
        in_files = {axis.key for axis in axes if axis.place}
        typed = {o.key_or_group for o in job} - in_files

        def placed(problem: Problem) -> Problem:
            return replace(files.placed(placed_in_file(problem, axes)), key=problem.key)

        told = [p if p.key in typed else placed(p) for p in wrong]
        # findings about a key whose override was left out only follow from that
        refused = refused | {p.key for p in errors_only(told) if p.key}
        found = self._check(config) if config else []
        asks = config is not None and config.model.remote_code is not None
        if config and asks and "model.remote_code" not in typed:
            told.append(not_typed(config.model))
        if config and (epochs := [line_of(o) for o in job if o.key_or_group == "epochs"]):
            found = [*found, *unused_epochs(config.training, epochs[-1])]
        refused |= {p.key for p in found if p.check == "secret-in-config"}
        told += [
            placed(p) if p.key in in_files else p
            for p in found
            if p.key not in refused or p.check == "secret-in-config"
        ]
        if config is None:
            return None, told
        swept = {axis.key for axis in axes if axis.is_swept}
        varies = {o.key_or_group: value_of(o) for o in job if o.key_or_group in swept}
        kept = [o for o in job if not (swept and o.key_or_group.startswith("sweep."))]
        overrides = tuple(map(TypedOverride.of, kept))
        return Composed(overrides, config, tuple(found), varies=varies, left_open=left), told

    def _settings_of(self, job: Sequence[Override]) -> SweepConfig | None:
        """Return the settings of the sweep for a job's overrides; None if it does not compose."""
        values = [
            one
            for one in job
            if one.key_or_group.partition(".")[0] == "sweep"
            and not (one.is_delete() or chooses_group(one, self._groups))
        ]
        choices = _choices(job, self._groups)
        known = (choices, tuple(map(line_of, values)))
        if known not in self._settings:
            base = self._chosen(choices)
            section = base.shared.find("sweep") if isinstance(base, _Choice) else None
            self._settings[known] = _with_values(section, values)
        return self._settings[known]


def _with_values(section: SweepConfig | None, values: Sequence[Override]) -> SweepConfig | None:
    """Apply overrides to a section; what does not fit is told when the job is composed."""
    if section is None or not values:
        return section
    config = OmegaConf.create({"sweep": OmegaConf.structured(section)})
    for override in values:
        _set_value(config, override)
    try:
        settings: SweepConfig = OmegaConf.to_object(config.sweep)  # type: ignore[assignment]
    except OmegaConfBaseException:
        return None
    return settings


def _with_move(problem: Problem, groups: Groups, folder: Path) -> Problem:
    """Offer to move a file into place where an option is missing that has its name."""
    option = problem.value or ""
    if not option or option in groups.get(problem.key, [option]):
        return problem
    move = moved_into_place(folder, problem.key, option)
    return replace(problem, fix=move) if move else problem


@functools.cache
def _register_schema() -> None:
    ConfigStore.instance().store(name=SCHEMA, node=LaunchConfig)


class _Choice:
    """Config of a choice of groups, of which each job takes a copy to set its values on."""

    def __init__(self, config: DictConfig) -> None:
        self.shared = SharedSections(config)
        self._pickled = pickle.dumps(config)

    def copy(self) -> DictConfig:
        """Copy it; loading a pickle is ten times faster than copy.deepcopy."""
        config: DictConfig = pickle.loads(self._pickled)
        return config


_Chosen = Callable[[tuple[str, ...]], "_Choice | Exception"]


def _filled(chosen: _Chosen, variables: Variables) -> _Chosen:
    """Replace references to variables of this machine in the configs of group choices."""
    if not variables.allowed:
        return chosen

    @functools.cache
    def filled(choices: tuple[str, ...]) -> _Choice | Exception:
        found = chosen(choices)
        if not isinstance(found, _Choice):
            return found
        config = found.copy()
        problems = variables.put_into(config)
        return ConfigError([*problems_so_far(), *problems]) if problems else _Choice(config)

    return filled


def _chosen_groups(conf_dir: Path, extra_dir: Path | None, base: JobConfig | None) -> _Chosen:
    """Compose each set of group choices once; returns configs, or the problems that prevent them."""
    folders = [conf_dir, *([extra_dir] if extra_dir else [])]

    @functools.cache
    def chosen(choices: tuple[str, ...]) -> _Choice | Exception:
        try:
            if base:
                return _Choice(_onto_job(base, folders, choices))
            return _Choice(compose_groups(folders, "config", choices)[0])
        except RecursionError:
            what = "group files choose each other in a circle"
            return ConfigError([Problem(" ".join(choices), what)])
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
            wrong = problems_so_far()
            return ConfigError(wrong) if wrong else error

    return chosen


def _onto_job(job: JobConfig, folders: Sequence[Path], choices: Sequence[str]) -> DictConfig:
    """Compose onto a job: once to find out which groups are chosen, also by group files, and once with
    the sections of these groups at their defaults."""
    register_job(job, folders[0])
    config, options = compose_groups(folders, PRIMARY, choices)
    chosen = {group for group, option in options.items() if option is not None}
    if not chosen & field_types(JobConfig).keys():
        return config
    register_job(job, folders[0], chosen)
    return compose_groups(folders, PRIMARY, choices)[0]


def _compose_one(
    job: Sequence[Override],
    groups: Groups,
    chosen: _Chosen,
    defaults: Mapping[str, Any],
    origin: Origin,
    variables: Variables,
) -> tuple[LaunchConfig | None, tuple[str, ...], list[Problem]]:
    """Compose the config of the overrides that fit, with a problem for each that does not; also returns the
    settings that were left open and filled in."""
    removed = [o for o in job if o.is_delete()]
    values = [o for o in job if not o.is_delete() and not chooses_group(o, groups)]
    choices = _choices(job, groups)
    base = chosen(choices)
    if isinstance(base, ConfigError):
        return None, (), base.problems  # also those of files, which are told once
    if isinstance(base, Exception):
        return None, (), [_not_composed(base, choices)]
    config = base.copy()
    named = [o for o in removed if mapping_of(o.key_or_group)]
    problems = [
        removal(o, groups, defaults, _now(config, o.key_or_group))
        for o in removed
        if o not in named
    ]
    changes = [o for o in job if o in values or o in named]
    problems += [p for o in changes for p in (_remove if o.is_delete() else _set_value)(config, o)]
    problems += variables.put_into(config)
    changed = {o.key_or_group.partition(".")[0] for o in changes}
    left = left_open(config)
    typed, more = typed_config(config, base.shared, changed)
    if typed is not None:
        typed, found = with_machines(typed, groups.get("cluster", []), partial(_cluster, chosen))
        more = [*more, *found]
        keys = [o.key_or_group for o in values]
        typed, found = with_own_code(typed, keys, origin)
        more = [*more, *found]
        typed, found = with_teacher(typed, keys)
        more = [*more, *found]
    told = {p.key for p in problems if p.key}
    return typed, left, [*problems, *(p for p in more if p.key not in told)]


def _not_composed(error: Exception, choices: Sequence[str]) -> Problem:
    """Describe why Hydra does not compose choices: most often, a group of the user's own lacks its +."""
    told, typed = in_a_line(error), " ".join(choices) or "config"
    lacks = re.match(r"(?:In '([^']+)': )?Could not override '([^'@]+)'", told)
    if not lacks:
        return Problem(typed, told)
    file, group = lacks.groups()
    if file:
        return Problem(typed, told, f"in the defaults of {file}.yaml: - /{group}: OPTION")
    choice = next((one for one in choices if one.partition("=")[0] == group), typed)
    added = for_shell(f"+{choice}")
    return Problem(choice, f"a group of your own is added: {added}", added)


def _cluster(chosen: _Chosen, option: str) -> LaunchClusterConfig | None:
    """Compose an option of the group cluster; None if it cannot be."""
    found = chosen((f"cluster={option}",))
    return found.shared.find("cluster") if isinstance(found, _Choice) else None


def _choices(job: Sequence[Override], groups: Groups) -> tuple[str, ...]:
    """List the choices of groups among the overrides of a job."""
    options = [o for o in job if not o.is_delete() and chooses_group(o, groups)]
    # experiment=null is the default, for which Hydra has no syntax
    return tuple(line_of(o) for o in options if o.value() is not None)


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


def _remove(config: DictConfig, override: Override) -> list[Problem]:
    """Take out names of the user's own, as Hydra would: one only where it has the value that is given."""
    key, typed = override.key_or_group, TypedOverride.of(override)
    mapping = mapping_of(key) or ""
    if key == mapping:
        if typed.value:
            return [typed.refused("is removed whole, without a value", f"~{key}")]
        OmegaConf.update(config, key, {}, merge=False)
        return []
    name = key[len(mapping) + 1 :]
    held = OmegaConf.select(config, mapping)
    names = [str(one) for one in held] if held else []
    if name not in names:
        what = f"{mapping} has no {name!r}{nearest(name, names)}"
        near = closest(name, names)
        return [typed.refused(what, f"~{mapping}.{near}" if near else "leave it out")]
    if override.value() is not None and str(override.value()) != held[name]:
        return [typed.refused("has another value, and is kept", f"~{key}")]
    with open_dict(held):
        del held[name]
    return []


def _now(config: DictConfig, key: str) -> Any:
    """The value of a setting as far as it is known; None for what is no key."""
    try:
        if key in BY_MODEL_KEYS and OmegaConf.is_missing(config, key):
            return getattr(kind_of(ModelConfig(name_or_path=config.model.name_or_path)), key)
        now = OmegaConf.select(config, key)
        return OmegaConf.to_container(now) if OmegaConf.is_config(now) else now
    except OmegaConfBaseException:
        return None
