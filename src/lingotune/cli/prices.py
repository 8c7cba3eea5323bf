"""`lingotune prices`: asks AWS for a price list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say_aside
from lingotune.launch.cost.prices import TRAINING, USES


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("prices", "Ask AWS for prices: a file for budget.prices.")
    made.add_argument("--region", required=True, help="AWS region, e.g. eu-west-1")
    made.add_argument("--instance", nargs="+", default=[], help="instance types; default: all")
    made.add_argument(
        "--use", choices=USES, default=TRAINING, help="what the instances do; default: training"
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Print the price list."""
    options = parsed(parser(), argv)
    from lingotune.launch.aws.pricing import fetch_prices
    from lingotune.launch.cost.prices import format_prices, keep_prices, kept_file

    found = fetch_prices(options.region, options.instance, date.today(), options.use)
    keep_prices(found)
    say_aside(f"plans on this machine take these prices from now on ({kept_file()})")
    note = f"On-demand list prices of SageMaker {options.use}, USD per instance and hour."
    print(format_prices(found, note), end="")
    return 0
