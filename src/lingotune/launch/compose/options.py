"""The command line of train, launch and prepare: options, help and checks."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import lingotune
from lingotune.config.console import Parser
from lingotune.config.jobfile import job_digest, job_of
from lingotune.config.problems import ConfigError, Problem, nearest_option
from lingotune.config.quoting import override_text
from lingotune.config.schema import LaunchConfig, Visibility
from lingotune.config.settings import setting_types
from lingotune.launch.compose.compose import Composed, compose_all
from lingotune.launch.compose.config_dirs import user_dir
from lingotune.launch.compose.help import Command, help_page
from lingotune.launch.compose.hydra_options import (
    add_options,
    hydra_page,
    misplaced,
    refused,
    without_completion,
)
from lingotune.launch.compose.information import Information, config_text
from lingotune.launch.compose.labels import with_found_labels
from lingotune.launch.compose.looked_up import with_looked_up
from lingotune.launch.compose.variables import Variables
from lingotune.launch.overrides.keys import config_groups
from lingotune.runs.remake import load_job_of


def composed_jobs(
    argv: list[str],
    command: Command,
    conf_dir: Path,
    check: Callable[[LaunchConfig], list[Problem]],
    fetches: Callable[[LaunchConfig], bool] = lambda config: True,
    later: Callable[[LaunchConfig], list[Problem]] = lambda config: [],
) -> list[Composed]:
    """Compose and check every job that the command line describes; ConfigError lists all problems.

    fetches: tells whether data elsewhere may be fetched to find its classes. later: see `compose_all`.
    `--help`, `--version`, `--cfg` and `--info` print and exit with code 0.
    """
    options, overrides = options_parser(command).parse_known_args(_without_settings(argv))
    overrides += filter(_SETTING_WITH_HYPHEN.match, argv)
    _print_and_exit(options, command, conf_dir)
    extra = user_dir(options.config_dir, os.environ)
    problems = list(_without_effect(options, command))
    misspelt, overrides = _misspelt(overrides, command)
    problems += misspelt
    problems += misplaced(options)
    problems += refused(options, overrides, conf_dir, config_groups(conf_dir, extra))
    overrides = without_completion(options, overrides)
    given = ["--config-dir", options.config_dir] if options.config_dir else []
    about = Information(conf_dir, extra, options.config_dir, options.job is not None)
    if options.info == "searchpath" and not problems:  # also where a file is not found
        print("\n".join(about.search_path()))
        raise SystemExit(0)
    asks_only = options.info not in (None, "all", "config")
    try:
        composed = compose_all(
            overrides,
            conf_dir,
            _nothing if asks_only else check,
            multirun=options.multirun,
            sweeps=True,
            extra_dir=extra,
            base=load_job_of(Path(options.job))[0] if options.job else None,
            base_dir=Path(options.job).parent if options.job else None,
            help_command=shlex.join([*shlex.split(command.program), *given, "--help"]),
            variables=Variables.of(options.env, os.environ),
            later=_nothing if asks_only else later,
        )
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems], error.next_command) from None
    if options.info is not None and not problems:
        print("\n".join(about.lines(options.info, composed)))
        raise SystemExit(0)
    problems += _same_repository(composed)
    if problems:
        raise ConfigError(problems)
    given += ["--job", options.job] if options.job else []
    given += [word for name in options.env for word in ("--env", name)]

    def completed(jobs: Sequence[Composed]) -> list[Composed]:
        may_fetch = fetches(jobs[0].config)
        found = with_looked_up(with_found_labels(jobs, fetches=may_fetch), fetches=may_fetch)
        return [
            replace(one, options=tuple(given), config_dir=extra, words=tuple(argv)) for one in found
        ]

    composed = completed(composed)
    if options.cfg:
        print("\n".join(config_text(c, options.cfg, options.package) for c in composed), end="")
        raise SystemExit(0)
    if (space := composed[0].space) is not None:
        # what a search suggests later is completed in the same way
        suggested = partial(_suggested, space.suggested, completed)
        composed = [replace(one, space=replace(space, suggested=suggested)) for one in composed]
    return composed


_SETTING_WITH_HYPHEN = re.compile(r"-(?!c[dnp]?=|[pi]=)[A-Za-z_][\w./]*=")
"""A setting with a hyphen, which argparse would take for a short option: -cluster.nodes=2."""


def _without_settings(argv: Sequence[str]) -> list[str]:
    return [word for word in argv if not _SETTING_WITH_HYPHEN.match(word)]


def _print_and_exit(options: argparse.Namespace, command: Command, conf_dir: Path) -> None:
    """Answer what needs no job."""
    if options.version:
        print(f"lingotune {lingotune.__version__}")
    elif options.hydra_help:
        print("\n".join(hydra_page()))
    elif options.help is not None:
        extra = user_dir(options.config_dir, os.environ)
        print(help_page(command, conf_dir, extra, options.help))
    else:
        return
    raise SystemExit(0)


def _nothing(config: LaunchConfig) -> list[Problem]:
    """Find nothing: files and overrides alone are asked about."""
    return []


def _suggested(
    suggested: Callable[[Mapping[str, str]], Composed],
    completed: Callable[[Sequence[Composed]], list[Composed]],
    varies: Mapping[str, str],
) -> Composed:
    return completed([suggested(varies)])[0]


def options_parser(command: Command) -> Parser:
    """Make the parser of the options besides overrides."""
    parser = Parser(
        command.program, description=command.purpose, allow_abbrev=False, add_help=False
    )
    add_options(parser)
    parser.add_argument("--job", metavar="FILE")
    parser.add_argument("--env", metavar="NAME", action="append", default=[])
    for option in command.instead:
        parser.add_argument(option, metavar="DIR")
    return parser


def _without_effect(options: argparse.Namespace, command: Command) -> Iterator[Problem]:
    """Refuse options of a job file that is trained as it is, where a job is composed."""
    for option, setting in command.instead.items():
        value = getattr(options, option.lstrip("-").replace("-", "_"))
        if value is not None:
            what = "goes with --job FILE alone; a job of overrides has a setting for it"
            yield Problem(f"{option} {value}", what, override_text(setting, value))


def _misspelt(words: Sequence[str], command: Command) -> tuple[list[Problem], list[str]]:
    """Find misspelt options of the command's own, each with its value; also returns the other words."""
    own = {name: bool(value) for name, _, value in (o.partition(" ") for o in command.options)}
    problems, others, left = [], [], iter(words)
    for word in left:
        typed, equals, value = word.partition("=")
        is_setting = typed.lstrip("-").replace("-", "_") in setting_types()
        near = nearest_option(typed, [*own], 0.75) if typed[:2] == "--" and not is_setting else ""
        if not near:
            others.append(word)
            continue
        given = equals + value if equals or not own[near] else f" {next(left, 'VALUE')}"
        problems.append(Problem(f"{typed}{given}", "unknown option", f"{near}{given}"))
    return problems, others


def _same_repository(composed: Sequence[Composed]) -> list[Problem]:
    """Find jobs of a sweep that would publish to the same repository, which would refuse the second."""
    jobs = [job_of(one.config) for one in composed]
    named = {job.hub.repo for job in jobs if job.hub.visibility is not Visibility.none}
    shared = [
        repo for repo in named
        if repo and len({job_digest(job) for job in jobs if job.hub.repo == repo}) > 1
    ]  # fmt: skip
    what = "several jobs of the sweep would publish to it; a repository holds one job's model"
    fix = "without hub.repo each job has its own"
    return [Problem(f"hub.repo={repo}", what, fix) for repo in shared]
