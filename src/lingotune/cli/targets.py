"""Arguments of the commands that name jobs and sweeps."""

from __future__ import annotations

import argparse

from lingotune.config.console import Parser


def add_target(parser: Parser, *, optional: bool = False, numbers: bool = True) -> None:
    """Add the name of a job or sweep, numbers of trials, and where to look for them."""
    words = "a job's name or its beginning, a sweep's name or folder"
    if optional:
        parser.add_argument("what", metavar="JOB|SWEEP", nargs="?", help=f"{words}; default: all")
    else:
        parser.add_argument("what", metavar="JOB|SWEEP", help=words)
    if numbers:
        text = "trials of the sweep: 4, or 5-12; default: all"
        parser.add_argument("numbers", metavar="NUMBER", nargs="*", help=text)
    text = "AWS region; default: the sweep's, or that of this machine's AWS configuration"
    parser.add_argument("--region", help=text)
    parser.add_argument(
        "--runs-dir", default="runs", metavar="DIR", help="folder of runs and sweeps; default: runs"
    )


def seconds(typed: str) -> float:
    """Read a duration of an option: 30, 30s, 10m, 2h or 1d."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (typed[:-1], typed[-1:]) if typed[-1:] in units else (typed, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{typed} is no duration such as 30s, 10m or 2h")
    return value
