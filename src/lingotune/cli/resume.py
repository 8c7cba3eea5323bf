"""`lingotune resume SWEEP`: goes on with a sweep, on any machine, from what was pinned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say
from lingotune.config.schema import AwsConfig, LaunchConfig, Retry


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("resume", "Go on with a sweep on SageMaker where it was left.")
    made.add_argument("sweep", help="its name, or its folder")
    made.add_argument("--runs-dir", default=LaunchConfig().runs_dir, metavar="DIR")
    made.add_argument(
        "--region", help="where its folder is not here; default: as AWS is configured"
    )
    made.add_argument("--bucket", help="where its folder is not here")
    made.add_argument("--prefix", default=AwsConfig().prefix, help="in the bucket")
    made.add_argument(
        "--retry", choices=[one.value for one in Retry], default=Retry.none.value,
        help="failed = start the failed jobs again, too",
    )  # fmt: skip
    made.add_argument(
        "--max-parallel", type=int, metavar="N", help="jobs at a time; default: as submitted"
    )
    stay = made.add_mutually_exclusive_group()
    stay.add_argument("--follow", action="store_true", help="stay until all jobs have ended")
    stay.add_argument("--detach", action="store_true", help="start what fits, and leave")
    return made


def main(argv: Sequence[str]) -> int:
    """Go on with the sweep; returns the exit code. ConfigError if nothing is known of it."""
    options = parsed(parser(), argv)
    from lingotune.launch.sweeps.resume import pin_of, resume
    from lingotune.launch.sweeps.sources import learns

    given = Path(options.sweep)
    folder = given if given.is_dir() else Path(options.runs_dir, options.sweep)
    aws = AwsConfig(region=options.region, bucket=options.bucket, prefix=options.prefix)
    pin = pin_of(folder, aws)
    if learns(pin.sweep) or _ends_with_command(folder):  # its jobs have to be composed
        from lingotune.cli.launch import main as launch

        changed = [f"sweep.retry={options.retry}"] if options.retry != Retry.none.value else []
        if options.max_parallel is not None:
            changed.append(f"sweep.max_parallel={options.max_parallel}")
        stay = ["--follow"] if options.follow else ["--detach"] if options.detach else []
        return launch([*pin.words, *changed, *stay])
    follow = True if options.follow else False if options.detach else None
    return resume(
        pin, folder, say, follow=follow, retry=Retry(options.retry),
        max_parallel=options.max_parallel,
    )  # fmt: skip


def _ends_with_command(folder: Path) -> bool:
    """Tell whether a sweep's account is one of this machine that the command itself starts."""
    from lingotune.launch.sweeps.ledger import Ledger, is_sweep, runs_here

    if not is_sweep(folder):
        return False
    with Ledger(folder) as ledger:
        return runs_here(ledger.about())
