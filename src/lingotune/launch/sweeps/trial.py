"""Trials of a sweep, and the protocols of the parts that its controller works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from lingotune.config.problems import ConfigError
from lingotune.config.schema import Retry
from lingotune.config.secrets import redacted

REPEATED = "seed"
"""Setting whose values are repetitions of one configuration."""


class State(Enum):
    """State of a trial, or of one of its attempts.

    starting: its start was asked for, the answer is unknown. stopping: it was asked to stop, and still
    holds its slot. pruned: stopped for its scores, by the sweep. stopped: by its owner, or by a limit.
    """

    waiting = "waiting"
    starting = "starting"
    running = "running"
    stopping = "stopping"
    completed = "completed"
    failed = "failed"
    stopped = "stopped"
    pruned = "pruned"

    @property
    def holds_slot(self) -> bool:
        """True while a machine is taken, or may be."""
        return self in (State.starting, State.running, State.stopping)

    @property
    def over(self) -> bool:
        """True once the job has ended."""
        return self in (State.completed, State.failed, State.stopped, State.pruned)


_DIGITS = 10
"""Digits of the digest at the end of a first attempt's name."""


def attempt_in(name: str) -> tuple[str, int]:
    """Split a job's name into that of the first attempt and the number of its own, by `Trial.job_name`."""
    first, _, number = name.rpartition("-")
    is_attempt = number.isdecimal() and len(number) < _DIGITS
    return (first, int(number)) if is_attempt else (name, 1)


RETRIED = {Retry.none: None, Retry.failed: State.failed, Retry.stopped: State.stopped}
"""State of the trials that are started again."""


@dataclass(frozen=True)
class Trial:
    """One job of a sweep.

    number: from 1. varies: swept key -> its value, as text of an override. overrides: all of the job, as
    typed. key: SHA-256 of its job file. name: job name of its first attempt. expected_usd, worst_usd: of
    one attempt; None if unknown, or on this machine.
    """

    number: int
    varies: Mapping[str, str]
    overrides: tuple[str, ...]
    key: str
    name: str
    expected_usd: float | None = None
    worst_usd: float | None = None

    @property
    def configuration(self) -> tuple[tuple[str, str], ...]:
        """Swept keys and values except the seed: trials that agree in it are repetitions."""
        return tuple((key, value) for key, value in self.varies.items() if key != REPEATED)

    def job_name(self, attempt: int) -> str:
        """Name of the job of an attempt; the same on every machine, so that none is started twice."""
        return self.name if attempt == 1 else f"{self.name}-{attempt}"


_NO_CAPACITY = ("CapacityError", "InsufficientCapacity")
_FAULTS_OF_AWS = ("InternalServerError", *_NO_CAPACITY)
"""Beginnings of the FailureReason of jobs that failed through no fault of theirs."""
_LACKS_OF_CAPACITY = ("Interrupted", "MaxWaitTimeExceeded")
"""Secondary statuses of spot jobs that lost their machines, or got none."""


@dataclass(frozen=True)
class JobState:
    """State of a started job as its backend tells it. Times are seconds since 1970, None if unknown.

    secondary: the backend's own word, e.g. Downloading. reason: of a failure, without secrets.
    """

    name: str
    state: State
    secondary: str = ""
    reason: str = ""
    created: float | None = None
    started: float | None = None
    ended: float | None = None
    billable_seconds: float | None = None
    instance_type: str | None = None

    def __post_init__(self) -> None:
        if self.reason:  # goes into ledgers, tables and pages
            object.__setattr__(self, "reason", redacted(self.reason))

    @property
    def lacked_capacity(self) -> bool:
        """True for a job that ended because there were no machines, or no longer."""
        if self.state not in (State.failed, State.stopped):
            return False
        return self.reason.startswith(_NO_CAPACITY) or self.secondary in _LACKS_OF_CAPACITY

    @property
    def worth_retrying(self) -> bool:
        """True for a job that ended through a fault of AWS, or for want of capacity: not by its own."""
        if self.state not in (State.failed, State.stopped):
            return False
        return self.reason.startswith(_FAULTS_OF_AWS) or self.secondary in _LACKS_OF_CAPACITY


@dataclass(frozen=True)
class Evaluation:
    """Scores on the validation split after `step` of `total_steps` updates, by name."""

    step: int
    total_steps: int
    values: Mapping[str, float] = field(default_factory=dict)


class NoSlot(Exception):
    """A quota or missing capacity keeps the job from being started now.

    limit: jobs that the quota allows at a time; None if that is not known.
    """

    def __init__(self, reason: str = "", limit: int | None = None) -> None:
        super().__init__(reason)
        self.limit = limit


class Refused(ConfigError):
    """The job was refused for what it is, or what the account may do; starting it again would not help."""


class Unsure(Exception):
    """The answer to a call was lost: after a start the job may run, and is looked up by its name."""


class Backend(Protocol):
    """Place where jobs run: Amazon SageMaker, or processes of this machine.

    Every call may raise Unsure; it is made again in the next round.
    """

    def start(self, trial: Trial, attempt: int) -> str:
        """Start a trial; returns the name of its job, which is `trial.job_name(attempt)`. A job that is
        there already is taken as started.

        NoSlot, Refused or Unsure if it was not, or may not have been.
        """

    def listing(self) -> dict[str, JobState]:
        """List the sweep's jobs by name, with few calls however many there are."""

    def describe(self, name: str) -> JobState | None:
        """Look up one job; None if there is none with this name."""

    def stop(self, name: str, *, pruned: bool = False) -> None:
        """Ask a job to stop, pruned: for its scores; nothing happens if it has ended."""

    def evaluations(self, name: str) -> Sequence[Evaluation]:
        """Read the evaluations that a job has told so far, by step."""

    def first_step(self, name: str) -> float | None:
        """Tell when a job whose evaluations were read began to train; None if that is not known."""


class Source(Protocol):
    """Source of trials: a grid, or a search that learns from scores."""

    def next(self) -> Trial | None:
        """Return a trial to start; None if there is none now. At most one start is asked for each."""

    def tell(self, trial: Trial, evaluations: Sequence[Evaluation]) -> bool:
        """Take all evaluations of a running trial so far; returns True if it shall be stopped."""

    def ended(self, trial: Trial, state: State, evaluations: Sequence[Evaluation]) -> None:
        """Take the end of a trial, whose last attempt it was."""

    @property
    def exhausted(self) -> bool:
        """True once `next` will never return a trial again."""

    @property
    def planned(self) -> int:
        """Number of trials in all, those to be drawn included; 0 = those of the ledger."""

    @property
    def metric(self) -> str:
        """Name of the validation score by which trials are compared."""


def ranges(numbers: Sequence[int]) -> str:
    """Write numbers of trials with their ranges: 1-3, 7."""
    parts: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1] = parts[-1][0], number
        else:
            parts.append((number, number))
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
