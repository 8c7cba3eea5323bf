"""Sweeps that this machine has no ledger of: their pins in S3, found through any of their jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.config.problems import ConfigError
from lingotune.config.schema import AwsConfig
from lingotune.launch.aws.account.calls import Calls, Unanswered, each
from lingotune.launch.aws.job_logs import JobLog
from lingotune.launch.operations.account import Account, asked_of
from lingotune.launch.operations.applications import METRIC, not_resumed
from lingotune.launch.operations.attempts import numbered
from lingotune.launch.operations.ledgers import KnownSweep
from lingotune.launch.operations.log_files import evaluations_of
from lingotune.launch.operations.progress import evaluations_in
from lingotune.launch.operations.remote import Remote
from lingotune.launch.operations.remote_settings import aws_of
from lingotune.launch.render.sweep_tags import SWEEP_TAG
from lingotune.launch.sweeps.ledger import Ledger, TrialRecord
from lingotune.launch.sweeps.pin import Pin, fetch, save
from lingotune.launch.sweeps.trial import Evaluation, Trial

_BUDGET = "budget.max_usd="


def account_of_sweep(account: Account, sweep: str) -> AwsConfig | None:
    """Find where a sweep keeps its pin, by its newest job; None if it has no job here.

    ConfigError for a sweep of another application, which has no pin.
    """
    found = asked_of(sweep, lambda: account.search({SWEEP_TAG: sweep}, most=1))
    if found and found[0].of_application:
        raise ConfigError([not_resumed(sweep, "", found[0].job.state)])
    return aws_of(found[0].raw, account.region) if found else None


@dataclass(frozen=True)
class _Reading:
    calls: Calls
    aws: AwsConfig

    def client(self, service: str) -> Any:
        return self.calls.client(service)


def pin_beside(account: Account, sweep: str, jobs: Iterable[Remote]) -> Pin | None:
    """Read the pin of a sweep from where its jobs have their output; None if there is none.

    ConfigError if AWS does not answer, or the pin is damaged.
    """
    for job in jobs:
        aws = aws_of(job.raw, account.region)
        if aws is not None:
            return fetch(_Reading(account.calls, aws), sweep)
    return None


def pinned_sweep(pin: Pin, region: str) -> KnownSweep:
    """Describe a sweep by its pin, without what became of its jobs; its folder is not there."""
    records = tuple(TrialRecord(trial.trial, ()) for trial in pin.trials)
    return KnownSweep(pin.name, Path(pin.name), records, _about(pin, region))


def _about(pin: Pin, region: str) -> dict[str, Any]:
    told: dict[str, Any] = {"name": pin.name, "words": list(pin.words), "region": region}
    for word in pin.words:
        if word.startswith(_BUDGET):
            with suppress(ValueError):
                told["max_usd"] = float(word.removeprefix(_BUDGET))
    nodes = {trial.nodes for trial in pin.trials}
    return {**told, **({"nodes": nodes.pop()} if len(nodes) == 1 else {})}


def rebuilt(account: Account, sweep: str, runs_dir: Path) -> Path | None:
    """Make the ledger of a sweep that was started elsewhere, from its pin, tags and logs.

    Returns its folder; None if it has no jobs here. ConfigError if AWS does not answer, or the folder
    cannot be written.
    """
    jobs = asked_of(sweep, lambda: account.search({SWEEP_TAG: sweep}))
    if not jobs:
        return None
    pin, folder = pin_beside(account, sweep, jobs), runs_dir / sweep
    about = {"name": sweep, "region": account.region}
    if jobs[0].of_application:
        about |= {"metric": METRIC, "application": ""}  # its command is known where it was typed
    trials = {job.number: _trial(job) for job in reversed(jobs) if job.number is not None}
    if pin is not None:
        save(pin, None, folder)
        about |= _about(pin, account.region)
        trials = {trial.number: trial.trial for trial in pin.trials}
    over = [job for job in jobs if job.job.state.over and job.number in trials]
    found = dict(
        zip((job.name for job in over), each(lambda j: _evaluations(account, j, runs_dir), over))
    )
    folder.mkdir(parents=True, exist_ok=True)
    with Ledger(folder) as ledger:
        ledger.write_about(**about)
        ledger.add_trials(trials[number] for number in sorted(trials, key=lambda n: n or 0))
        for job in sorted(jobs, key=lambda one: one.job.created or 0.0):
            if job.number in trials:
                created = job.job.created or 0.0
                ledger.attach(trials[job.number], numbered(job.name)[1], job.name, created)
                ledger.add_evaluations(job.name, found.get(job.name, ()))
        ledger.saw([job.job for job in jobs], max(job.job.created or 0.0 for job in jobs))
    return folder


def _trial(job: Remote) -> Trial:
    """Describe a trial by the tags of its job alone."""
    assert job.number is not None
    varies = job.varies
    typed = tuple(f"{key}={value}" for key, value in varies.items())
    key = job.tags.get("lingotune:job-sha256", job.name)
    return Trial(job.number, varies, typed, key, numbered(job.name)[0])


def _evaluations(account: Account, job: Remote, runs_dir: Path) -> Sequence[Evaluation]:
    """Read a job's evaluations from its fetched log, or else from CloudWatch; an application's is one."""
    if job.of_application:
        value = job.metrics.get(f"validation:{METRIC}")
        return [] if value is None else [Evaluation(1, 1, {METRIC: value})]
    if found := evaluations_of(runs_dir / job.name):
        return found
    try:
        lines = JobLog(account.calls, job.name).new_lines()
    except (Unanswered, ConfigError):
        return []
    return evaluations_in(line.text for line in lines)
