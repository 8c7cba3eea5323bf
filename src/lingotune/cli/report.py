"""`lingotune report`: writes the page of a run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser
from lingotune.launch.results.chosen import run_named


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("report", "Make the page of a run, report.html, anew.")
    made.add_argument("run", help="a run folder, or SWEEP:best")
    made.add_argument(
        "--data", help="the prepared data, for the texts of examples; default: where it was"
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Write the page and print its path."""
    options = parsed(parser(), argv)
    run = run_named(options.run)
    from lingotune.report.run_page import write_run_report

    print(write_run_report(Path(run), Path(options.data) if options.data else None))
    return 0
