"""The best jobs among those of a sweep, or of one name: their models are worth keeping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lingotune.launch.aws.account.calls import Unanswered, each
from lingotune.launch.aws.finished_job import describe_job, fetch_job
from lingotune.launch.aws.job_logs import JobLog
from lingotune.launch.operations.account import Account
from lingotune.launch.operations.attempts import numbered
from lingotune.launch.operations.ledgers import KnownSweep
from lingotune.launch.operations.log_files import evaluations_of
from lingotune.launch.operations.progress import evaluations_in
from lingotune.launch.operations.remote import NAME_TAG, Remote
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.sources import metric_of
from lingotune.launch.sweeps.trial import Evaluation, State


def group_of(job: Remote) -> str:
    """Name the jobs that one is compared with: those of its sweep, or of its own name."""
    return job.sweep or job.tags.get(NAME_TAG, job.name)


class Best:
    """Ranks of completed jobs by their best evaluations.

    sweeps: with ledgers here, by name. runs: folder of the fetched runs.
    """

    def __init__(self, account: Account, sweeps: Mapping[str, KnownSweep], runs: Path) -> None:
        self._account, self._sweeps, self._runs = account, sweeps, runs

    def ranks(self, jobs: Sequence[Remote]) -> dict[str, int | None]:
        """Rank the completed jobs of a group from 0, the best; None where its score is not known."""
        done = [job for job in jobs if job.job.state is State.completed]
        if len(done) < 2:
            return {job.name: 0 for job in done}
        metric = self._metric(done[0])
        if metric is None:
            return {job.name: None for job in done}
        firsts = {numbered(job.name)[0] for job in done}
        read = [job for job in jobs if numbered(job.name)[0] in firsts]  # a resumed one went on
        found: dict[str, list[Evaluation]] = {}
        for job, evaluations in zip(read, each(self._evaluations, read)):
            found.setdefault(numbered(job.name)[0], []).extend(evaluations)
        values = {
            job.name: metric.rank(metric.best(found[numbered(job.name)[0]])) for job in done
        }  # fmt: skip
        known = sorted(
            (name for name, value in values.items() if value < math.inf), key=_by(values)
        )
        return {name: known.index(name) if name in known else None for name in values}

    def _metric(self, job: Remote) -> Metric | None:
        """Find the metric that chooses; None if unknown, or if its direction is not known here."""
        about = self._sweeps[job.sweep].about if job.sweep in self._sweeps else {}
        if about.get("metric"):
            return Metric(str(about["metric"]), bool(about.get("greater_is_better", True)))
        calls = self._account.calls
        try:
            config = fetch_job(calls, describe_job(calls, job.name))
        except Unanswered:
            return None
        return metric_of(config) if config.code.select is None else None

    def _evaluations(self, job: Remote) -> Sequence[Evaluation]:
        known = self._sweeps[job.sweep].attempts() if job.sweep in self._sweeps else {}
        if job.name in known and known[job.name][1].evaluations:
            return known[job.name][1].evaluations
        if found := evaluations_of(self._runs / job.name):
            return found
        try:
            lines = JobLog(self._account.calls, job.name).new_lines()
        except Unanswered:
            return []
        return evaluations_in(line.text for line in lines)


def _by(values: Mapping[str, float]) -> Callable[[str], tuple[float, str]]:
    return lambda name: (values[name], name)
