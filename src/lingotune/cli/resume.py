"""`lingotune resume JOB|SWEEP`: goes on with a job or a sweep, on any machine, from what is in S3."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.cli.targets import add_target
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser, say, say_problems
from lingotune.config.jobfile import load_job
from lingotune.config.problems import INTERRUPTED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import AwsConfig, Retry
from lingotune.contract.container import JOB_FILE
from lingotune.launch.operations.described import DESCRIPTION, described_in
from lingotune.launch.sweeps.ledger import LEDGER, PIN
from lingotune.launch.sweeps.trial import State
from lingotune.runs.folder import folders_in
from lingotune.runs.inventory import changed_files, read_inventory

if TYPE_CHECKING:
    from lingotune.launch.operations.account import Account
    from lingotune.launch.operations.rows import Row
    from lingotune.launch.sweeps.pin import Pin


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "resume",
        "Start a job again from its checkpoint, or go on with a sweep where it was left."
        " A run folder of this machine is trained on.",
    )
    add_target(made)
    made.add_argument("--bucket", help="of a sweep that has started no job, and is not here")
    made.add_argument("--prefix", default=AwsConfig().prefix, help="in that bucket")
    made.add_argument(
        "--retry", choices=[one.value for one in Retry], default=Retry.none.value,
        help="of a sweep: failed = start the failed jobs again, too",
    )  # fmt: skip
    made.add_argument(
        "--max-parallel", type=int, metavar="N",
        help="of a sweep: jobs at a time; default: as submitted",
    )  # fmt: skip
    made.add_argument("--prices", help="of a job: a price list of your own, as for budget.prices")
    made.add_argument(
        "--plan",
        action="store_true",
        help="of a job: tell what would be started, and start nothing",
    )
    made.add_argument(
        "--confirm-usd", type=float, metavar="USD",
        help="ask if the worst case is above this; default: budget.confirm_usd",
    )  # fmt: skip
    made.add_argument("--yes", action="store_true", help="do not ask before money is spent")
    stay = made.add_mutually_exclusive_group()
    stay.add_argument("--follow", action="store_true", help="stay until all jobs have ended")
    stay.add_argument("--detach", action="store_true", help="start what fits, and leave")
    return made


def main(argv: Sequence[str]) -> int:
    """Go on with what was named; returns the exit code. ConfigError if nothing is known of it."""
    options = parsed(parser(), argv, "numbers")
    run = _run_folder(options)
    if run is not None and not (run / DESCRIPTION).is_file():
        return _train_on(run, options)
    if run is not None:
        job, region = described_in(run)
        return _jobs(options, job, options.region or region)
    given = Path(options.what)
    folder = given if given.is_dir() else Path(options.runs_dir, options.what)
    is_here = any((folder / name).is_file() for name in (PIN, LEDGER))
    if not options.numbers and (is_here or options.bucket is not None):
        aws = AwsConfig(region=options.region, bucket=options.bucket, prefix=options.prefix)
        return _sweep(options, folder, aws)
    from lingotune.launch.operations.opening import Opening
    from lingotune.launch.operations.pins import account_of_sweep
    from lingotune.launch.operations.targets import Names

    opening = Opening(options.region, options.runs_dir)
    target = Names(opening, "resume").resolve(options.what, options.numbers)
    if target.sweep and not target.numbers:
        folder = target.known.folder if target.known else Path(options.runs_dir, target.sweep)
        found = account_of_sweep(opening.account(target.region), target.sweep)
        return _sweep(options, folder, found or AwsConfig(region=options.region))
    return _jobs(options, options.what, options.region)


# --- a run of this machine ------------------------------------------------------------------------


def _run_folder(options: argparse.Namespace) -> Path | None:
    for place in (Path(options.what), Path(options.runs_dir, options.what)):
        if (place / JOB_FILE).is_file():
            return place
    return None


def _train_on(run: Path, options: argparse.Namespace) -> int:
    """Go on with a run that was trained here, in its folder."""
    _refuse(options, _OF_SWEEP + _OF_JOB + _OF_BOTH, "a run of this machine")
    if _is_whole(run):
        say(f"is finished: {run}; nothing is started")
        say(f"next: {program('report')} {run}")
        return 0
    from lingotune.cli.train import main as train

    return train(["--job", str(run / JOB_FILE), "--run-dir", str(run)])


def _is_whole(run: Path) -> bool:
    """Tell whether a run is finished, and all its files are as they were written."""
    folders = folders_in(run)
    try:
        inventory = read_inventory(folders, load_job(run / JOB_FILE)[1])
    except ConfigError:
        return False
    return inventory is not None and not any(changed_files(folders, inventory))


# --- a sweep --------------------------------------------------------------------------------------


def _sweep(options: argparse.Namespace, folder: Path, aws: AwsConfig) -> int:
    _refuse(options, _OF_JOB, "a sweep")
    from lingotune.launch.sweeps.resume import pin_of, resume
    from lingotune.launch.sweeps.sources import learns

    _refuse_local(folder)
    pin = pin_of(folder, aws)
    if learns(pin.sweep) or _ends_with_command(folder):  # its jobs have to be composed
        from lingotune.cli.launch import main as launch

        changed = [f"sweep.retry={options.retry}"] if options.retry != Retry.none.value else []
        if options.max_parallel is not None:
            changed.append(f"sweep.max_parallel={options.max_parallel}")
        stay = ["--follow"] if options.follow else ["--detach"] if options.detach else []
        stay += ["--yes"] if options.yes else []
        if options.confirm_usd is not None:
            changed.append(f"budget.confirm_usd={options.confirm_usd:g}")
        return launch([*pin.words, *changed, *stay])
    if not _agrees_to_sweep(options, pin):
        return INTERRUPTED
    follow = True if options.follow else False if options.detach else None
    return resume(
        pin, folder, say, follow=follow, retry=Retry(options.retry),
        max_parallel=options.max_parallel,
    )  # fmt: skip


def _agrees_to_sweep(options: argparse.Namespace, pin: Pin) -> bool:
    """Ask before trials are started that together may cost more than is wanted unasked."""
    from lingotune.launch.agreement import at_stake, budget_of
    from lingotune.launch.confirm import agreed
    from lingotune.launch.operations.selection import select

    budget = budget_of(options.confirm_usd, pin.words)
    if options.yes or budget.confirm_usd is None:
        return True
    rows: Sequence[Row] = ()
    with suppress(ConfigError):  # it has started no job yet, and is not known here
        rows = select("resume", options.what, [], options.runs_dir, pin.account.region).rows
    return agreed(budget, *at_stake(pin, rows, Retry(options.retry)), yes=False)


def _ends_with_command(folder: Path) -> bool:
    """Tell whether a sweep's account is one of this machine that the command itself starts."""
    from lingotune.launch.sweeps.ledger import Ledger, is_sweep, runs_here

    if not is_sweep(folder):
        return False
    with Ledger(folder) as ledger:
        return runs_here(ledger.about())


def _refuse_local(folder: Path) -> None:
    """Refuse a sweep of `train.py -m`: it pins no code, so that its own command goes on with it."""
    from lingotune.launch.operations.ledgers import read_sweep
    from lingotune.launch.sweeps.ledger import is_sweep
    from lingotune.launch.sweeps.pin import load

    known = read_sweep(folder) if is_sweep(folder) else None
    if known is not None and known.of_application:
        from lingotune.launch.operations.applications import not_resumed

        stopped = any(record.state is State.stopped for record in known.records)
        state = State.stopped if stopped else State.failed
        raise ConfigError([not_resumed(known.name, known.command, state)])
    if known is not None and known.is_local and load(folder) is None:
        what = "is a sweep of this machine: its own command goes on with it"
        raise ConfigError([Problem(str(folder), what, str(known.about.get("typed") or ""))])


# --- jobs -----------------------------------------------------------------------------------------


def _jobs(options: argparse.Namespace, typed: str, region: str | None) -> int:
    _refuse(options, _OF_SWEEP, "a job")
    from lingotune.launch.agreement import budget_of
    from lingotune.launch.confirm import agreed
    from lingotune.launch.operations.resume import Resume
    from lingotune.launch.operations.selection import select

    chosen = select("resume", typed, options.numbers, options.runs_dir, region)
    if unknown := [row for row in chosen.rows if row.remote is None]:
        raise ConfigError([_not_there(row, chosen.overview.options) for row in unknown])
    where = chosen.overview.options
    resumed = Resume(chosen.account, options.runs_dir, say, options.prices, where)

    def agrees(worst_usd: float | None, jobs: int) -> bool:
        if options.plan or options.yes:
            return not options.plan
        return agreed(budget_of(options.confirm_usd), worst_usd, jobs, yes=False)

    found = resumed.run([row.name for row in chosen.rows], agrees)
    if found.problems:
        say_problems(found.problems)
        return ConfigError(found.problems).exit_code
    if found.declined:
        return 0 if options.plan else INTERRUPTED
    names = [*found.started, *found.there]
    if options.follow and names:
        return _follow(names, chosen.account, options.runs_dir, where)
    if len(names) == 1:
        say(f"next: {program('logs')} {names[0]} --follow{where}")
    elif names:
        say(f"next: {program('status')} {chosen.target.text} --watch{where}")
    return 0


def _not_there(row: Row, options: str) -> Problem:
    """Make the problem of a trial that has no job on SageMaker."""
    again = f"{program('resume')} {row.sweep}"
    if not row.attempts:
        what = "waits and was never started: the sweep starts it"
        return Problem(row.name, what, f"{again}{options}", check="never-started")
    what = (
        f"({row.state.value}) is no job that SageMaker knows: it waits in a queue (aws.queue), or the"
        " queue has given it another name"
    )
    fix = f"{again} --retry {'stopped' if row.state is State.stopped else 'failed'}{options}"
    return Problem(row.name, what, fix, check="job-unknown")


def _follow(names: Sequence[str], account: Account, runs_dir: str, options: str) -> int:
    from lingotune.launch.operations.survey import Survey
    from lingotune.launch.operations.table import lines_of
    from lingotune.launch.operations.targets import Target
    from lingotune.launch.operations.wait import wait

    codes = []
    for name in names:
        survey = Survey(Target(job=name), account, runs_dir, thorough=True, options=options)
        overview, code = wait(survey.look, _EVERY, None, say)
        print("\n".join(lines_of(overview, shutil.get_terminal_size((100, 24)).columns)))
        codes.append(code)
    return max(codes)


_EVERY = 10.0
_OF_SWEEP = ("retry", "max_parallel", "bucket")
_OF_JOB = ("prices", "plan")
_OF_BOTH = ("region", "follow", "detach", "numbers", "confirm_usd", "yes")
"""Options by what they have an effect on; --prefix goes with --bucket."""


def _refuse(options: argparse.Namespace, names: Sequence[str], what: str) -> None:
    """Refuse what was typed and has no effect on what was named."""
    made = parser()
    typed = [name for name in names if getattr(options, name) not in (made.get_default(name), [])]
    problems = [
        Problem(
            "NUMBER" if name == "numbers" else f"--{name.replace('_', '-')}",
            f"has no effect on {what}", f"{program('resume')} {options.what}",
        )
        for name in typed
    ]  # fmt: skip
    if problems:
        raise ConfigError(problems)
