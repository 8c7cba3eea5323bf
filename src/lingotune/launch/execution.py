"""Carrying out what was asked of planned jobs: ask the account, rehearse or start them, stay with one."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

from lingotune.config.console import say, say_folded, say_problems
from lingotune.config.problems import (
    CLOUD_FAILED,
    INTERRUPTED,
    ConfigError,
    Problem,
    errors_only,
    exit_code_for,
)
from lingotune.config.schema import Action, LaunchConfig, Output
from lingotune.contract.container import CONFIG_CHANNEL, DATA_CHANNEL, MODEL_CHANNEL
from lingotune.launch.aws.start import missing_library
from lingotune.launch.confirm import at_stake, can_ask, confirmed, needs_answer, require_answer
from lingotune.launch.inputs import is_loopback
from lingotune.launch.plan import page
from lingotune.launch.plan.planner import Plan, Planner, Sweep, with_data
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.sweeps.sources import needs_controller

if TYPE_CHECKING:
    from lingotune.launch.aws.account.check import AccountCheck, JobRequirements
    from lingotune.launch.aws.submit import Submitted
    from lingotune.launch.sweeps.standing import Standing

Answer = tuple[dict[str, object], int]
"""Results as plain values, and the exit code."""


@dataclass(frozen=True)
class Execution:
    """Jobs of a command, planned, and what their owner wants of them.

    standing: of a sweep; None for one job. follow: stay until they have ended; None = as usual.
    checked: of the account, if it was asked for the plan already. yes: do not ask before money is spent.
    """

    sweep: Sweep
    planner: Planner
    bundle: Bundle
    settings: LaunchConfig
    standing: Standing | None = None
    follow: bool | None = None
    checked: AccountCheck | None = None
    yes: bool = False

    def run(self) -> Answer:
        """Do what was asked beyond the plan. ConfigError if something keeps the jobs from it."""
        action = self.settings.action
        if action is Action.plan:
            return {}, self.sweep.exit_code
        if action is Action.submit:
            self._refuse_what_is_wrong()
        if action is Action.rehearse:
            return _rehearse(self.sweep, self.bundle)
        if is_loopback(self.settings):
            return _submit_here(self.sweep, self.planner, self.bundle, self.standing)
        asks = self._asks()
        checked = self.checked or ask_account(
            self.sweep, self.settings, controlled=self.standing is not None
        )
        answer: dict[str, object] = {"account": _shown(checked)}
        code = self._code(checked)
        if action is Action.check or code:
            return answer, code
        if asks and not confirmed(self.sweep.total.worst_usd, self._count):
            return answer, INTERRUPTED
        told, code = (
            self._submit_sweep(self.standing, checked) if self.standing else self._submit_jobs()
        )
        return {**answer, **told}, code

    @property
    def _count(self) -> int:
        """Number of jobs, those of a search, too."""
        return self.sweep.facts.jobs if self.sweep.facts else len(self.sweep.plans)

    def _refuse_what_is_wrong(self) -> None:
        wrong = keeps(self.sweep, self.settings)
        if self.sweep.name and (self.standing is None or self.settings.aws.queue):
            wrong += needs_controller(self.settings.sweep)
        if wrong:
            raise ConfigError(wrong, "nothing was started; mend, then submit again")

    def _asks(self) -> bool:
        """Tell whether to ask before money is spent; ConfigError where nobody can be asked."""
        budget, worst = self.settings.budget, self.sweep.total.worst_usd
        is_submit = self.settings.action is Action.submit
        asks = is_submit and not self.yes and needs_answer(budget, worst)
        if asks and not can_ask():
            require_answer(budget, at_stake(worst, self._count))
        return asks

    def _code(self, checked: AccountCheck) -> int:
        """Return the exit code if the account's answers keep the jobs back, or a check finds nothing to be
        ready; 0 if they may start."""
        if self.settings.action is not Action.check:
            return exit_code_for(checked.findings)
        if code := exit_code_for([*checked.findings, *self.sweep.problems]):
            return code
        if not checked.asked:
            say_problems([NOTHING_ASKED])
        return 0 if checked.asked else NOTHING_ASKED.code

    def _submit_sweep(self, standing: Standing, checked: AccountCheck) -> Answer:
        from lingotune.launch.sweeps.running import Wish
        from lingotune.launch.sweeps.submission import submit_sweep

        wish = Wish(self.follow, self.settings.attempt, checked.quotas)
        return submit_sweep(standing, self.sweep, self.planner, wish, say)

    def _submit_jobs(self) -> Answer:
        from lingotune.launch.aws.submit import submit
        from lingotune.launch.walk import walk, walks

        jobs = [
            walk(plan, self.bundle, say) if walks(plan) else submit(plan, self.bundle)
            for plan in with_data(self.sweep.plans, say)
        ]
        told = {"submitted": [{"name": job.name, "console": job.console} for job in jobs]}
        stays = self.follow if self.follow is not None else _is_watched(self.settings)
        for job in jobs:
            _tell_submitted(job, stays)
        return dict(told), _stay(jobs[0], self.sweep.plans[0]) if stays else 0


def _shown(checked: AccountCheck) -> dict[str, object]:
    """Show what the account answered; returns it as plain values."""
    from lingotune.launch.aws.account.check import format_account

    for line in format_account(checked):
        say_folded(line, " " * 11)
    print()
    if checked.findings:
        page.show([page.Section("findings", findings=checked.findings)])
    return {
        "done": list(checked.done),
        "skipped": list(checked.skipped),
        "findings": [page.finding(p) for p in checked.findings],
    }


def keeps(sweep: Sweep, settings: LaunchConfig) -> list[Problem]:
    """List what keeps the jobs from being submitted, as far as this machine can tell."""
    missing = missing_library(settings.aws) if settings.action is Action.submit else None
    return [*errors_only(sweep.problems), *([missing] if missing else [])]


def ask_account(sweep: Sweep, settings: LaunchConfig, *, controlled: bool) -> AccountCheck:
    """Ask AWS whether the jobs can run. controlled: those of a sweep, which need not all run at once."""
    from lingotune.launch.aws.account.check import check_account

    requirements = [_requirements(plan) for plan in sweep.plans]
    if controlled:  # every job's file is uploaded: one channel of it stands for all
        requirements[1:] = [_without_job_file(one) for one in requirements[1:]]
    checked = check_account(requirements, settings.aws, controlled=controlled)
    if checked.done:
        from lingotune.launch.aws.pricing import refresh_prices

        refresh_prices(
            settings.aws.region, [one.instance_type for one in requirements], date.today()
        )
    return checked


NOTHING_ASKED = Problem(
    "action=check",
    "AWS answered none of the questions above: nothing of the account is known to be ready",
    "aws configure, AWS_PROFILE=..., or the permissions that are named there",
    check="nothing-asked",
    code=CLOUD_FAILED,
)
"""Problem of a check that has found out nothing."""


def _rehearse(sweep: Sweep, bundle: Bundle) -> tuple[dict[str, object], int]:
    """Run every job here, one after the other, even if one of them fails."""
    if sweep.exit_code:
        next_step = "nothing was run; mend, then rehearse again"
        raise ConfigError(errors_only(sweep.problems), next_step)
    from lingotune.launch.simulator.rehearsal.rehearse import as_dict, rehearse

    done = []
    for plan in with_data(sweep.plans, say):
        rehearsal = rehearse(plan, bundle, _say_stage)
        verdict = "failed after" if rehearsal.problems else "passed in"
        print(f"{verdict} {rehearsal.seconds:.0f} s")
        if rehearsal.problems:
            say_problems(rehearsal.problems)
        done.append(rehearsal)
    code = exit_code_for([problem for rehearsal in done for problem in rehearsal.problems])
    if not code:
        print(f"next: {page.following_command(sweep.plans, 'action=submit')}")
    return {"rehearsals": [as_dict(one) for one in done]}, code


def _say_stage(line: str) -> None:
    """Print a line of a rehearsal; of a long one further pieces stand below the note of its stage."""
    say_folded(line, " " * 32)


def _submit_here(
    sweep: Sweep, planner: Planner, bundle: Bundle, standing: Standing | None
) -> tuple[dict[str, object], int]:
    """Submit a job, or a sweep, to a SageMaker on this machine that ends with the command."""
    try:
        from lingotune.launch.loopback_sweep import sweep_on_loopback
        from lingotune.launch.simulator.loopback.backend import submit_here
    except ImportError as error:
        what = f"needs moto's server, which is not installed here ({error})"
        fix = "pip install 'lingotune[launch,loopback]'"
        raise ConfigError([Problem("cluster.backend=loopback", what, fix)]) from error
    if standing is not None:
        return sweep_on_loopback(standing, sweep, planner, say)
    (plan,) = with_data(sweep.plans, say)
    job = submit_here(plan, bundle, say)
    if job.problem:
        say_problems([job.problem])
    told = {**job.description, "folder": str(job.folder)}
    return {"submitted": [told]}, job.problem.code if job.problem else 0


def _requirements(plan: Plan) -> JobRequirements:
    """List the job's requirements that the account is checked for."""
    from lingotune.launch.aws.account.check import JobRequirements

    job, cluster = plan.training_job, plan.job.cluster
    assert job is not None
    in_s3 = plan.model is not None and plan.model.uri is not None
    uploads = {
        CONFIG_CHANNEL: True,
        DATA_CHANNEL: plan.data.uri is None,
        MODEL_CHANNEL: not in_s3,
    }
    return JobRequirements(
        name=job.name,
        instance_type=job.instance_type,
        nodes=job.instance_count,
        spot=cluster.spot,
        keep_alive=cluster.keep_alive is not None,
        channels={name: (uri, uploads[name]) for name, uri in job.channels},
        token_secret=plan.job.hub.token_secret,
        reserved=cluster.training_plan is not None,
        others=tuple((row.instance_type or "", row.nodes or 1) for row in cluster.fallback[1:]),
    )


def _without_job_file(job: JobRequirements) -> JobRequirements:
    channels = {name: place for name, place in job.channels.items() if name != CONFIG_CHANNEL}
    return replace(job, channels=channels)


def _is_watched(settings: LaunchConfig) -> bool:
    """Tell whether a person looks on who would stay with a job."""
    return settings.output is Output.page and sys.stdout.isatty() and not settings.aws.queue


def _tell_submitted(job: Submitted, stays: bool) -> None:
    print("\n  ".join(filter(None, [f"\nsubmitted {job.name}", job.console])))
    if not stays:
        print("\n".join(f"  {line}" for line in job.next_commands()), flush=True)


def _stay(job: Submitted, plan: Plan) -> int:
    """Stay with a job until it has ended; returns the exit code of how."""
    from lingotune.launch.operations.after_submit import Planned, stay_with

    kept = [word for word in plan.words if not word.startswith("attempt=")]
    again = page.following_command(
        [replace(plan, words=tuple(kept))], f"attempt={plan.config.attempt + 1}", "action=submit"
    )
    planned = Planned(
        plan.time.seconds if plan.time else None,
        plan.cost.expected_usd if plan.cost else None,
        plan.cost.worst_usd if plan.cost else None,
        plan.config.budget.prices,
        plan.config.budget.usd_per_hour,
        again,
    )
    return stay_with(job.name, job.region, planned, say)
