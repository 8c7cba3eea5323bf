"""Sweeps of `cluster.backend=loopback`: as on SageMaker, in an account that ends with the command.

The account's objects and ended jobs are kept in the sweep's folder, so that the same command goes on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lingotune.config.console import say_problems
from lingotune.config.problems import INTERRUPTED, Problem, exit_code_for
from lingotune.config.schema import LaunchConfig
from lingotune.launch.interrupts import interrupted_by
from lingotune.launch.operations.account import open_account
from lingotune.launch.operations.fetch import fetch_all
from lingotune.launch.operations.rows import Row
from lingotune.launch.plan.planner import Planner, Sweep
from lingotune.launch.results.ending import following_commands, print_results, so_far
from lingotune.launch.simulator.loopback.backend import settings_of
from lingotune.launch.simulator.loopback.standing import account, dated_folder
from lingotune.launch.simulator.scope import complete
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.running import Wish
from lingotune.launch.sweeps.standing import Standing
from lingotune.launch.sweeps.submission import submit_sweep
from lingotune.launch.sweeps.trial import JobState, State

_ACCOUNT = "account"
"""Folder in that of the sweep."""


def sweep_on_loopback(
    standing: Standing, sweep: Sweep, planner: Planner, say: Callable[[str], None]
) -> tuple[dict[str, Any], int]:
    """Run a sweep to its end on an account of this machine, then fetch its runs and print their table.

    Ctrl-C ends the jobs that run, and the same command goes on with them. Returns what is told as JSON,
    and the exit code. ConfigError if nothing was started.
    """
    plans = tuple(replace(plan, config=_completed(plan.config)) for plan in sweep.plans)
    sweep, config, folder = replace(sweep, plans=plans), plans[0].config, standing.folder
    with lock.sole(folder, str(folder), so_far(folder)):
        pass  # told before the account is made
    settings = settings_of(
        config, sweep.plans, folder=folder / _ACCOUNT, containers=_containers(config), goes_on=True
    )
    with interrupted_by(signal.SIGTERM, signal.SIGHUP), account(settings, say) as (address, _):
        say(f"a SageMaker on this machine: AWS_ENDPOINT_URL={address}; nothing is billed")
        wish = Wish(follow=True, attempt=config.attempt, here=True)
        told, code = submit_sweep(standing, sweep, planner, wish, say)
        problems = _fetch(folder, settings.region, say)
    if code == INTERRUPTED:
        _forget_running(folder)
    board = print_results(folder)
    if problems:
        say_problems(problems)
    commands = [] if code else following_commands(board, folder)
    for command in commands:
        print(f"next: {command}")
    places = {entry.number: str(entry.folder) for entry in board.entries if entry.folder}
    trials = [{**one, "folder": places.get(one["number"])} for one in told.get("trials", [])]
    return {**told, "trials": trials}, code or exit_code_for(problems)


def _forget_running(folder: Path) -> None:
    """Write that the jobs that ran have ended with the account; those that nobody stopped go on later."""
    with Ledger(folder) as ledger:
        every = [attempt for record in ledger.records() for attempt in record.attempts]
        asked = [one for one in every if one.stop_asked is not None and not one.job.state.over]
        ledger.saw([JobState(one.name, State.stopped) for one in asked], time.time())
        ended = {one.name: one.job for one in every if one.job.state.over or one in asked}
        ledger.forget_interrupted(ended.get, time.time())


def _completed(config: LaunchConfig) -> LaunchConfig:
    return replace(config, aws=complete(config.aws))


def _containers(config: LaunchConfig) -> Path | None:
    """Make a folder for the jobs' containers, if they are to be kept."""
    keep = config.rehearsal.keep
    if keep is None:
        return None
    return dated_folder(Path(keep), f"rehearsal.keep={keep}", "a new folder")


def _fetch(folder: Path, region: str, say: Callable[[str], None]) -> list[Problem]:
    """Fetch the jobs that have ended into the folder beside the sweep's; returns what went wrong."""
    with Ledger(folder) as ledger:
        last = [(r.trial.number, r.last.name) for r in ledger.records() if r.last]
    calls = open_account(region)
    known = calls.describe_all([name for _, name in last])
    rows = [
        Row(name, known[name].job, number=number, remote=known[name])
        for number, name in last
        if name in known and known[name].job.state.over
    ]
    return fetch_all(rows, calls, folder.parent, say).problems
