"""Rows of a survey: jobs and trials with all that is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lingotune.launch.operations.progress import Progress
from lingotune.launch.operations.remote import Remote
from lingotune.launch.sweeps.metric import METRIC
from lingotune.launch.sweeps.trial import JobState, State


@dataclass(frozen=True)
class Row:
    """A job, or a trial of a sweep with all of its attempts.

    number: of the trial; None for a job of no sweep. job: of the last attempt; waiting if there is none.
    progress: of the last attempt. spent_usd, worst_usd: of all attempts; None if unknown. remote: the last
    attempt as SageMaker told it; None if it was not asked, or does not know it. free: it runs on this
    machine, where nothing is billed.
    """

    name: str
    job: JobState
    sweep: str = ""
    number: int | None = None
    varies: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1
    progress: Progress = field(default_factory=Progress)
    spent_usd: float | None = None
    worst_usd: float | None = None
    remote: Remote | None = None
    free: bool = False

    @property
    def state(self) -> State:
        """State of the last attempt."""
        return self.job.state

    @property
    def machine(self) -> str:
        """Instances that it got, `2 x ml.p3.16xlarge`; '' before it has any, or if it is not known."""
        kind, nodes = self.job.instance_type, self.remote.nodes if self.remote else 1
        return f"{nodes} x {kind}" if kind and nodes > 1 else kind or ""

    @property
    def is_second_choice(self) -> bool:
        """True if it got other machines than the first of its list (`cluster.fallback`)."""
        wanted = self.remote.candidates if self.remote else ()
        return len(wanted) > 1 and self.job.instance_type not in (None, wanted[0][0])

    def seconds(self, now: float) -> float | None:
        """Return the seconds since it got its machines, to its end if it has ended; None before."""
        if self.job.started is None:
            return self.job.billable_seconds
        return max(0.0, (self.job.ended or now) - self.job.started)


@dataclass(frozen=True)
class Overview:
    """Rows of a survey. planned: trials of the sweep; None if unknown, or for several sweeps.

    metric: name of the validation score that is shown. at: seconds since 1970. max_usd: budget of the
    sweep; None if it has none. notes: what could not be asked. folder: with the ledger. options: those that
    a further command needs to look in the same places. command: goes on with an application's sweep, which
    no command of lingotune does; '' of all others, or if it is not known.
    """

    rows: tuple[Row, ...]
    at: float
    sweep: str = ""
    planned: int | None = None
    region: str | None = None
    metric: str = METRIC
    max_usd: float | None = None
    notes: tuple[str, ...] = ()
    folder: Path | None = None
    options: str = ""
    command: str = ""

    @property
    def of_application(self) -> bool:
        """True for jobs of `hydra/launcher=sagemaker` alone."""
        remotes = [row.remote for row in self.rows if row.remote is not None]
        return bool(self.command) or (bool(remotes) and all(r.of_application for r in remotes))
