"""`lingotune logs`: prints the log of a job on SageMaker."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target, seconds
from lingotune.cli.words import command_parser, parsed, whole_number
from lingotune.config.console import Parser, say, say_aside
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "logs", "Print the log of a job or an endpoint, each line with its host and rank."
    )
    add_target(made)
    made.add_argument("--follow", action="store_true", help="until the job has ended, or Ctrl-C")
    made.add_argument(
        "--rank", type=whole_number(0), metavar="N", help="lines of this process alone"
    )
    made.add_argument("--since", type=seconds, metavar="TIME", help="the last 10m, 2h, ...")
    made.add_argument(
        "--full", action="store_true", help="with all of a container's variables, some 170 lines"
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Print the lines; of a sweep one trial has to be named, unless only one has a log."""
    options = parsed(parser(), argv, "numbers")
    from lingotune.launch.operations.account import asked_of
    from lingotune.launch.operations.logs import LogReader
    from lingotune.launch.operations.selection import select
    from lingotune.launch.sweeps.trial import State

    try:
        chosen = select("logs", options.what, options.numbers, options.runs_dir, options.region)
    except ConfigError as error:
        return _of_deployment(error, options)
    rows = [row for row in chosen.rows if row.state is not State.waiting]
    if len(rows) != 1:
        where = chosen.overview.options
        numbers = " | ".join(f"{chosen.target.sweep} {row.number}{where}" for row in rows[:8])
        what = "has many jobs, one is needed" if rows else "has no job yet"
        fix = (
            f"{program('logs')} {numbers}"
            if rows
            else f"{program('status')} {chosen.target.text}{where}"
        )
        raise ConfigError([Problem(chosen.target.text, what, fix, check="one-job-needed")])
    name = chosen.target.job or rows[0].name
    since = None if options.since is None else time.time() - options.since
    reader = LogReader(
        chosen.account, name, rank=options.rank, since=since, folded=not options.full,
        options=chosen.overview.options, tell=say, note=say_aside,
    )  # fmt: skip
    if options.follow:
        reader.follow()
    else:
        asked_of(name, reader.print_new)
    if not reader.count:
        say_aside(_nothing(name, options))
    return 0


def _of_deployment(error: ConfigError, options: argparse.Namespace) -> int:
    """Print the log of an endpoint or a batch, where no job has the name."""
    from lingotune.launch.deploy.logs import print_logs
    from lingotune.launch.deploy.standing import standing_instead

    found = standing_instead(error, options.what, options.region)
    if options.rank is not None:
        what = f"is of training jobs: {found.name} serves a model"
        raise ConfigError([Problem(f"--rank {options.rank}", what, "without --rank")])
    since = None if options.since is None else time.time() - options.since
    if not print_logs(found, options.region, say, since, follow=options.follow):
        say_aside(f"{found.name}: no lines yet")
    return 0


def _nothing(name: str, options: argparse.Namespace) -> str:
    if options.rank is not None or options.since is not None:
        return f"{name}: no such lines; without --rank and --since all are shown"
    return f"{name}: no lines yet; a job has a log once its machines are there (--follow waits)"
