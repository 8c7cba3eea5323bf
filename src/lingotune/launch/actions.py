"""Actions of launch.py on the jobs of a command: plan them all, show them, ask AWS, start them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.config.console import say_aside, say_problems
from lingotune.config.problems import (
    ConfigError,
    Problem,
    errors_only,
)
from lingotune.config.program import program
from lingotune.config.schema import (
    Action,
    AwsConfig,
    LaunchConfig,
    Output,
    Search,
)
from lingotune.launch.compose.compose import Composed
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.execution import Execution, ask_account, keeps
from lingotune.launch.inputs import is_loopback, runs_here, with_inputs
from lingotune.launch.plan import page
from lingotune.launch.plan.planner import Planner, Sweep, write_job_file
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.sweeps.overview import with_facts

if TYPE_CHECKING:
    from lingotune.launch.sweeps.standing import Standing


def launch(
    composed: Sequence[Composed], bundle: Bundle, follow: bool | None = None, *, yes: bool = False
) -> int:
    """Plan every job before the first is started; returns the exit code.

    follow: stay until the jobs have ended; None = as `wait` says, by default with one job on a terminal,
    with a sweep while jobs wait for slots; False = never.
    yes: do not ask before money is spent (`budget.confirm_usd`).
    ConfigError lists what keeps the jobs from being planned or, where that was asked, submitted.
    """
    settings = composed[0].config
    copies: Mapping[str, Path] = {}
    if settings.action is not Action.plan:
        composed, copies = with_inputs(composed)
    account = _account(settings)
    standing = _standing(composed, bundle)
    follow = _wish(follow, settings, is_sweep=standing is not None)
    planner, sweep = _planned(composed, bundle, standing, account, copies)
    asks = settings.action is not Action.plan and not is_loopback(settings)
    if standing and asks and not errors_only(sweep.problems):
        from lingotune.launch.sweeps.standing import asked_for

        found = asked_for(standing, composed, bundle, account(settings.aws))
        if found is not standing:  # it was submitted from another machine, or gets new code
            standing = found
            planner, sweep = _planned(composed, bundle, standing, account, copies)
    for line in standing.notes if standing else ():
        say_aside(line)
    checked = None
    if standing and asks and settings.output is not Output.request and not keeps(sweep, settings):
        checked = ask_account(sweep, settings, controlled=True)
        sweep = with_facts(sweep, standing.folder, checked.quotas)
    bundle = standing.bundle if standing else bundle
    _write_job_file(sweep, settings)
    if settings.output is Output.request:
        _print_requests(sweep, planner)
        if sweep.problems:
            say_problems(sweep.problems)
        return sweep.exit_code
    execution = Execution(sweep, planner, bundle, settings, standing, follow, checked, yes=yes)
    if settings.output is Output.json:
        with contextlib.redirect_stdout(sys.stderr):
            answer, code = execution.run()
        print(page.to_json({**page.as_dict(sweep), **answer, "exit_code": code}))
        return code
    page.show(page.page_of(sweep))
    return execution.run()[1]


def _print_requests(sweep: Sweep, planner: Planner) -> None:
    """Print what is sent, as JSON: of a search that which comes first."""
    settings, plans = sweep.plans[0].config.sweep, sweep.plans
    if sweep.name and settings.search is not Search.grid and not sweep.exit_code:
        from lingotune.launch.sweeps.first_jobs import first_plans

        plans = tuple(first_plans(sweep, planner))
        jobs = sweep.facts.values["jobs"] if sweep.facts else None
        if jobs != len(plans):
            first = "this is the first" if len(plans) == 1 else f"these are the first {len(plans)}"
            say_aside(f"{first} of {jobs} jobs; the others follow from results")
    print(page.requests_json(plans, many=sweep.name is not None or len(plans) > 1))


def _wish(follow: bool | None, settings: LaunchConfig, *, is_sweep: bool) -> bool | None:
    """Combine --follow or --detach with `wait`; ConfigError where there is nothing to stay with."""
    typed = {True: "--follow", False: "--detach", None: ""}[follow]
    written = "" if settings.wait is None else f"wait={str(settings.wait).lower()}"
    if typed and written and follow is not settings.wait:
        what = "stay with the job, and do not stay"
        raise ConfigError([Problem(f"{typed} {written}", what, f"{typed} | {written}")])
    asked = typed or written
    follow = settings.wait if follow is None else follow
    if follow is None:
        return None
    if settings.action is not Action.submit or runs_here(settings):
        if not typed and (settings.wait or settings.action is not Action.submit):
            return None  # fulfilled, or written in a file for every command
        what = "goes with action=submit to SageMaker; here nothing is stayed with or left"
        raise ConfigError([Problem(asked, what, f"the same without {asked}")])
    if follow and settings.aws.queue and not is_sweep:
        what = f"SageMaker does not know the job while it waits in the queue {settings.aws.queue}"
        fix = f"the same without {asked}; once it has started: {program('status')} JOB --watch"
        raise ConfigError([Problem(asked, what, fix)])
    return follow


def _standing(composed: Sequence[Composed], bundle: Bundle) -> Standing | None:
    """Find out about the sweep that the jobs are; None for one job, or jobs that are rehearsed."""
    config = composed[0].config
    if composed[0].space is None or not config.cluster.instance_type:
        return None
    if config.action is Action.rehearse or (
        is_loopback(config) and config.action is not Action.submit
    ):
        return None
    from lingotune.launch.sweeps.standing import standing_of

    return standing_of(composed, bundle)


def _planned(
    composed: Sequence[Composed],
    bundle: Bundle,
    standing: Standing | None,
    account: Callable[[AwsConfig], AwsConfig],
    copies: Mapping[str, Path],
) -> tuple[Planner, Sweep]:
    """Plan all jobs, those of a sweep with the code and data that it keeps to."""
    planner = Planner(
        standing.bundle if standing else bundle, CostEstimator(date.today()), account, copies,
        say_aside, standing.members if standing else {},
    )  # fmt: skip
    jobs = standing.jobs if standing else composed
    return planner, with_facts(planner.sweep(jobs), standing.folder if standing else None)


def _account(config: LaunchConfig) -> Callable[[AwsConfig], AwsConfig]:
    """Choose how missing names of the account are filled in before the jobs are described.

    A plan shows placeholders, without asking AWS; a job that runs here gets made-up names.
    """
    if config.action is Action.plan:
        return lambda aws: aws
    if runs_here(config):
        from lingotune.launch.simulator.scope import complete

        return complete
    from lingotune.launch.aws.connection import with_machine_region

    return with_machine_region


def _write_job_file(sweep: Sweep, settings: LaunchConfig) -> None:
    if settings.job_file is None:
        return
    if len(sweep.plans) > 1:
        what = "one file cannot hold the jobs of a multirun"
        raise ConfigError([Problem(f"job_file={settings.job_file}", what)])
    write_job_file(sweep.plans[0], settings.job_file)
    print(f"wrote {settings.job_file}", file=sys.stderr)
