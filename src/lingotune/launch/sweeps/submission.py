"""Submitting a sweep: what its jobs need is uploaded once, then they start as slots become free."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lingotune.config.console import say_problems
from lingotune.config.machines import on_machine
from lingotune.config.problems import (
    INTERRUPTED,
    USER_ERROR,
    ConfigError,
    Problem,
)
from lingotune.config.program import program
from lingotune.config.schema import (
    ClusterConfig,
    FallbackBy,
    JobConfig,
    LaunchConfig,
    Prune,
    Search,
    SweepConfig,
)
from lingotune.contract.container import DATA_CHANNEL, MODEL_CHANNEL
from lingotune.launch.aws.account.quotas import job_quota
from lingotune.launch.aws.connection import Account, connect
from lingotune.launch.cost.prices import find_price, load_prices, usd_text
from lingotune.launch.plan.planner import Plan, Planner, Sweep, objects, planned_digests, with_data
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.training_job import TrainingJob, job_name
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.controller import Controller, Limits, Outcome
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import LOOPBACK, Ledger, TrialRecord
from lingotune.launch.sweeps.pin import OwnCode, Pin, PinnedTrial, put, save, uri_of
from lingotune.launch.sweeps.pin import job_of as pinned_job
from lingotune.launch.sweeps.pinned_code import Renewed
from lingotune.launch.sweeps.queue import backend_of
from lingotune.launch.sweeps.sagemaker import SageMaker, client_settings
from lingotune.launch.sweeps.slots import tightest
from lingotune.launch.sweeps.sources import learns, metric_of, source_of
from lingotune.launch.sweeps.standing import Standing, member_of, new_pin
from lingotune.launch.sweeps.start_times import place_of
from lingotune.launch.sweeps.trial import RETRIED, Source, State, Trial, ranges
from lingotune.launch.sweeps.view import Rates, View, rate_of, spent

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What its owner wants of a sweep besides its jobs.

    follow: stay until all has ended; None = only while jobs wait for slots, False = never. attempt: number
    of the first attempt. quotas: of the account, by name, as far as known. here: the account is on this
    machine, bills nothing, and ends with the command. clock, sleep: of the controller.
    """

    follow: bool | None = None
    attempt: int = 1
    quotas: Mapping[str, float] = field(default_factory=dict)
    here: bool = False
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class Running:
    """A sweep with all that its controller needs.

    stem: what the names of all its jobs contain. jobs: job files by the trials' keys, as far as they are
    known here; the others are read from S3.
    """

    def __init__(
        self,
        pin: Pin,
        account: Account,
        ledger: Ledger,
        stem: str,
        jobs: Mapping[str, JobConfig] | None = None,
    ) -> None:
        self.pin, self.account, self.ledger, self.stem = pin, account, ledger, stem
        self._jobs = dict(jobs or {})
        self._trials = pin.by_key

    @property
    def shown(self) -> str:
        """What commands take for the sweep: its name, or its folder if that is in another place."""
        folder = self.ledger.path.parent
        is_usual = folder == Path(LaunchConfig().runs_dir, self.pin.name)
        return self.pin.name if is_usual else shlex.quote(str(folder))

    def add(self, trial: PinnedTrial, job: JobConfig) -> None:
        """Pin a further trial, which a search has made, before its first start."""
        self.pin = replace(self.pin, trials=(*self.pin.trials, trial))
        self._trials[trial.key] = trial
        self._jobs[trial.key] = job

    def pinned(self, trial: Trial) -> PinnedTrial:
        """Find what a trial of the ledger was pinned with; ConfigError if it is lost."""
        if trial.key not in self._trials:
            what = "is in the ledger, and not in what the sweep was pinned with"
            fix = f"the sweep's first command once more, or remove {self.ledger.path}"
            raise ConfigError([Problem(f"trial {trial.number} of {self.pin.name}", what, fix)])
        return self._trials[trial.key]

    def job_of(self, trial: Trial, attempt: int) -> TrainingJob:
        """Describe the job of an attempt, from the pin alone."""
        pinned = self.pinned(trial)
        if trial.key not in self._jobs:
            self._jobs[trial.key] = pinned_job(pinned, self.ledger.path.parent, self.account)
        job = self._jobs[trial.key]
        if _walks(job.cluster):  # as often as there was no capacity, it is the next machine's turn
            before = (r for r in self.ledger.records() if r.trial.number == trial.number)
            lacking = [
                one for record in before for one in record.attempts
                if one.attempt < attempt and one.job.lacked_capacity
            ]  # fmt: skip
            rows = job.cluster.fallback
            job = on_machine(job, rows[len(lacking) % len(rows)])
        return pinned.job(job, self.account.aws, self.pin.name, attempt)

    def rates(self) -> Rates:
        """Return USD per hour by number of the trial, and by the machine that it got."""
        found: Rates = {one.number: one.usd_per_hour for one in self.pin.trials}
        for one in self.pin.trials:
            found.update({(one.number, name): usd for name, usd in one.rates.items()})
        return found

    def backend(self) -> SageMaker:
        """Make the backend of the sweep's jobs: SageMaker, or the queue in front of it."""
        return backend_of(self.account, self.stem, self.pin.created, self.job_of)

    def limits(self, settings: SweepConfig, wish: Wish) -> Limits:
        """Combine the sweep's limits with the account's quotas, which count machines instead of jobs."""
        # by the quota of a job's first machine: its size there, and the quota that allows the fewest
        sizes = {one.quota: (one.nodes, one.quota) for one in self.pin.trials}
        for cluster in (job.cluster for job in self._jobs.values()):
            first = job_quota(cluster.instance_type or "", spot=cluster.spot)
            sizes[first] = tightest(cluster, wish.quotas)[1:]
        queued = self.account.aws.queue is not None
        slots = {
            name: max(1, int(wish.quotas[fewest]) // nodes)
            for name, (nodes, fewest) in sizes.items()
            if fewest in wish.quotas and not queued
        }
        parallel = settings.max_parallel or (1 if wish.here else None)
        lists = [len(j.cluster.fallback) - 1 for j in self._jobs.values() if _walks(j.cluster)]
        return Limits(
            parallel, slots, settings.retries + max(lists, default=0), settings.max_failures,
            RETRIED[settings.retry], wish.attempt,
        )  # fmt: skip


def _walks(cluster: ClusterConfig) -> bool:
    """Tell whether the sweep goes through a job's list of machines itself."""
    return bool(cluster.fallback) and cluster.fallback_by is FallbackBy.lingotune


# --- submitting -----------------------------------------------------------------------------------


def submit_sweep(
    standing: Standing, sweep: Sweep, planner: Planner, wish: Wish, say: Tell
) -> tuple[dict[str, Any], int]:
    """Submit a planned sweep, or go on with it; returns what is told as JSON, and the exit code.

    planner: plans what a search draws. A ConfigError is raised only as long as nothing was started.
    """
    config, job = sweep.plans[0].config, sweep.plans[0].training_job
    assert job is not None and sweep.space is not None, "a job of its own is no sweep"
    with lock.held(standing.folder) as holder:
        if holder:
            return watch(standing.folder, holder, wish, say)
        account = connect(
            job.region, replace(config.aws, region=job.region), client_settings(), bare=True
        )
        with Ledger(standing.folder) as ledger:
            pin = _pinned_sweep(standing, sweep, account, ledger, say)
            jobs = {plan.digests.job: plan.job for plan in sweep.plans}
            stem = f"{sweep.plans[0].job.name}-" if is_search_of(sweep) else pin.stem
            account.notify([one.name for one in pin.trials], stem)
            running = Running(pin, account, ledger, stem, jobs)
            if wish.here:
                ledger.write_about(backend=LOOPBACK)
                ledger.forget_interrupted(running.backend().describe, wish.clock())

            def make(number: int, varies: Mapping[str, str]) -> Trial:
                return _make(standing, sweep, planner, running, number, varies, say)

            trials = [one.trial for one in pin.trials]
            source: Source = Grid()
            if learns(config.sweep):
                folder, records = standing.folder, ledger.records()
                source = source_of(sweep, folder, records, trials, make)
            return run_sweep(running, config.sweep, wish, say, source)


def is_search_of(sweep: Sweep) -> bool:
    """Tell whether a sweep's trials are drawn, so that the plans are not trials themselves."""
    return sweep.plans[0].config.sweep.search is not Search.grid


def _pinned_sweep(
    standing: Standing, sweep: Sweep, account: Account, ledger: Ledger, say: Tell
) -> Pin:
    """Upload what is missing, then pin the sweep, and write its trials into the ledger."""
    bundle, first, plans = standing.bundle, sweep.plans[0], sweep.plans
    pin = standing.pin or new_pin(
        standing.name, first.words, first.config.sweep, account.aws, bundle.digest
    )
    recoded = bundle.digest != pin.code
    searched = is_search_of(sweep)
    renewed = standing.renewed
    missing = [
        plan for plan in plans
        if plan.digests.job not in pin.by_key or plan.digests.job in renewed
    ]  # fmt: skip
    is_new = bool(missing) and (not searched or standing.pin is None or recoded)
    if is_new:
        missing = with_data(missing, say)
        _upload(missing, bundle, account, say)
        added = [] if searched else [_pinned(plan, renewed) for plan in missing]
        gone = {one.former.key for one in renewed.values()} | {one.key for one in added}
        trials = sorted(
            [*(one for one in pin.trials if one.key not in gone), *added],
            key=lambda one: one.number,
        )
        job = missing[0].training_job
        assert job is not None
        own = [known for plan in missing for known in OwnCode.of(plan.job.code)]
        pin = replace(
            pin, trials=tuple(trials), code=bundle.digest, code_uri=job.code_uri,
            own_code=tuple(dict.fromkeys([*pin.own_code, *own])),
        )  # fmt: skip
    save(pin, bundle, standing.folder)
    if is_new:
        put(account, pin)
        say(
            f"code {pin.code[:8]} and data of {pin.name} are pinned: {uri_of(account.aws, pin.name)}"
        )
    ledger.write_about(name=pin.name, words=list(pin.words), code=pin.code, held="", **_told(sweep))
    ledger.renew(one.trial for one in pin.trials)
    if searched or first.config.sweep.prune is Prune.none:
        ledger.add_trials(one.trial for one in pin.trials)  # others' source has them in its order
    return pin


def _pinned(plan: Plan, renewed: Mapping[str, Renewed]) -> PinnedTrial:
    """Pin a job; one that was started before keeps its name, by which its attempts are counted."""
    pinned, before = pinned_trial(plan), renewed.get(plan.digests.job)
    return replace(pinned, name=before.former.name) if before and before.begun else pinned


def _told(sweep: Sweep) -> dict[str, Any]:
    """Tell readers of the ledger what they would need the plans for: scores, money, place and rungs."""
    first = sweep.plans[0]
    metric, budget = metric_of(first.job), first.config.budget
    nodes = {plan.job.cluster.nodes for plan in sweep.plans}
    place = place_of(first.config, os.environ)
    return {
        "metric": metric.name,
        "greater_is_better": metric.greater_is_better,
        "region": first.training_job.region if first.training_job else None,
        "max_usd": budget.max_usd,
        "usd_per_hour": budget.usd_per_hour,
        "warm": place.warm,
        "simulated": place.simulated,
        "first_rung": sweep.facts.first_rung if sweep.facts else None,
        **({"nodes": nodes.pop()} if len(nodes) == 1 else {}),
    }


def _make(
    standing: Standing,
    sweep: Sweep,
    planner: Planner,
    running: Running,
    number: int,
    varies: Mapping[str, str],
    say: Tell,
) -> Trial:
    """Compose, plan, upload and pin a trial that a search has drawn; ConfigError if it cannot be."""
    assert sweep.space is not None and sweep.name is not None
    first = sweep.plans[0]
    one = replace(
        sweep.space.suggested(varies), options=first.options, config_dir=first.config_dir,
        words=first.words,
    )  # fmt: skip
    key = one.key
    standing.members[key] = member_of(key, number, standing.pin)
    (plan,) = with_data([planner.trial(one, sweep.name, number)], say)
    pinned = pinned_trial(plan)
    if key not in running.pin.by_key:
        _upload([plan], standing.bundle, running.account, _silent)
        running.add(pinned, plan.job)
        save(running.pin, standing.bundle, standing.folder)
        put(running.account, running.pin)
    return pinned.trial


def _upload(plans: Sequence[Plan], bundle: Bundle, account: Account, tell: Tell) -> None:
    """Upload what the jobs of several plans need, what they share once."""
    contents: dict[str, Any] = {}
    digests: dict[str, str] = {}
    for plan in plans:
        contents |= objects(plan, bundle)
        digests |= planned_digests(plan)
    account.upload(contents, digests, tell)


def _silent(line: str) -> None:
    """Say nothing of a single job's file, between the lines about what happens."""


def pinned_trial(plan: Plan) -> PinnedTrial:
    """Pin a planned job as a trial of the sweep."""
    job, cluster, budget = plan.training_job, plan.job.cluster, plan.config.budget
    assert job is not None and plan.number is not None, "a job without a number is none of a sweep"
    channels = dict(job.channels)
    price = find_price(
        load_prices(budget.prices), job.instance_type, job.region, budget.usd_per_hour
    )
    return PinnedTrial(
        number=plan.number,
        varies=dict(plan.varies),
        overrides=tuple(override.text for override in plan.overrides),
        key=plan.digests.job,
        name=job_name(plan.job, plan.digests),
        code=plan.digests.code,
        quota=job_quota(job.instance_type, spot=cluster.spot),
        nodes=job.instance_count,
        data_digest=plan.digests.data,
        data_uri=channels.get(DATA_CHANNEL),
        model_digest=plan.digests.model,
        model_uri=channels.get(MODEL_CHANNEL),
        expected_usd=plan.cost.expected_usd if plan.cost else None,
        worst_usd=plan.cost.worst_usd if plan.cost else None,
        usd_per_hour=price.usd_per_hour * job.instance_count if price else None,
        rates=_rates(plan, job.region),
    )


def _rates(plan: Plan, region: str) -> dict[str, float | None]:
    """Return USD per hour on each machine of a job's list; empty without a list."""
    budget, found = plan.config.budget, {}
    for row in plan.job.cluster.fallback:
        prices = load_prices(budget.prices)
        price = find_price(prices, row.instance_type or "", region, budget.usd_per_hour)
        found[row.instance_type or ""] = price.usd_per_hour * (row.nodes or 1) if price else None
    return found


# --- running --------------------------------------------------------------------------------------


def run_sweep(
    running: Running,
    settings: SweepConfig,
    wish: Wish,
    say: Tell,
    source: Source | None = None,
) -> tuple[dict[str, Any], int]:
    """Start what fits, and go on with the rest as slots become free, unless nobody is to wait for that.

    source: of further trials than those of the ledger. Returns what is told as JSON, and the exit code.
    """
    ledger, backend = running.ledger, running.backend()
    before = {attempt.name for record in ledger.records() for attempt in record.attempts}
    rates = {} if wish.here else running.rates()
    view = View(say, rates, live=_terminal(), progress=getattr(backend, "progress", None))
    problems: list[Problem] = []
    code, left = 0, ""
    outcome: Outcome | None = None
    try:
        controller = Controller(
            backend, source or Grid(), ledger, running.limits(settings, wish),
            pool=lambda trial: running.pinned(trial).quota, tell=view.tell,
            show=view.show, watch=not isinstance(source or Grid(), Grid),
            clock=wish.clock, sleep=wish.sleep,
        )  # fmt: skip
        with view:
            outcome = controller.run(detached=True)
            if _goes_on(outcome, source, wish, say, running):
                outcome = controller.run()
    except KeyboardInterrupt:
        code, left = INTERRUPTED, "leaving; "
    except ConfigError as error:
        problems += error.problems
    records = ledger.records()
    if outcome is not None:
        problems += [one for found in outcome.refused.values() for one in found]
        problems += _ended_badly(outcome, running)
    if wish.here:
        _tell_interrupted(records, say, left)
    else:
        _tell_rest(records, running, wish.clock(), say, left)
    if problems:
        say_problems(problems)
        code = code or USER_ERROR
    return _answer(running, records, before, problems), code


def _terminal() -> object | None:
    """Return rich's console if a person looks on."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console()


def _goes_on(
    outcome: Outcome, source: Source | None, wish: Wish, say: Tell, running: Running
) -> bool:
    """Decide whether to stay; says why, where trials wait for slots."""
    more = bool(outcome.waiting) or not (source is None or source.exhausted)
    if more and not outcome.halted and wish.follow is not False:
        say(f"waiting   {_numbers(outcome.waiting)} for a slot; they start as slots become free,")
        say(f"          {_CTRL_C_HERE if wish.here else _CTRL_C.format(_resume(running))}")
        return True
    return wish.follow is True


_CTRL_C = "Ctrl-C leaves the jobs running; later: {}"
_CTRL_C_HERE = "Ctrl-C ends them; the same command goes on"


def _numbers(trials: Sequence[Trial]) -> str:
    return ranges([trial.number for trial in trials]) or "further trials"


def _resume(running: Running) -> str:
    return f"{program('resume')} {running.shown}"


def _tell_rest(
    records: Sequence[TrialRecord], running: Running, now: float, say: Tell, left: str
) -> None:
    """Say what still bills, what waits, how to go on and how to stop."""
    held = [a.name for r in records for a in r.attempts if a.job.state.holds_slot]
    waiting = [r.trial.number for r in records if r.state is State.waiting]
    rates = running.rates()
    usd = spent(records, rates, now)
    money = f"; {usd_text(usd)} so far" if usd else ""
    if held:
        per_hour = [
            rate_of(rates, r.trial.number, a.job) for r in records for a in r.attempts
            if a.job.state.holds_slot
        ]  # fmt: skip
        rate = "" if None in per_hour else f" at {usd_text(sum(filter(None, per_hour)))}/h"
        say(f"{left}{_jobs(len(held))} on at AWS and bill{'s' * (len(held) == 1)}{rate}{money}")
        if left:
            say("\n".join(f"  {name}" for name in held))
    if waiting:
        say(f"{len(waiting)} wait ({ranges(waiting)}) and are not started without you")
    if waiting:
        say(f"go on: {_resume(running)}, or the same command again")
    elif held:
        say(f"look on: {_resume(running)} --follow")
    if held:
        say(f"stop:  {program('stop')} {running.shown}")
    stopped = [r.trial.number for r in records if r.state is State.stopped]
    if stopped:
        say(f"stopped: {ranges(stopped)}; once more: {_resume(running)} --retry stopped")
    if not (held or waiting or left) and any(r.state is State.completed for r in records):
        say(f"next: {program('fetch')} {running.shown}")


def _tell_interrupted(records: Sequence[TrialRecord], say: Tell, left: str) -> None:
    """Say what ends with an account of this machine, and what has not been started."""
    held = [r.trial.number for r in records if r.state.holds_slot]
    waiting = [r.trial.number for r in records if r.state is State.waiting]
    if held:
        say(f"{left}interrupted: {ranges(held)}")
    if waiting:
        say(f"not started: {ranges(waiting)}")
    if held or waiting:
        say("go on: the same command again")


def _jobs(count: int) -> str:
    return "1 job goes" if count == 1 else f"{count} jobs go"


def _ended_badly(outcome: Outcome, running: Running) -> list[Problem]:
    """List failed jobs, and why no further ones are started."""
    failed = [
        Problem(
            record.last.name,
            f"failed: {record.last.job.reason or record.last.job.secondary}",
            "mend it, then the same command with retry=failed, and code=new if code was mended",
            check="job-not-completed",
        )
        for record in outcome.records
        if record.last is not None and record.state is State.failed
    ]
    if not outcome.halted:
        return failed
    fix = "mend them, then retry=failed; a higher sweep.max_failures goes on without"
    what = f"no further jobs are started: {outcome.halted}"
    return [*failed, Problem(running.pin.name, what, fix, check="sweep-halted")]


def _answer(
    running: Running,
    records: Sequence[TrialRecord],
    before: set[str],
    problems: Sequence[Problem],
) -> dict[str, Any]:
    """Write what was started and what is, as plain values."""
    every = [attempt.name for record in records for attempt in record.attempts]
    states = [
        {
            "number": record.trial.number,
            "name": record.last.name if record.last else record.trial.name,
            "state": record.state.value,
            "varies": dict(record.trial.varies),
            "reason": record.last.job.reason if record.last else "",
        }
        for record in records
    ]
    return {
        "sweep": running.pin.name,
        "submitted": [{"name": name} for name in every if name not in before],
        "trials": states,
        "problems": [{"where": p.where, "what": p.what, "fix": p.fix} for p in problems],
    }


def watch(folder: Path, holder: str, wish: Wish, say: Tell) -> tuple[dict[str, Any], int]:
    """Look on while another process runs the sweep, until it has left it; starts nothing."""
    say(f"{folder.name} is run already, by {holder}; nothing is started from here")
    if wish.follow is False:
        return {"sweep": folder.name, "submitted": [], "held_by": holder}, 0
    say("looking on; Ctrl-C ends this alone")
    view = View(say, {}, live=_terminal())
    with view, contextlib.suppress(KeyboardInterrupt):
        while True:
            with Ledger(folder) as ledger:
                view.show(ledger.records())
            with lock.held(folder) as still:
                if not still:
                    break
            wish.sleep(_LOOKS_EVERY)
    return {"sweep": folder.name, "submitted": [], "held_by": holder}, 0


_LOOKS_EVERY = 2.0
"""Seconds between two looks at another process's sweep."""
