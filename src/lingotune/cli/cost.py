"""`lingotune cost`: prints time and cost of a job on SageMaker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("cost", "Tell what a job on SageMaker took and cost.")
    made.add_argument("job", help="name of the training job, or its beginning, or its run folder")
    made.add_argument("--region", help="AWS region; default: this machine's AWS configuration")
    made.add_argument("--runs-dir", default="runs", help="folder of throughput.jsonl")
    made.add_argument("--prices", help="a price list of your own, as for budget.prices")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the account of the job."""
    options = parsed(parser(), argv)
    from lingotune.launch.aws.finished_job import account_for
    from lingotune.launch.operations.selection import job_named

    name, region = job_named(options.job, options.region, options.runs_dir, "cost")
    lines = account_for(name, region, options.runs_dir, options.prices, date.today())
    print("\n  ".join(lines))
    return 0
