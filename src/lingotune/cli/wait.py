"""`lingotune wait`: waits for jobs to end, for scripts and CI."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target, seconds
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say_aside

_EVERY, _SHORTEST = 15.0, 1.0


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "wait",
        "Wait until jobs have ended. Exit code: 0 all completed, 8 one failed, 75 one was stopped, 124"
        " the time is over, 2 AWS does not answer.",
    )
    add_target(made)
    made.add_argument("--timeout", type=seconds, metavar="TIME", help="3h; default: for ever")
    made.add_argument(
        "--every", type=seconds, default=_EVERY, metavar="TIME", help="between two looks; 15s"
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Wait; the table is printed at the end."""
    options = parsed(parser(), argv, "numbers")
    from lingotune.launch.operations.selection import select
    from lingotune.launch.operations.table import lines_of
    from lingotune.launch.operations.wait import TIMED_OUT, wait

    chosen = select("wait", options.what, options.numbers, options.runs_dir, options.region)
    every = max(_SHORTEST, options.every)
    last, code = wait(chosen.survey.look, every, options.timeout, say_aside)
    print("\n".join(lines_of(last, shutil.get_terminal_size((100, 24)).columns)))
    if code == TIMED_OUT:
        say_aside("lingotune: the time is over; the jobs go on")
    return code
