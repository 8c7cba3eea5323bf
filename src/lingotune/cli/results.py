"""`lingotune results`: compares the runs of a sweep, or of a folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say_aside, terminal_width
from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.results.names import NAME

if TYPE_CHECKING:
    from lingotune.launch.results.entries import Leaderboard

_FORMATS = ("table", "csv", "json", "markdown")


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "results", "Compare the runs of a sweep: who wins, by how much, at what price."
    )
    made.add_argument(
        "places",
        nargs="*",
        metavar="SWEEP|DIR|RUN",
        help="a sweep, a folder of runs, or run folders; default: all runs of this machine",
    )
    made.add_argument("--format", choices=_FORMATS, default="table", help="default: table")
    made.add_argument(
        "--best", action="store_true", help="print the overrides that make the winner, nothing else"
    )
    made.add_argument(
        "--compare",
        nargs="*",
        metavar="RUN|KEY=VALUE",
        help="two of them row by row, with McNemar's test: numbers or names of runs, or settings with all"
        " their seeds; by default the best two",
    )
    made.add_argument("--runs-dir", default="runs", help="folder of sweeps by name; default: runs")
    made.add_argument("--region", help="of a sweep that is not on this machine")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the table, and write results.csv into the folder of a sweep."""
    options = parsed(parser(), argv, "places")
    if options.best:
        _check_alone(options)
    from lingotune.launch.results.collect import leaderboard, place_of

    if len(options.places) == 1 and not place_of(options.places[0], options.runs_dir).exists():
        _rebuild(options.places[0], options.runs_dir, options.region)
    board = leaderboard(options.places or [options.runs_dir], options.runs_dir)
    from lingotune.launch.results.compare import compare
    from lingotune.launch.results.table import FORMATS, best_overrides, for_terminal, write_csv

    if options.compare is not None:
        return _compare(board, options.compare, options.format)
    if options.best:
        print(best_overrides(board))
        return 0
    comparison = compare(board.ranked)
    written = write_csv(board, comparison)
    if options.format != "table":
        print(
            FORMATS[options.format](board, comparison), end="" if options.format == "csv" else "\n"
        )
        return 0
    print(for_terminal(board, comparison, terminal_width()))
    if written:
        print(f"\nwrote {written}")
    return 0


def _check_alone(options: argparse.Namespace) -> None:
    """Refuse what would have no effect beside --best, which prints overrides and nothing else."""
    beside = {
        f"--format {options.format}": options.format != "table",
        "--compare": options.compare is not None,
    }
    what = "does not go with --best, which prints overrides and nothing else"
    if problems := [
        Problem(one, what, "one of the two") for one, is_typed in beside.items() if is_typed
    ]:
        raise ConfigError(problems)


def _compare(board: Leaderboard, typed: Sequence[str], form: str) -> int:
    """Print the comparison of two runs or settings."""
    from lingotune.launch.results.pair import as_json, as_text, chosen_pair, compare_two

    if form not in ("table", "json"):
        what = "is no form of a comparison of two"
        raise ConfigError([Problem(f"--format {form}", what, "--format table, or --format json")])
    pair = compare_two(*chosen_pair(board, typed))
    print(as_json(pair) if form == "json" else as_text(pair))
    return 0


def _rebuild(typed: str, runs_dir: str, region: str | None) -> None:
    """Write down, from its tags and its pin in S3, a sweep that was started elsewhere."""
    if not NAME.fullmatch(typed):
        return
    from lingotune.launch.operations.opening import Opening
    from lingotune.launch.operations.pins import rebuilt

    try:
        folder = rebuilt(Opening(region).account(), typed, Path(runs_dir))
    except ConfigError as error:
        if error.problems[0].check == "aws-unanswered":
            raise
        return  # no credentials or no region: it is looked for on this machine alone
    if folder is not None:
        say_aside(f"{typed} was started elsewhere; what is known of it: {folder}")
