"""`lingotune clean`: lists what jobs have left in S3, and deletes what it is told to."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target, seconds
from lingotune.cli.words import command_parser, parsed, whole_number
from lingotune.config.console import Parser, say
from lingotune.config.problems import (
    ConfigError,
    Problem,
    closest,
    exit_code_for,
    format_problems,
)
from lingotune.config.program import program
from lingotune.launch.confirm import ask, can_ask
from lingotune.launch.operations.attempts import numbered
from lingotune.launch.sweeps.trial import State

if TYPE_CHECKING:
    from lingotune.launch.operations.clean import Cleaning

_KINDS = {
    "output": "output", "checkpoints": "checkpoints", "curves": "tensorboard", "code": "code",
    "data": "data", "model": "models", "job": "jobs", "pin": "sweeps",
}  # fmt: skip
"""Words of --only -> folders in S3."""


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "clean", "List what jobs that have ended have left in S3, with size and age, and delete it."
    )
    add_target(made, optional=True)
    made.add_argument("--delete", action="store_true", help="delete it; by default it is listed")
    made.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    made.add_argument(
        "--older",
        type=seconds,
        metavar="TIME",
        help="only of jobs that ended so long ago, e.g. 30d",
    )
    made.add_argument(
        "--keep-best", type=whole_number(0), metavar="N", default=1,
        help="best jobs of a sweep, or of one name, that are kept whole; default: 1; the best one's"
        " checkpoints are never deleted",
    )  # fmt: skip
    made.add_argument(
        "--only", type=_kinds, metavar="KIND,...", default=frozenset(_KINDS.values()),
        help=f"of {', '.join(_KINDS)}; default: all",
    )  # fmt: skip
    made.add_argument("--json", action="store_true", help="the listing as one JSON object")
    return made


def _kinds(typed: str) -> frozenset[str]:
    names = [name.strip() for name in typed.split(",")]
    for name in names:
        if name not in _KINDS:
            near = closest(name, list(_KINDS))
            raise argparse.ArgumentTypeError(
                f"{name} is none of {', '.join(_KINDS)}{f'; {near}?' if near else ''}"
            )
    return frozenset(_KINDS[name] for name in names)


def main(argv: Sequence[str]) -> int:
    """List what lies there; with --delete, ask once and delete it."""
    options = parsed(parser(), argv, "numbers")
    _check(options)
    from lingotune.launch.operations.clean import Cleaner, CleanWish, agreed, delete
    from lingotune.launch.operations.clean_text import lines_of, to_json
    from lingotune.launch.operations.opening import Opening
    from lingotune.launch.operations.targets import Names

    opening = Opening(options.region, options.runs_dir)
    target = None
    if options.what is not None:
        target = Names(opening, "clean").resolve(options.what, options.numbers)
    account = opening.account(target.region if target is not None else None)
    cleaner = Cleaner(account, options.runs_dir)
    wish = CleanWish(target, options.older or 0.0, options.keep_best, options.only)
    found = cleaner.look(wish)
    if options.json:
        print(to_json(found))
        return 0
    width = shutil.get_terminal_size((100, 24)).columns
    for line in lines_of(found, by_sweep=target is None, width=width):
        say(line)
    if not options.delete:
        if found.deleted:
            say(f"next: {_again(options)}")
        return 0
    if not found.deleted:
        say("nothing was deleted")
        return 0
    for line in _losses(found, Path(options.runs_dir)):
        say(line)
    if not _agreed(options):
        return 0
    objects, size, problems = delete(account, agreed(found, cleaner.look(wish)))
    from lingotune.launch.operations.clean_text import size_text

    say(f"deleted {objects} object{'' if objects == 1 else 's'}, {size_text(size)}")
    if problems:
        print(format_problems(problems), file=sys.stderr)
    return exit_code_for(problems)


def _check(options: argparse.Namespace) -> None:
    problems = []
    if options.yes and not options.delete:
        problems.append(Problem("--yes", "has no effect without --delete", "--delete --yes"))
    if options.json and options.delete:
        what = "is a listing, and --delete deletes"
        problems.append(Problem("--json", what, "one of the two"))
    if options.delete and options.what is None and options.older is None:
        what = "of all jobs of the account, a colleague's too, needs an age"
        fix = f"{program('clean')} --older 30d --delete, or a job or sweep"
        problems.append(Problem("--delete", what, fix, check="clean-all"))
    if problems:
        raise ConfigError(problems)


def _again(options: argparse.Namespace) -> str:
    """Write the command that deletes what this one lists."""
    words = [program("clean"), *filter(None, [options.what]), *options.numbers]
    if options.older is not None or options.what is None:
        words.append("--older 30d" if options.older is None else f"--older {options.older:g}s")
    if options.keep_best != 1:
        words.append(f"--keep-best {options.keep_best}")
    if options.only != frozenset(_KINDS.values()):
        words.append(f"--only {','.join(n for n, kind in _KINDS.items() if kind in options.only)}")
    for name, default in (("region", None), ("runs_dir", "runs")):
        if getattr(options, name) != default:
            words.append(f"--{name.replace('_', '-')} {getattr(options, name)}")
    return " ".join([*words, "--delete"])


def _losses(found: Cleaning, runs: Path) -> list[str]:
    """Tell what cannot be had again afterwards."""
    places = {one.place for one in found.deleted}
    gone = [
        one.job for one in found.jobs
        if any(h.place in places and h.kind == "output" for h in one.holdings)
    ]  # fmt: skip
    lost = [j.name for j in gone if j.job.state is State.completed and not (runs / j.name).is_dir()]
    lines = []
    if lost:
        what = (
            f"{len(lost)} of the models are not in {runs}: {lost[0]}{', ...' if lost[1:] else ''}"
        )
        lines.append(f"note: {what}; {program('fetch')} {lost[0]} brings it")
    done = {
        numbered(one.job.name)[0] for one in found.jobs if one.job.job.state is State.completed
    }  # fmt: skip
    steps = [
        one.job.name for one in found.jobs
        if numbered(one.job.name)[0] not in done
        and any(h.place in places and h.kind == "checkpoints" for h in one.holdings)
    ]  # fmt: skip
    if steps:
        more = ", ..." if steps[1:] else ""
        lines.append(f"note: {len(steps)} begin anew if they are resumed: {steps[0]}{more}")
    return lines


def _agreed(options: argparse.Namespace) -> bool:
    if options.yes:
        return True
    if not can_ask():
        what = "would delete this, and there is no terminal to ask"
        raise ConfigError(
            [Problem("--delete", what, f"{_again(options)} --yes", check="not-confirmed")]
        )
    return ask("delete it?", "nothing was deleted")
