"""`lingotune stop`: stops jobs on SageMaker."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say
from lingotune.config.problems import USER_ERROR, ConfigError, Problem, format_problems


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("stop", "Stop jobs on SageMaker; of a whole sweep, its waiting ones too.")
    add_target(made)
    made.add_argument("--yes", "-y", action="store_true", help="do not ask")
    return made


def main(argv: Sequence[str]) -> int:
    """Stop what was named; the exit code is 2 if a job could not be stopped."""
    options = parsed(parser(), argv, "numbers")
    from lingotune.launch.operations.named import named_jobs
    from lingotune.launch.operations.stop import Stops, stop_all

    named = named_jobs("stop", options.what, options.numbers, options.runs_dir, options.region)
    stops = Stops(named)
    if stops.is_needless:
        say(f"{named.target.text}: nothing runs, nothing was done")
        return 0
    if not options.yes and not _confirmed(stops.lines(), named.target.text):
        say("nothing was stopped")
        return USER_ERROR
    problems = stop_all(stops, say)
    if problems:
        print(format_problems(problems), file=sys.stderr)
    return USER_ERROR if problems else 0


def _confirmed(lines: Sequence[str], typed: str) -> bool:
    """Ask once, on a terminal; ConfigError where nobody can answer."""
    if not sys.stdin.isatty():
        what = "is asked before it is stopped, and this is no terminal"
        raise ConfigError([Problem(typed, what, "--yes")])
    say("\n".join(["to be stopped:", *lines]))
    return input("stop? [y/N] ").strip().lower() in ("y", "yes")
