"""`lingotune validate [DIR]`: composes and checks every group file, shipped and the user's own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser
from lingotune.config.problems import ConfigError, errors_only, format_problems
from lingotune.launch.compose.config_dirs import existing, shipped_dir, user_dir
from lingotune.launch.compose.group_files import group_files
from lingotune.launch.compose.variables import Variables
from lingotune.launch.validate import validate


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("validate", "Compose and check every group file, your own included.")
    made.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="group files of your own; default: LINGOTUNE_CONFIG, else ~/.config/lingotune",
    )
    made.add_argument(
        "--env",
        metavar="NAME",
        action="append",
        default=[],
        help="read ${oc.env:NAME} of the files on this machine",
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Check all files; ConfigError lists what is wrong with any of them."""
    arguments = parser()
    options = parsed(arguments, argv)
    typed = options.folder
    if typed:
        existing(f"{arguments.prog} ", typed)
    shipped, own = shipped_dir(), user_dir(typed, os.environ)
    problems = validate(shipped, own, Variables.of(options.env, os.environ))
    if errors_only(problems):
        raise ConfigError(errors_only(problems), f"{arguments.prog} {typed or ''}".rstrip())
    if problems:
        print(format_problems(problems))
    counts = [f"{len(group_files(shipped))} shipped group files"]
    counts += [f"{len(group_files(own))} of {own}"] if own else []
    print(f"{' and '.join(counts)}: all compose, and no check refuses any")
    return 0
