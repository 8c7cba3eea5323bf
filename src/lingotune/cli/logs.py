"""`lingotune logs`: prints the logs of jobs on SageMaker."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target, seconds
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say, say_aside


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("logs", "Print the logs of jobs on SageMaker.")
    add_target(made)
    made.add_argument("--follow", "-f", action="store_true", help="until the jobs have ended")
    made.add_argument("--rank", type=_rank, metavar="N", help="lines of one process; 0 = the first")
    made.add_argument("--since", type=seconds, metavar="TIME", help="lines of the last 10m, 2h, 1d")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the logs; what is to be known beside them goes to standard error."""
    options = parsed(parser(), argv, "numbers")
    from lingotune.launch.operations.log_lines import Logs, Shown
    from lingotune.launch.operations.named import check_started, named_jobs

    named = named_jobs("logs", options.what, options.numbers, options.runs_dir, options.region)
    check_started(named)
    since = None if options.since is None else time.time() - options.since
    logs = Logs(named, Shown(options.rank, since), say, say_aside)
    if options.follow:
        logs.follow()
    else:
        logs.print()
    return 0


def _rank(typed: str) -> int:
    if not typed.isascii() or not typed.isdecimal():
        raise argparse.ArgumentTypeError(f"{typed} is not the number of a process, from 0")
    return int(typed)
