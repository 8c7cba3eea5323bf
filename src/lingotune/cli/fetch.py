"""`lingotune fetch`: brings the results of jobs into run folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say, say_problems
from lingotune.config.problems import ConfigError


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("fetch", "Fetch the results of jobs that have ended into RUNS/JOB.")
    add_target(made)
    return made


def main(argv: Sequence[str]) -> int:
    """Fetch what has ended; the exit code is 2 if something could not be fetched."""
    options = parsed(parser(), argv, "numbers")
    from lingotune.launch.operations.fetch import fetch_all, still_running
    from lingotune.launch.operations.finished import note_ends
    from lingotune.launch.operations.following import after_fetch
    from lingotune.launch.operations.selection import select

    chosen = select("fetch", options.what, options.numbers, options.runs_dir, options.region)
    if chosen.target.job and not chosen.rows[0].state.over:
        raise ConfigError([still_running(chosen.rows[0], chosen.overview.options)])
    found = fetch_all(chosen.rows, chosen.account, Path(options.runs_dir), say)
    note_ends(chosen, Path(options.runs_dir))
    for line in found.lines():
        say(line)
    if found.problems:
        say_problems(found.problems)
        return ConfigError(found.problems).exit_code
    for command in after_fetch(chosen, found):
        say(f"next: {command}")
    return 0
