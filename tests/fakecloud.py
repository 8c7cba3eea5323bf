"""A cloud of jobs that only pretend to run, with a clock that waits for nobody and calls that go wrong.

It counts what a real one would bill: every job that was made, and how many ran at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.trial import Evaluation, JobState, NoSlot, State, Trial, Unsure

EPOCH = 1_000_000.0


class Killed(BaseException):
    """The controller's process ends here, with nothing done any more."""


@dataclass
class Faults:
    """Shares of calls that go wrong: refused by throttling, or answered into the void; and kills.

    kills: how often the caller is killed in all, each after a random number of steps.
    """

    throttled: float = 0.0
    lost: float = 0.0
    kills: int = 0
    random: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self._left = self._steps()

    def _steps(self) -> int:
        return self.random.randint(1, 60)

    def step(self) -> None:
        """Come to the next place where the caller may be killed."""
        if self.kills:
            self._left -= 1
            if not self._left:
                self.kills -= 1
                self._left = self._steps()
                raise Killed

    def call(self, effect: Callable[[], Any]) -> Any:
        """Make a call that may be lost on its way there or back."""
        self.step()
        drawn = self.random.random()
        if drawn < self.throttled:
            raise Unsure("ThrottlingException")
        answer = effect()
        if drawn < self.throttled + self.lost:
            raise Unsure("the connection was lost after the call")
        self.step()
        return answer


class Cloud:
    """Backend of pretended jobs. quota: jobs at a time, beyond which NoSlot is raised.

    lasts: seconds of a job by its name. ends: how it ends, by its name; completed unless given.
    stops_in: seconds from being asked to stop to the end. scores: of a job at each tenth of its time.
    """

    def __init__(
        self,
        quota: int | None = None,
        faults: Faults | None = None,
        lasts: Callable[[str], float] = lambda name: 100.0,
        ends: Mapping[str, JobState] | None = None,
        stops_in: float = 20.0,
        scores: Callable[[str, int], float] | None = None,
    ) -> None:
        self.now = EPOCH
        self.quota, self.faults = quota, faults or Faults()
        self.jobs: dict[str, JobState] = {}
        self.most = 0
        self.calls: Counter[str] = Counter()
        self._lasts, self._ends, self._stops_in = lasts, dict(ends or {}), stops_in
        self._scores = scores
        self._stop_at: dict[str, float] = {}

    # --- time -------------------------------------------------------------------------------------

    def clock(self) -> float:
        """Read the clock."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, at once."""
        self.now += seconds
        for name, job in self.jobs.items():
            ends_at = (job.created or 0) + self._lasts(name)
            stop_at = self._stop_at.get(name)
            if job.state.over or self.now < min(ends_at, stop_at or ends_at):
                continue
            stopped = stop_at is not None and stop_at < ends_at
            end = JobState(name, State.stopped) if stopped else self._ends.get(name)
            end = end or JobState(name, State.completed)
            self.jobs[name] = replace(end, name=name, created=job.created, ended=self.now)

    @property
    def held(self) -> int:
        """Number of machines that are taken."""
        return sum(job.state.holds_slot for job in self.jobs.values())

    # --- the calls of a backend -------------------------------------------------------------------

    def start(self, trial: Trial, attempt: int) -> str:
        """Make a job, unless it is there."""
        self.calls["start"] += 1
        name = trial.job_name(attempt)
        self.faults.call(lambda: self._make(name))
        return name

    def _make(self, name: str) -> None:
        if name in self.jobs:
            return
        if self.quota is not None and self.held >= self.quota:
            raise NoSlot(f"the quota is {self.quota}")
        self.jobs[name] = JobState(name, State.running, created=self.now)
        self.most = max(self.most, self.held)

    def listing(self) -> dict[str, JobState]:
        """List the jobs, without the reasons of their ends."""
        self.calls["listing"] += 1
        short = {n: replace(j, reason="") for n, j in self.jobs.items()}
        found: dict[str, JobState] = self.faults.call(lambda: short)
        return found

    def describe(self, name: str) -> JobState | None:
        """Look up a job."""
        self.calls["describe"] += 1
        found: JobState | None = self.faults.call(lambda: self.jobs.get(name))
        return found

    def stop(self, name: str, *, pruned: bool = False) -> None:
        """Ask a job to stop."""
        self.calls["stop"] += 1
        self.faults.call(lambda: self._ask_to_stop(name))

    def _ask_to_stop(self, name: str) -> None:
        if not self.jobs[name].state.over:
            self._stop_at.setdefault(name, self.now + self._stops_in)
            self.jobs[name] = replace(self.jobs[name], state=State.stopping)

    def evaluations(self, name: str) -> Sequence[Evaluation]:
        """Read the scores of a job so far."""
        self.calls["evaluations"] += 1
        job = self.jobs[name]
        if self._scores is None:
            return []
        done = (job.ended or self.now) - (job.created or 0)
        steps = range(1, min(10, int(10 * done / self._lasts(name))) + 1)
        scores = self._scores
        told = [Evaluation(step, 10, {"macro_f1": scores(name, step)}) for step in steps]
        found: list[Evaluation] = self.faults.call(lambda: told)
        return found

    def first_step(self, name: str) -> float | None:
        """Tell when a job began to train: after a hundredth of its time."""
        created = self.jobs[name].created
        return None if created is None else created + self._lasts(name) / 100


class MortalLedger(Ledger):
    """A ledger before and after each write of which its process may be killed."""

    faults: Faults

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("intend_start", "not_started", "intend_stop", "saw", "attach",
                        "add_evaluations", "add_trials"):  # fmt: skip
            return found

        def mortal(*arguments: Any) -> Any:
            self.faults.step()
            answer = found(*arguments)
            self.faults.step()
            return answer

        return mortal
