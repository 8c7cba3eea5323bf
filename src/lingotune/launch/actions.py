"""Actions of launch.py on the jobs of a command: plan them all, show them, ask AWS, start them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.config.console import say, say_aside, say_folded, say_problems
from lingotune.config.problems import (
    INTERRUPTED,
    USER_ERROR,
    ConfigError,
    Problem,
    Severity,
    errors_only,
)
from lingotune.config.program import program
from lingotune.config.schema import (
    Action,
    AwsConfig,
    Backend,
    DataConfig,
    LaunchConfig,
    Output,
    Search,
    Source,
)
from lingotune.contract.container import CONFIG_CHANNEL, DATA_CHANNEL, MODEL_CHANNEL
from lingotune.data.prepared.manifest import misfits
from lingotune.data.prepared.tokenizer import fetch_tokenizer, is_tokenizer_file
from lingotune.data.sources.addresses import shown_address
from lingotune.data.sources.patterns import elsewhere_in
from lingotune.data.transfer import (
    fetch,
    fetch_manifest,
    fetch_model,
    fetch_sources,
    look_for_sources,
)
from lingotune.launch.aws.start import missing_library
from lingotune.launch.checks.prepared_data import PREPARED, DataForImage
from lingotune.launch.compose.compose import Composed
from lingotune.launch.confirm import can_ask, confirmed, needs_answer, require_answer
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.plan import page
from lingotune.launch.plan.base_model import is_model_file
from lingotune.launch.plan.planner import Plan, Planner, Sweep, with_data, write_job_file
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.sweeps.overview import with_facts
from lingotune.launch.sweeps.sources import needs_controller

if TYPE_CHECKING:
    from lingotune.launch.aws.account.check import AccountCheck, JobRequirements
    from lingotune.launch.aws.submit import Submitted
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
    copies: dict[str, Path] = {}
    if settings.action is not Action.plan:
        copies = _fetched_models([one.config for one in composed])
        composed = [_with_fetched(one) for one in composed]
        composed = _with_sources(composed, settings.action)
    account = _account(settings)
    standing = _standing(composed, bundle)
    follow = _wish(follow, settings, is_sweep=standing is not None)
    planner, sweep = _planned(composed, bundle, standing, account, copies)
    asks = settings.action is not Action.plan and not _is_loopback(settings)
    if standing and asks and not errors_only(sweep.problems):
        from lingotune.launch.sweeps.standing import asked_for

        found = asked_for(standing, composed, bundle, account(settings.aws))
        if found is not standing:  # it was submitted from another machine, or gets new code
            standing = found
            planner, sweep = _planned(composed, bundle, standing, account, copies)
    for line in standing.notes if standing else ():
        say_aside(line)
    checked = None
    if standing and asks and settings.output is not Output.request and not _keeps(sweep, settings):
        checked = _checked(sweep, settings, controlled=True)
        sweep = with_facts(sweep, standing.folder, checked.quotas)
    bundle = standing.bundle if standing else bundle
    _write_job_file(sweep, settings)
    if settings.output is Output.request:
        _print_requests(sweep, planner)
        if sweep.problems:
            say_problems(sweep.problems)
        return sweep.exit_code
    if settings.output is Output.json:
        with contextlib.redirect_stdout(sys.stderr):
            answer, code = _act(
                sweep, planner, bundle, settings, standing, follow, checked, yes=yes
            )
        print(page.to_json({**page.as_dict(sweep), **answer, "exit_code": code}))
        return code
    page.show(page.page_of(sweep))
    return _act(sweep, planner, bundle, settings, standing, follow, checked, yes=yes)[1]


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
    if settings.action is not Action.submit or _runs_here(settings):
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
    if config.action is Action.rehearse or (_is_loopback(config) and not _submits(config)):
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


def _submits(config: LaunchConfig) -> bool:
    return config.action is Action.submit


def _is_loopback(config: LaunchConfig) -> bool:
    return config.cluster.backend is Backend.loopback


def _runs_here(config: LaunchConfig) -> bool:
    return config.action is Action.rehearse or _is_loopback(config)


def _account(config: LaunchConfig) -> Callable[[AwsConfig], AwsConfig]:
    """Choose how missing names of the account are filled in before the jobs are described.

    A plan shows placeholders, without asking AWS; a job that runs here gets made-up names.
    """
    if config.action is Action.plan:
        return lambda aws: aws
    if _runs_here(config):
        from lingotune.launch.simulator.scope import complete

        return complete
    from lingotune.launch.aws.connection import with_machine_region

    return with_machine_region


def _act(
    sweep: Sweep,
    planner: Planner,
    bundle: Bundle,
    settings: LaunchConfig,
    standing: Standing | None,
    follow: bool | None,
    checked: AccountCheck | None,
    *,
    yes: bool,
) -> tuple[dict[str, object], int]:
    """Do what was asked beyond the plan; returns its results as plain values, and the exit code.

    checked: of the account, if it was asked for the plan already.
    """
    if settings.action is Action.plan:
        return {}, sweep.exit_code
    if settings.action is Action.submit:
        wrong = _keeps(sweep, settings)
        if sweep.name and (standing is None or settings.aws.queue):
            wrong += needs_controller(settings.sweep)
        if wrong:
            raise ConfigError(wrong, "nothing was started; mend, then submit again")
    if settings.action is Action.rehearse:
        return _rehearse(sweep, bundle)
    if _is_loopback(settings):
        return _submit_here(sweep, planner, bundle, standing)
    asks = _submits(settings) and not yes
    asks = asks and needs_answer(settings.budget, sweep.total.worst_usd)
    if asks and not can_ask():
        require_answer(settings.budget, sweep.total.worst_usd, _count(sweep))
    from lingotune.launch.aws.account.check import format_account

    checked = checked or _checked(sweep, settings, controlled=standing is not None)
    for line in format_account(checked):
        say_folded(line, " " * 11)
    print()
    answer: dict[str, object] = {
        "account": {
            "done": list(checked.done),
            "skipped": list(checked.skipped),
            "findings": [page.finding(p) for p in checked.findings],
        }
    }
    if checked.findings:
        page.show([page.Section("findings", findings=checked.findings)])
    if settings.action is Action.check or errors_only(checked.findings):
        failed = errors_only(checked.findings) or sweep.exit_code
        if not failed and not checked.asked:
            failed = True
            say_problems([_NOTHING_ASKED])
        return answer, USER_ERROR if failed else 0
    if asks and not confirmed(sweep.total.worst_usd, _count(sweep)):
        return answer, INTERRUPTED
    if standing is not None:
        from lingotune.launch.sweeps.running import Wish
        from lingotune.launch.sweeps.submission import submit_sweep

        wish = Wish(follow, settings.attempt, checked.quotas)
        told, code = submit_sweep(standing, sweep, planner, wish, say)
        return {**answer, **told}, code
    from lingotune.launch.aws.submit import submit
    from lingotune.launch.walk import walk, walks

    jobs = [
        walk(plan, bundle, say) if walks(plan) else submit(plan, bundle)
        for plan in with_data(sweep.plans, say)
    ]
    answer["submitted"] = [{"name": job.name, "console": job.console} for job in jobs]
    stays = follow if follow is not None else _is_watched(settings)
    for job in jobs:
        _tell_submitted(job, stays)
    return answer, _stay(jobs[0], sweep.plans[0]) if stays else 0


def _keeps(sweep: Sweep, settings: LaunchConfig) -> list[Problem]:
    """List what keeps the jobs from being submitted, as far as this machine can tell."""
    missing = missing_library(settings.aws) if _submits(settings) else None
    return [*errors_only(sweep.problems), *([missing] if missing else [])]


def _checked(sweep: Sweep, settings: LaunchConfig, *, controlled: bool) -> AccountCheck:
    """Ask AWS whether the jobs can run. controlled: those of a sweep, which need not all run at once."""
    from lingotune.launch.aws.account.check import check_account

    requirements = [_requirements(plan) for plan in sweep.plans]
    if controlled:  # every job's file is uploaded: one channel of it stands for all
        requirements[1:] = [_without_job_file(one) for one in requirements[1:]]
    return check_account(requirements, settings.aws, controlled=controlled)


def _count(sweep: Sweep) -> int:
    """Count the jobs, those of a search, too."""
    return sweep.facts.jobs if sweep.facts else len(sweep.plans)


_NOTHING_ASKED = Problem(
    "action=check",
    "AWS answered none of the questions above: nothing of the account is known to be ready",
    "aws configure, AWS_PROFILE=..., or the permissions that are named there",
    check="nothing-asked",
)


def _fetched_models(configs: Sequence[LaunchConfig]) -> dict[str, Path]:
    """Fetch models in S3 for jobs that run here; of others the tokenizer, where data is prepared here.

    Returns the folders of whole models by their URI.
    """
    copies: dict[str, Path] = {}
    for config in configs:
        name = config.model.name_or_path or ""
        if not name.startswith("s3://") or name in copies or config.action is Action.check:
            continue
        if _runs_here(config):
            print(f"fetching {name}", file=sys.stderr)
            copies[name] = fetch_model(name, is_model_file)
        elif config.data.source is Source.files and config.data.prepared is None:
            fetch_model(name, is_tokenizer_file)
    return copies


def _with_fetched(one: Composed) -> Composed:
    """Fetch what the plan needs from elsewhere: prepared data for a job that runs here, or the tokenizer,
    on which the digest of the prepared data depends."""
    config = one.config
    given = config.data.prepared
    if given is None:
        if config.data.source is Source.files and config.action is not Action.check:
            fetch_tokenizer(config.model)
        return one
    if not given.startswith("s3://"):
        return one
    if not _runs_here(config):
        manifest = fetch_manifest(given)
        wrong = [*misfits(manifest, config.data, config.seed)]
        wrong += PREPARED.run(DataForImage(manifest, config.cluster))
        if wrong:
            raise ConfigError(wrong, "nothing was started; mend, then submit again")
        return one
    folder = fetch(given, Path(config.prepared_dir), lambda line: print(line, file=sys.stderr))
    return replace(one, config=replace(config, data=replace(config.data, prepared=str(folder))))


def _with_sources(composed: Sequence[Composed], action: Action) -> list[Composed]:
    """Fetch the data that lies elsewhere, once for all jobs; a check only looks at it, and tells what is
    wrong."""
    told: dict[str, list[Problem]] = {}
    wrong: list[Problem] = []
    for one in composed:
        data = one.config.data
        places = _places(one.config)
        if places in told:
            continue
        told[places] = []
        try:
            if action is Action.check:
                told[places] = _looked_at(data)
            else:
                fetch_sources(data, say_aside)
        except ConfigError as error:
            wrong += error.problems
    if wrong:
        raise ConfigError(wrong, "nothing was started; mend, then submit again")
    return [
        replace(one, findings=(*one.findings, *told.get(_places(one.config), ())))
        for one in composed
    ]


def _places(config: LaunchConfig) -> str:
    """Name what has to be fetched for a job; jobs with the same need it once."""
    data = config.data
    return json.dumps([*elsewhere_in(data)] if data.prepared is None else [])


def _looked_at(data: DataConfig) -> list[Problem]:
    seen, problems = look_for_sources(data)
    for one in seen:
        where = f"{one.key}={shown_address(one.pattern)}"
        if one.is_here:
            say_aside(f"{where}: {one}, the same as the copy here")
            continue
        what = f"is there ({one}); the submit fetches it and checks its rows before anything starts"
        fix = f"{program('prepare')} with the same settings fetches and checks it now"
        problems.append(Problem(where, what, fix, Severity.warning, check="source-not-here"))
    return problems


def _rehearse(sweep: Sweep, bundle: Bundle) -> tuple[dict[str, object], int]:
    """Run every job here, one after the other, even if one of them fails."""
    if sweep.exit_code:
        next_step = "nothing was run; mend, then rehearse again"
        raise ConfigError(errors_only(sweep.problems), next_step)
    from lingotune.launch.simulator.rehearsal.rehearse import as_dict, rehearse

    done = []
    for plan in with_data(sweep.plans, say):
        rehearsal = rehearse(plan, bundle, say)
        verdict = "failed after" if rehearsal.problems else "passed in"
        print(f"{verdict} {rehearsal.seconds:.0f} s")
        if rehearsal.problems:
            say_problems(rehearsal.problems)
        done.append(rehearsal)
    failed = any(rehearsal.problems for rehearsal in done)
    if not failed:
        print(f"next: {page.following_command(sweep.plans, 'action=submit')}")
    return {"rehearsals": [as_dict(one) for one in done]}, USER_ERROR if failed else 0


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
    return {"submitted": [told]}, USER_ERROR if job.problem else 0


def _write_job_file(sweep: Sweep, settings: LaunchConfig) -> None:
    if settings.job_file is None:
        return
    if len(sweep.plans) > 1:
        what = "one file cannot hold the jobs of a multirun"
        raise ConfigError([Problem(f"job_file={settings.job_file}", what)])
    write_job_file(sweep.plans[0], settings.job_file)
    print(f"wrote {settings.job_file}", file=sys.stderr)


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
