"""`lingotune stop`: stops jobs on SageMaker, after a question."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say, say_problems
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.confirm import ask, can_ask


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("stop", "Stop jobs on SageMaker; what they have cost is told before.")
    add_target(made)
    made.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    return made


def main(argv: Sequence[str]) -> int:
    """Tell what runs and what it has cost, ask once, and stop it."""
    options = parsed(parser(), argv, "numbers")
    from lingotune.launch.operations.selection import select
    from lingotune.launch.operations.stop import after, describe, hold, running, stop_all

    try:
        chosen = select("stop", options.what, options.numbers, options.runs_dir, options.region)
    except ConfigError as error:
        return _of_deployment(error, options)
    jobs = running(chosen.rows)
    if jobs and not options.yes:
        jobs_text = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
        _require_terminal(jobs_text, chosen.target.text, chosen.overview.options)
        for row in jobs:
            say(describe(row, chosen.overview.at))
        asked = f"stop {'it' if len(jobs) == 1 else f'these {len(jobs)}'}?"
        if not ask(asked, "nothing was stopped"):
            return 0
    held = hold(chosen)
    found = stop_all(chosen, say)
    for line in after(chosen, found, held=held):
        say(line)
    if found.problems:
        say_problems(found.problems)
        return ConfigError(found.problems).exit_code
    return 0


def _require_terminal(things: str, target: str, options: str) -> None:
    if not can_ask():
        what = f"would stop {things}, and there is no terminal to ask"
        fix = f"{program('stop')} {target} --yes{options}"
        raise ConfigError([Problem(target, what, fix, check="not-confirmed")])


def _of_deployment(error: ConfigError, options: argparse.Namespace) -> int:
    """Stop a batch, where no job has the name; an endpoint can be deleted alone."""
    from lingotune.launch.deploy.standing import (
        RUNNING,
        open_deployments,
        standing_instead,
        table_of,
    )
    from lingotune.launch.deploy.words import delete_of

    found = standing_instead(error, options.what, options.region)
    for line in table_of([found], options.region):
        say(line)
    if found.kind != "batch":
        what = "is an endpoint: it bills until it is deleted"
        raise ConfigError([Problem(found.name, what, delete_of(found.name, options.region))])
    if found.status != RUNNING:
        say(f"nothing to stop: {found.name} {found.status}")
        return 0
    if not options.yes:
        where = f" --region {options.region}" if options.region else ""
        _require_terminal("a batch", found.name, where)
        if not ask("stop it?", "nothing was stopped"):
            return 0
    made = open_deployments(options.region)
    batch = made.find("transform_job", found.name)
    if batch is not None:
        made.delete(batch)
    say(f"stopping {found.name}; answers so far stay in S3")
    return 0
