"""`lingotune results`: compares the runs of a sweep, or of a folder."""

from __future__ import annotations

from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser

_FORMATS = ("table", "csv", "json", "markdown")


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "results", "Compare the runs of a sweep: who wins, by how much, at what price."
    )
    made.add_argument(
        "places",
        nargs="+",
        metavar="SWEEP|DIR|RUN",
        help="a sweep, a folder of runs, or run folders",
    )
    made.add_argument("--format", choices=_FORMATS, default="table", help="default: table")
    made.add_argument(
        "--best", action="store_true", help="print the overrides that make the winner, nothing else"
    )
    made.add_argument("--runs-dir", default="runs", help="folder of sweeps by name; default: runs")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the table, and write results.csv into the folder of a sweep."""
    options = parsed(parser(), argv, "places")
    from lingotune.launch.results.collect import leaderboard

    board = leaderboard(options.places, options.runs_dir)
    from lingotune.launch.results.compare import compare
    from lingotune.launch.results.table import FORMATS, best_overrides, write_csv

    if options.best:
        print(best_overrides(board))
        return 0
    comparison = compare(board.ranked)
    print(FORMATS[options.format](board, comparison), end="" if options.format == "csv" else "\n")
    written = write_csv(board, comparison)
    if written and options.format == "table":
        print(f"\nwrote {written}")
    return 0
