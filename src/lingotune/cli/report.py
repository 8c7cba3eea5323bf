"""`lingotune report`: writes the page of a run, or of a sweep, again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.contract.container import JOB_FILE
from lingotune.launch.results.chosen import run_named
from lingotune.launch.sweeps.ledger import sweep_folder


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("report", "Make the page of a run or of a sweep anew.")
    made.add_argument("run", help="a run folder, SWEEP, SWEEP:best, or a folder of runs")
    made.add_argument(
        "--data", help="the prepared data, for the texts of examples; default: where it was"
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Write the page and print its path."""
    options = parsed(parser(), argv)
    many = sweep_folder(options.run) or _folder_of_runs(options.run)
    if many is not None:
        print(_page_of_many(many, options.data))
        return 0
    run = run_named(options.run)
    from lingotune.report.run_page import write_run_report

    print(write_run_report(Path(run), Path(options.data) if options.data else None))
    return 0


def _folder_of_runs(typed: str) -> Path | None:
    folder = Path(typed)
    holds = not (folder / JOB_FILE).exists() and any(folder.glob(f"*/{JOB_FILE}"))
    return folder if holds else None


def _page_of_many(folder: Path, data: str | None) -> Path:
    if data is not None:
        what = "has no effect on the page of many runs, which shows no texts"
        raise ConfigError([Problem(f"--data {data}", what, f"{program('report')} {folder}")])
    from lingotune.launch.results.collect import leaderboard
    from lingotune.launch.results.page import write_page

    return write_page(leaderboard([str(folder)]), folder)
