"""Survey of jobs: what ledgers, SageMaker and the jobs' logs tell of them, with few calls.

The first look asks Search, which tells everything of a hundred jobs at once. Every look lists what has
changed since the one before; only jobs whose status has changed are described. Logs are read of jobs that
train.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.aws.account.calls import Unanswered, each
from lingotune.launch.aws.job_logs import JobLog
from lingotune.launch.operations import applications
from lingotune.launch.operations.account import Account, unanswered
from lingotune.launch.operations.ledgers import KnownSweep, read_sweep, readable_sweeps
from lingotune.launch.operations.pins import pin_beside, pinned_sweep
from lingotune.launch.operations.progress import Progress, progress_of
from lingotune.launch.operations.remote import Remote
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.spending import Spending
from lingotune.launch.operations.targets import Target
from lingotune.launch.render.sweep_tags import SWEEP_TAG
from lingotune.launch.sweeps.ledger import Attempt, TrialRecord, state_after
from lingotune.launch.sweeps.metric import METRIC
from lingotune.launch.sweeps.trial import JobState, State, Trial, attempt_in

MOST_DESCRIBED, MOST_LOGS = 25, 40
"""Jobs that are described one by one, and whose logs are read, in one look."""
_LAG = 300.0
"""Seconds by which an answer of Search may be old."""
_SPLIT = "validation:"


class Survey:
    """Repeated look at jobs.

    target: None = all that there are. account: None = only ledgers are read. most: jobs of an overview of
    everything. prices: file of the user's own; None = the shipped ones, and those of the sweep.
    usd_per_hour: as of `Spending`. options: as of `Overview`. notes: facts that every overview has to tell.
    thorough: describe jobs of which the ledger knows all, too, and raise ConfigError where AWS does not
    answer.
    """

    def __init__(
        self,
        target: Target | None,
        account: Account | None,
        runs_dir: str = "runs",
        *,
        prices: str | None = None,
        usd_per_hour: float | None = None,
        most: int = 100,
        notes: Sequence[str] = (),
        thorough: bool = False,
        options: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._target, self._account, self._runs_dir = target, account, Path(runs_dir)
        self._most, self._clock, self._notes = most, clock, list(notes)
        self._options = options
        self._thorough = thorough
        self._money = Spending(prices, account.region if account else None, usd_per_hour)
        self._remotes: dict[str, Remote] = {}
        self._progress: dict[str, Progress] = {}
        self._logs: dict[str, JobLog] = {}
        self._pinned: KnownSweep | None = None
        self._looked = False
        self._listed_at: float | None = None

    def look(self) -> Overview:
        """Look at the jobs now; what AWS does not tell is noted.

        ConfigError if a ledger cannot be read, or nothing is known without AWS, which does not answer.
        """
        sweeps, unreadable = self._sweeps()
        notes = [f"{one.where} {one.what}: {one.fix}" for one in unreadable]
        if self._account is not None:
            try:
                self._ask(self._account, sweeps, notes)
                self._read_logs(self._account, notes)
                sweeps = self._with_pinned(self._account, sweeps, notes)
                self._looked = True
            except Unanswered as reason:
                if self._thorough or (not sweeps and not self._looked):
                    where = self._target.text if self._target else "status"
                    raise ConfigError([unanswered(where, str(reason))]) from reason
                problem = unanswered("", str(reason))
                notes.append(f"shown as last seen; {problem.what}; what helps: {problem.fix}")
        return self._overview(sweeps, [*self._notes, *notes])

    def _sweeps(self) -> tuple[list[KnownSweep], list[Problem]]:
        """Read the ledgers of interest; those of an overview of everything may be unreadable."""
        if self._target is None:
            return readable_sweeps(self._runs_dir)
        known = self._target.known
        return [] if known is None else [read_sweep(known.folder)], []

    def _with_pinned(
        self, account: Account, sweeps: list[KnownSweep], notes: list[str]
    ) -> list[KnownSweep]:
        """Add the sweep that was named and has no ledger here, by its pin in S3, which is read once."""
        target = self._target
        if target is None or not target.sweep or target.known is not None:
            return sweeps
        if not self._looked:
            try:
                pin = pin_beside(account, target.sweep, self._remotes.values())
                self._pinned = pinned_sweep(pin, account.region) if pin else None
            except ConfigError as error:
                notes.append(f"trials that wait are not known: {error.problems[0].what}")
        return [self._pinned] if self._pinned else sweeps

    # --- SageMaker --------------------------------------------------------------------------------

    def _ask(self, account: Account, sweeps: Sequence[KnownSweep], notes: list[str]) -> None:
        target = self._target
        if target is not None and target.job:
            wanted = [target.job] if target.known is None else _attempts_of(target)
            self._describe(account, [n for n in wanted if not self._is_settled(n)], notes)
            return
        attempts = {name: a for s in sweeps for name, (_, a) in s.attempts().items()}
        known = all(record.state.over for sweep in sweeps for record in sweep.records)
        is_enough = bool(sweeps) and known and target is not None
        if not self._looked and (self._thorough or not is_enough):
            self._first_look(account, notes)
        names = list(dict.fromkeys([*attempts, *self._remotes]))
        unfinished = [name for name in names if not self._is_settled(name, attempts.get(name))]
        if not unfinished and (not self._looked or target is not None):
            return
        listed = self._listed(account)
        changed = [name for name in unfinished if self._has_changed(name, listed)]
        if self._looked:
            changed += [n for n in listed if n not in attempts and not self._is_known(n)]
        self._describe(account, changed, notes)

    def _listed(self, account: Account) -> Mapping[str, JobState]:
        """List what has changed since the last look, however many other jobs the account has."""
        before = self._listed_at or account.answered_at or self._clock()
        listed = account.listing(modified_after=before - _LAG)
        self._listed_at = account.answered_at
        return listed

    def _first_look(self, account: Account, notes: list[str]) -> None:
        """Fetch everything about the jobs at once."""
        try:
            found = (
                self._newest(account)
                if self._target is None
                else account.search({SWEEP_TAG: self._target.sweep})
            )
        except Unanswered as reason:
            if "not allowed" not in str(reason):
                raise
            notes.append(f"jobs that no ledger here knows are left out: {reason}")
            return
        self._take({job.name: job for job in found})

    def _newest(self, account: Account) -> list[Remote]:
        """Find the newest jobs of the account, and all that run, however old they are."""
        found = account.search({}, self._most + 1)
        if len(found) <= self._most:
            return found
        older = f"{self._most} newest jobs, and all that run; older ones: --limit {self._most * 10}"
        self._notes.append(older)
        return [*found[: self._most], *account.search({}, runs=True)]

    def _describe(self, account: Account, names: Sequence[str], notes: list[str]) -> None:
        most = len(names) if self._thorough else MOST_DESCRIBED
        if len(names) > most:
            notes.append(f"{len(names) - most} jobs are shown as last seen")
        asked = names[:most]
        self._take(account.describe_all([n for n in asked if self._is_known(n)]))
        self._take(account.describe_all([n for n in asked if not self._is_known(n)], tags=True))

    def _take(self, jobs: Mapping[str, Remote]) -> None:
        for name, job in jobs.items():
            before = self._remotes.get(name)
            self._remotes[name] = replace(job, tags=job.tags or (before.tags if before else {}))

    def _is_known(self, name: str) -> bool:
        return name in self._remotes

    def _is_settled(self, name: str, attempt: Attempt | None = None) -> bool:
        """Tell whether nothing more can become known of a job."""
        remote = self._remotes.get(name)
        if remote is not None:
            return remote.job.state.over
        return not self._thorough and bool(
            attempt and attempt.job.state.over and attempt.job.billable_seconds is not None
        )

    def _has_changed(self, name: str, listed: Mapping[str, JobState]) -> bool:
        remote, now = self._remotes.get(name), listed.get(name)
        if remote is None:
            return True
        return now is not None and (remote.job.state, remote.job.secondary) != (
            now.state,
            now.secondary,
        )

    # --- logs -------------------------------------------------------------------------------------

    def _read_logs(self, account: Account, notes: list[str]) -> None:
        running = [r.name for r in self._remotes.values() if _trains(r)]
        if len(running) > MOST_LOGS:
            notes.append(f"steps of {len(running) - MOST_LOGS} jobs that train are not shown")

        def read(name: str) -> tuple[str, Progress]:
            log = self._logs.setdefault(name, JobLog(account.calls, name))
            return name, progress_of(log.last_lines())

        try:
            for name, found in each(read, running[:MOST_LOGS]):
                self._progress[name] = found.since(self._progress.get(name, Progress()))
        except Unanswered as reason:
            notes.append(f"steps unknown: {reason}")

    # --- rows -------------------------------------------------------------------------------------

    def _overview(self, sweeps: Sequence[KnownSweep], notes: Sequence[str]) -> Overview:
        now, target, account = self._clock(), self._target, self._account
        left = {name: r for name, r in self._remotes.items() if r.ours}
        rows = [row for sweep in sweeps for row in self._rows_of(sweep, left, now)]
        rows += self._remote_rows(left, now)
        if target is None:
            rows.sort(key=lambda row: -(row.job.created or 0.0))
            region = account.region if account else None
            return Overview(
                tuple(rows), now, region=region, notes=tuple(notes), options=self._options
            )
        only = sweeps[0] if sweeps else None
        rows = [row for row in rows if _is_wanted(row, target)]
        rows.sort(key=lambda row: (row.number or 0, row.job.created or 0.0))
        return Overview(
            tuple(rows),
            now,
            target.sweep,
            len(only.records) if only and target.sweep else None,
            account.region if account else only.region if only else None,
            _metric_of(only) if only else _metric_without_ledger(rows),
            only.about.get("max_usd") if only else None,
            tuple(notes),
            only.folder if only and only is not self._pinned else None,
            self._options,
            only.command if only else "",
        )

    def _rows_of(self, sweep: KnownSweep, left: dict[str, Remote], now: float) -> Iterator[Row]:
        """Make the rows of a sweep; its jobs are taken out of `left`."""
        for record in sweep.records:
            jobs = [(self._job_of(a), left.pop(a.name, None)) for a in record.attempts]
            further = [r for r in left.values() if _is_of(r, sweep, record.trial)]
            jobs += [(r.job, left.pop(r.name)) for r in _by_time(further)]
            yield self._row(sweep, record, jobs, now)

    def _row(
        self,
        sweep: KnownSweep,
        record: TrialRecord,
        jobs: Sequence[tuple[JobState, Remote | None]],
        now: float,
    ) -> Row:
        trial = record.trial
        if not jobs:
            waiting = JobState(trial.name, State.waiting)
            return Row(
                trial.name, waiting, sweep.name, trial.number, trial.varies, 0,
                spent_usd=0.0, worst_usd=trial.worst_usd, free=sweep.is_local,
            )  # fmt: skip
        spent = [self._money.spent(job, remote, sweep, now) for job, remote in jobs]
        worst = [
            usd if job.state.over else trial.worst_usd or self._money.worst(remote, sweep)
            for (job, remote), usd in zip(jobs, spent)
        ]
        last, remote = jobs[-1]
        known = next((a for a in record.attempts if a.name == last.name), None)
        if last.state.over and not (known and known.evaluations):
            # One that went on from the last checkpoint has evaluated nothing anew.
            known = next((a for a in reversed(record.attempts) if a.evaluations), known)
        return Row(
            last.name, last, sweep.name, trial.number, trial.varies, len(jobs),
            self._progress_of(last.name, remote, known), _total(spent), _total(worst), remote,
            free=sweep.is_local,
        )  # fmt: skip

    def _job_of(self, attempt: Attempt) -> JobState:
        """Merge the ledger's state of a job with SageMaker's."""
        remote = self._remotes.get(attempt.name)
        if remote is None:
            return attempt.job
        job = remote.job
        reason = job.reason or attempt.job.reason or (attempt.stop_reason or "")
        return replace(job, state=state_after(attempt, job.state), reason=reason)

    def _remote_rows(self, left: Mapping[str, Remote], now: float) -> Iterator[Row]:
        """Make rows of jobs that no ledger here knows; attempts of a trial are one row."""
        groups: dict[tuple[str, int] | str, list[Remote]] = {}
        for remote in left.values():
            number = remote.number if remote.sweep else None
            key = remote.name if number is None else (remote.sweep, number)
            groups.setdefault(key, []).append(remote)
        for group in map(_by_time, groups.values()):
            last = group[-1]
            spent = [self._money.spent(r.job, r, None, now) for r in group]
            worst = [
                usd if r.job.state.over else self._money.worst(r, None)
                for r, usd in zip(group, spent)
            ]
            yield Row(
                last.name, last.job, last.sweep, last.number, last.varies, len(group),
                self._progress_of(last.name, last, None), _total(spent), _total(worst), last,
            )  # fmt: skip

    def _progress_of(self, name: str, remote: Remote | None, attempt: Attempt | None) -> Progress:
        """Return the progress from the log; of a job whose log was not read, what else tells of it."""
        found = self._progress.get(name, Progress())
        if not found.scores and remote is not None and remote.metrics:
            scores = {
                metric.removeprefix(_SPLIT): value
                for metric, value in remote.metrics.items()
                if metric.startswith(_SPLIT)
            }
            found = replace(found, scores=scores)
        if attempt is not None and attempt.evaluations and not found.scores:
            last = attempt.evaluations[-1]
            step = found.step if found.step is not None else last.step
            found = replace(
                found,
                step=step,
                total_steps=found.total_steps or last.total_steps,
                scores=last.values,
            )
        return found


def _trains(remote: Remote) -> bool:
    job = remote.job
    return remote.ours and not job.state.over and job.started is not None


def _by_time(jobs: Iterable[Remote]) -> list[Remote]:
    return sorted(jobs, key=lambda remote: remote.job.created or 0.0)


def _is_of(remote: Remote, sweep: KnownSweep, trial: Trial) -> bool:
    """Tell whether a job that the ledger has not is one of its trial, started from elsewhere."""
    if remote.sweep:
        return (remote.sweep, remote.number) == (sweep.name, trial.number)
    return trial.name in (remote.name, attempt_in(remote.name)[0])


def _attempts_of(target: Target) -> list[str]:
    """List the attempts of the trial that a job of a sweep belongs to."""
    assert target.known is not None
    record, _ = target.known.attempts()[target.job]
    return [attempt.name for attempt in record.attempts]


def _is_wanted(row: Row, target: Target) -> bool:
    if target.job:
        return row.name in (_attempts_of(target) if target.known else [target.job])
    if row.sweep != target.sweep:
        return False
    return not target.numbers or row.number in target.numbers


def _metric_of(sweep: KnownSweep) -> str:
    """Find the score that chooses the checkpoints: the same for all jobs, or the usual one."""
    if told := sweep.about.get("metric"):
        return str(told)
    named = set()
    for record in sweep.records:
        typed = dict(one.split("=", 1) for one in record.trial.overrides if "=" in one)
        named.add(typed.get("code.select") or typed.get("evaluation.select") or METRIC)
    return named.pop() if len(named) == 1 else METRIC


def _metric_without_ledger(rows: Sequence[Row]) -> str:
    of_application = any(row.remote is not None and row.remote.of_application for row in rows)
    return applications.METRIC if of_application else METRIC


def _total(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
