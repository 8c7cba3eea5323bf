"""`lingotune stop`: stops jobs on SageMaker, after a question."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say, say_problems
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program


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

    chosen = select("stop", options.what, options.numbers, options.runs_dir, options.region)
    jobs = running(chosen.rows)
    if jobs and not options.yes:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            jobs_text = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
            what = f"would stop {jobs_text}, and there is no terminal to ask"
            fix = f"{program('stop')} {chosen.target.text} --yes{chosen.overview.options}"
            raise ConfigError([Problem(chosen.target.text, what, fix, check="not-confirmed")])
        for row in jobs:
            say(describe(row, chosen.overview.at))
        asked = f"stop {'it' if len(jobs) == 1 else f'these {len(jobs)}'}? [y/N] "
        if input(asked).strip().lower() not in ("y", "yes"):
            say("nothing was stopped")
            return 0
    held = hold(chosen)
    found = stop_all(chosen, say)
    for line in after(chosen, found, held=held):
        say(line)
    if found.problems:
        say_problems(found.problems)
        return ConfigError(found.problems).exit_code
    return 0
