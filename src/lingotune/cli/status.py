"""`lingotune status`: shows what runs or ran, with progress and money."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target, seconds
from lingotune.cli.words import command_parser, parsed, whole_number
from lingotune.config.console import Parser, say_aside
from lingotune.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from lingotune.launch.deploy.standing import Standing
    from lingotune.launch.operations.rows import Overview

_EVERY = 10.0


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "status", "Show jobs, sweeps and endpoints on SageMaker: state, scores, time, money."
    )
    add_target(made, optional=True)
    made.add_argument("--watch", action="store_true", help="keep it up to date, until Ctrl-C")
    made.add_argument(
        "--every", type=seconds, metavar="TIME",
        help="between two looks of --watch; default: 10s, at least 2s",
    )  # fmt: skip
    made.add_argument("--json", action="store_true", help="one JSON object")
    made.add_argument(
        "--limit",
        type=whole_number(1),
        default=100,
        help="newest jobs of the account; default: 100",
    )
    made.add_argument("--prices", help="a price list of your own, as for budget.prices")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the overview, or keep showing it."""
    options = parsed(parser(), argv, "numbers")
    _check(options)
    from lingotune.launch.deploy.standing import as_dicts, table_of
    from lingotune.launch.operations.status import open_survey
    from lingotune.launch.operations.table import as_dict, lines_of, to_json

    try:
        survey = open_survey(
            options.what, options.numbers, options.runs_dir, options.region,
            prices=options.prices, most=options.limit,
        )  # fmt: skip
    except ConfigError as error:
        return _deployment(error, options)
    if options.json:
        overview = survey.look()
        endpoints = as_dicts(_standing(overview, options))
        print(to_json({**as_dict(overview), **({"endpoints": endpoints} if endpoints else {})}))
        return 0
    if options.watch:
        from lingotune.launch.operations.live import SHORTEST, watch

        every = max(SHORTEST, _EVERY if options.every is None else options.every)
        overview = watch(survey.look, every, until_over=options.what is not None)
    else:
        overview = survey.look()
    print("\n".join(lines_of(overview, shutil.get_terminal_size((100, 24)).columns)))
    if found := _standing(overview, options):
        print("\n" + "\n".join(table_of(found, overview.region)))
    return 0


def _standing(overview: Overview, options: argparse.Namespace) -> list[Standing]:
    """List what serves in the account, where the whole account is looked at."""
    from lingotune.launch.deploy.standing import all_standing

    if options.what is not None or not overview.region:
        return []
    try:
        return all_standing(options.region, options.prices)
    except ConfigError as error:
        say_aside("\n".join(f"note: {one.where} {one.what}" for one in error.problems))
        return []


def _deployment(error: ConfigError, options: argparse.Namespace) -> int:
    """Show an endpoint or a batch, where no job has the name."""
    from lingotune.launch.deploy.standing import as_dicts, standing_instead, table_of

    found = standing_instead(error, options.what or "", options.region, options.prices)
    if options.json:
        from lingotune.launch.operations.table import to_json

        print(to_json({"endpoints": as_dicts([found])}))
    else:
        print("\n".join(table_of([found], options.region)))
    return 0


def _check(options: argparse.Namespace) -> None:
    problems = []
    if options.json and options.watch:
        problems.append(Problem("--json", "is one object, --watch never ends", "one of the two"))
    if options.every is not None and not options.watch:
        problems.append(Problem("--every", "has no effect without --watch", "--watch --every 30s"))
    if problems:
        raise ConfigError(problems)
