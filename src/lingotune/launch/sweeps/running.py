"""A sweep that runs: its pin, ledger and account, and the controller that starts its jobs in slots."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lingotune.config.console import say_problems
from lingotune.config.machines import on_machine
from lingotune.config.problems import INTERRUPTED, ConfigError, Problem, exit_code_for
from lingotune.config.program import program
from lingotune.config.schema import (
    ClusterConfig,
    FallbackBy,
    JobConfig,
    LaunchConfig,
    SweepConfig,
)
from lingotune.launch.aws.account.quotas import job_quota
from lingotune.launch.aws.connection import Account
from lingotune.launch.render.training_job import TrainingJob
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.controller import Controller, Limits, Outcome
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.leaving import (
    Tell,
    Ways,
    answer,
    ended_badly,
    tell_interrupted,
    tell_rest,
)
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.pin import Pin, PinnedTrial
from lingotune.launch.sweeps.pin import job_of as pinned_job
from lingotune.launch.sweeps.queue import backend_of
from lingotune.launch.sweeps.sagemaker import SageMaker
from lingotune.launch.sweeps.slots import tightest
from lingotune.launch.sweeps.trial import RETRIED, Source, Trial, ranges
from lingotune.launch.sweeps.view import Rates, View, terminal


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

    @property
    def resume(self) -> str:
        """Command that goes on with the sweep."""
        return f"{program('resume')} {self.shown}"

    @property
    def ways(self) -> Ways:
        """Commands for whoever leaves the sweep."""
        return Ways(
            f"{self.resume}, or the same command again",
            f"{self.resume} --follow",
            f"{program('stop')} {self.shown}",
            f"{self.resume} --retry stopped",
            f"{program('fetch')} {self.shown}",
        )

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

    def backend(self, anew: int = 1) -> SageMaker:
        """Make the backend of the sweep's jobs: SageMaker, or the queue in front of it. anew: as of it."""
        return backend_of(self.account, self.stem, self.pin.created, self.job_of, anew)

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


# --- running -----------------------------------------------------------------------------------


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
    ledger, backend = running.ledger, running.backend(wish.attempt)
    before = {attempt.name for record in ledger.records() for attempt in record.attempts}
    rates = {} if wish.here else running.rates()
    source = source or Grid()
    progress = getattr(backend, "progress", None)
    view = View(say, rates, live=terminal(), progress=progress, source=source)
    problems: list[Problem] = []
    code, left = 0, ""
    outcome: Outcome | None = None
    try:
        controller = Controller(
            backend, source, ledger, running.limits(settings, wish),
            pool=lambda trial: running.pinned(trial).quota, tell=view.tell,
            show=view.show, watch=not isinstance(source, Grid),
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
        problems += ended_badly(outcome, running.pin.name)
    if wish.here:
        tell_interrupted(records, say, left)
    else:
        tell_rest(records, running.rates(), wish.clock(), running.ways, left, say)
    if problems:
        say_problems(problems)
        code = code or exit_code_for(problems)
    return answer(running.pin.name, records, before, problems), code


def _goes_on(outcome: Outcome, source: Source, wish: Wish, say: Tell, running: Running) -> bool:
    """Decide whether to stay; says why, where trials wait for slots."""
    more = bool(outcome.waiting) or not source.exhausted
    if more and not outcome.halted and wish.follow is not False:
        to_draw = max(0, source.planned - len(outcome.records))
        say(
            f"waiting   {_numbers(outcome.waiting, to_draw)} for a slot; they start as slots become free,"
        )
        say(f"          {_CTRL_C_HERE if wish.here else _CTRL_C.format(running.resume)}")
        return True
    return wish.follow is True


_CTRL_C = "Ctrl-C leaves the jobs running; later: {}"
_CTRL_C_HERE = "Ctrl-C ends them; the same command goes on"


def _numbers(trials: Sequence[Trial], to_draw: int) -> str:
    """Name the trials that wait, and count those that are still to be drawn."""
    known = ranges([trial.number for trial in trials])
    return (
        " and ".join([one for one in (known, f"{to_draw} to be drawn" if to_draw else "") if one])
        or "further trials"
    )


def watch(folder: Path, holder: str, wish: Wish, say: Tell) -> tuple[dict[str, Any], int]:
    """Look on while another process runs the sweep, until it has left it; starts nothing."""
    say(f"{folder.name} is run already, by {holder}; nothing is started from here")
    if wish.follow is False:
        return {"sweep": folder.name, "submitted": [], "held_by": holder}, 0
    say("looking on; Ctrl-C ends this alone")
    view = View(say, {}, live=terminal())
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
