"""The loop that runs a sweep: every trial once, no more at a time than there are slots, none forgotten.

A round asks the backend for one listing, writes what is new into the ledger, stops the hopeless jobs and
starts further ones where slots are free. Nothing is kept in memory that would be missed: the ledger is
written before and after each call, so that another controller goes on from where this one was killed. A
job's name follows from what it is, and the backend takes each name once; therefore a start whose answer
was lost can be asked for again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.sweeps.ledger import Attempt, Ledger, TrialRecord, state_after
from lingotune.launch.sweeps.trial import (
    Backend,
    Evaluation,
    JobState,
    NoSlot,
    Refused,
    Source,
    State,
    Trial,
    Unsure,
    attempt_in,
)

_SHORTEST, _LONGEST = 2.0, 30.0
"""Seconds between two rounds: after news, and when there has been none for a while."""
_A_LOG = 0.15
"""Seconds between two rounds at least, for each job whose log is read in them: 30 for 200 jobs."""
_FIRST_REST, _LONGEST_REST = 15.0, 300.0
"""Seconds before a start is tried again where a quota or a lack of capacity was in its way."""
_APPEARS = 600.0
"""Seconds after which a job that was started has to be known to its backend."""


@dataclass(frozen=True)
class Limits:
    """Limits of a sweep.

    slots: jobs at a time; None = as many as the backend takes. quotas: the same by pool, e.g. by instance
    type. retries: further attempts of a trial that ended through a fault of AWS. max_failures: failed
    trials after which none is started. retried: start those again that have ended in this state before.
    attempt: number of the first attempt; a higher one starts all trials once more.
    """

    slots: int | None = None
    quotas: Mapping[str, int] = field(default_factory=dict)
    retries: int = 2
    max_failures: int = 3
    retried: State | None = None
    attempt: int = 1


@dataclass(frozen=True)
class Outcome:
    """State of a sweep when its controller has left it.

    waiting: trials that have not been started. refused: problems by number of the trial. halted: why no
    further trials are started; empty if nothing is in the way.
    """

    records: tuple[TrialRecord, ...]
    waiting: tuple[Trial, ...] = ()
    refused: Mapping[int, Sequence[Problem]] = field(default_factory=dict)
    halted: str = ""


class Controller:
    """Controller of one sweep; there must be one at a time.

    The trials that are in the ledger already come first, then those of the source.

    pool: names the quota that a trial counts against. wanted: trials of the ledger to start and wait
    for; the others keep their slots while they run. tell: takes a line about what has happened. show:
    takes the records of those wanted after each round. watch: read the evaluations of running jobs in each
    round, for the source to judge them and for whoever looks on.
    """

    def __init__(
        self,
        backend: Backend,
        source: Source,
        ledger: Ledger,
        limits: Limits,
        *,
        pool: Callable[[Trial], str] = lambda trial: "",
        wanted: Callable[[Trial], bool] = lambda trial: True,
        tell: Callable[[str], None] = lambda line: None,
        show: Callable[[Sequence[TrialRecord]], None] = lambda records: None,
        watch: bool = False,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        random: Random | None = None,
    ) -> None:
        self._backend, self._source, self._ledger, self._limits = backend, source, ledger, limits
        self._pool, self._tell, self._show, self._watch = pool, tell, show, watch
        self._wanted = wanted
        self._clock, self._sleep, self._random = clock, sleep, random or Random()
        self._quotas = dict(limits.quotas)
        self._rests: dict[str, tuple[float, float]] = {}  # pool -> until when, and how long
        self._refused: dict[int, list[Problem]] = {}
        self._lost: set[int] = set()  # their starts are asked for before any other
        self._pause = _SHORTEST
        self._news = self._starved = False
        self._taken_up: dict[int, int] = {}  # ended trial that goes on -> attempt that was ended
        self._again: dict[int, int] | None = (
            None  # trial -> last attempt, as it was before this run
        )

    def run(self, *, detached: bool = False) -> Outcome:
        """Run the sweep to its end; detached: only until all is started that fits.

        Ctrl-C leaves the jobs running. ConfigError if the ledger cannot be written, or the backend knows
        none of the jobs that it has started.
        """
        while True:
            self._news = self._starved = False
            answered = self._round()
            records = [r for r in self._ledger.records() if self._wanted(r.trial)]
            self._show(records)
            held = [a for r in records for a in r.attempts if a.job.state.holds_slot]
            waiting = self._waiting(records)
            left = bool(waiting) or not (self._source.exhausted or (self._starved and not held))
            halted = self._halted(records) if left else ""
            settled = answered and not any(a.job.state is State.starting for a in held)
            if (detached and settled) or (not held and (halted or not left)):
                return Outcome(tuple(records), waiting, dict(self._refused), halted)
            self._sleep(self._next_pause(records))

    def _next_pause(self, records: Sequence[TrialRecord]) -> float:
        """Choose the seconds until the next round: few after news, unless many logs are read in it."""
        read = sum(record.state is State.running for record in records) if self._watch else 0
        shortest = min(_LONGEST, max(_SHORTEST, read * _A_LOG))
        self._pause = shortest if self._news else min(_LONGEST, 2 * max(self._pause, shortest))
        return self._pause

    def _round(self) -> bool:
        """Go through one round; returns False if an answer was lost, so that there is more to look up."""
        try:
            listed = self._backend.listing()
        except Unsure as lost:
            self._tell(f"no answer, asked again in a moment: {lost}")
            return False
        self._attach(listed)
        if self._again is None:
            self._again = self._ended_before(listed)
        for record in self._ledger.records():
            for attempt in record.attempts:
                if not attempt.job.state.over:
                    self._update(record, attempt, listed.get(attempt.name))
        if self._watch:
            for record in self._ledger.records():
                if record.last and record.state is State.running:
                    self._judge(record, record.last)
        return self._start_all()

    # --- what has become of the jobs --------------------------------------------------------------

    def _attach(self, listed: Mapping[str, JobState]) -> None:
        """Attach jobs of the sweep that were started from elsewhere, or before the ledger was lost."""
        records = self._ledger.records()
        known = {attempt.name for record in records for attempt in record.attempts}
        trials = {record.trial.name: record.trial for record in records}
        for name, job in listed.items():
            first, number = (name, 1) if name in trials else attempt_in(name)
            if name not in known and first in trials:
                self._ledger.attach(trials[first], number, name, job.created or self._clock())
                self._news = True

    def _ended_before(self, listed: Mapping[str, JobState]) -> dict[int, int]:
        """Find the trials to start again by number, with their last attempt."""
        found, retried = {}, self._limits.retried
        for record in self._ledger.records() if retried is not None else ():
            last = record.last
            if last is None:
                continue
            told, state = listed.get(last.name), last.job.state
            if told is not None and not state.over:
                state = state_after(last, told.state)
            stops = state is State.stopping and not last.is_pruned
            if state is retried or (stops and retried is State.stopped):
                found[record.trial.number] = last.attempt
        return found

    def _update(self, record: TrialRecord, attempt: Attempt, seen: JobState | None) -> None:
        """Write what has become of a job; one that has ended, or is not listed, is described."""
        try:
            if seen is None or seen.state.over:
                seen = self._backend.describe(attempt.name)
            if seen is None:
                self._unknown(record, attempt)
                return
            if attempt.stop_asked is not None and seen.state is State.running:
                # the first time it may not have arrived
                self._backend.stop(attempt.name, pruned=attempt.is_pruned)
            if seen.state.over:
                self._end(record, attempt, seen)
                return
        except Unsure:
            return
        before = attempt.job
        if (seen.state, seen.secondary, seen.started) != (
            before.state, before.secondary, before.started,
        ):  # fmt: skip
            self._news = True
            self._ledger.saw([seen], self._clock())

    def _end(self, record: TrialRecord, attempt: Attempt, job: JobState) -> None:
        found = self._backend.evaluations(attempt.name)
        self._ledger.add_evaluations(attempt.name, found)
        began = self._backend.first_step(attempt.name)
        if began is not None:
            self._ledger.note_first_step(attempt.name, began)
        self._ledger.saw([job], self._clock())
        self._news = True
        self._rests.clear()  # a slot has become free
        record = self._known(record.trial)
        last = record.last
        if last is None or last.name != attempt.name:
            return
        reason = f": {last.job.reason}" if last.job.reason else ""
        self._tell(f"{last.job.state.value:9} {record.trial.number:3}  {attempt.name}{reason}")
        if self._next_attempt(record) is None:
            self._source.ended(record.trial, last.job.state, record.evaluations)

    def _known(self, trial: Trial) -> TrialRecord:
        """Read what the ledger has of a trial by now."""
        return next(record for record in self._ledger.records() if record.trial == trial)

    def _unknown(self, record: TrialRecord, attempt: Attempt) -> None:
        """Forget a start that has not arrived; a job that was there before must not be started again."""
        now, name = self._clock(), attempt.name
        if attempt.job.state is State.starting:
            self._lost.add(record.trial.number)
            self._ledger.not_started(name, now, "no job of this name is there")
            self._news = True
        elif self._limits.retried is State.failed and self._again is not None:
            gone = JobState(name, State.failed, reason="unknown where it was started")
            self._again[record.trial.number] = attempt.attempt
            self._ledger.saw([gone], now)
        elif now - attempt.asked > _APPEARS:
            what = "was started, but there is no job of this name in this account and region"
            fix = (
                "AWS_PROFILE=... and region as when it was started;"
                " retry=failed starts it again if it was deleted"
            )
            raise ConfigError([Problem(name, what, fix, check="job-unknown")])

    def _judge(self, record: TrialRecord, last: Attempt) -> None:
        """Let the source judge a running trial by its evaluations; a hopeless one is stopped."""
        try:
            found = self._backend.evaluations(last.name)
        except Unsure:
            return
        if len(found) > len(last.evaluations):
            self._news = True
            self._ledger.add_evaluations(last.name, found)
            record = self._known(record.trial)
        if not found or not self._source.tell(record.trial, record.evaluations):
            return
        self._ledger.intend_stop(last.name, self._clock(), State.pruned.value)
        self._news = True
        self._tell(f"stopping  {record.trial.number:3}  {last.name}: {self._so_far(found)}")
        try:
            self._backend.stop(last.name, pruned=True)
        except Unsure:
            return  # asked again in the next round

    def _so_far(self, found: Sequence[Evaluation]) -> str:
        last, metric = found[-1], self._source.metric
        score = f"{metric} {last.values[metric]:.4g}" if metric in last.values else "no score"
        return f"{score} at step {last.step}/{last.total_steps}"

    # --- further starts ---------------------------------------------------------------------------

    def _next_attempt(self, record: TrialRecord) -> int | None:
        """Number the attempt that the trial has to be started with now or later; None if it is done."""
        last, limits = record.last, self._limits
        if not self._wanted(record.trial):
            return None
        if last is None or last.attempt < limits.attempt:
            return limits.attempt
        if not last.job.state.over:
            return None
        if self._taken_up.get(record.trial.number) == last.attempt:
            return last.attempt + 1
        if last.job.worth_retrying and last.stop_asked is None:
            faults = [a for a in record.attempts if a.job.worth_retrying]
            return last.attempt + 1 if len(faults) <= limits.retries else self._retried(record)
        return self._retried(record)

    def _retried(self, record: TrialRecord) -> int | None:
        last = record.attempts[-1]
        again = (self._again or {}).get(record.trial.number) == last.attempt
        return last.attempt + 1 if again and last.job.state is self._limits.retried else None

    def _waiting(self, records: Sequence[TrialRecord]) -> tuple[Trial, ...]:
        return tuple(
            record.trial
            for record in records
            if self._next_attempt(record) is not None and record.trial.number not in self._refused
        )

    def _halted(self, records: Sequence[TrialRecord]) -> str:
        """Say why no further trial is started; '' if nothing is in the way."""
        failed = [
            record.trial.number
            for record in records
            if record.state is State.failed
            and self._wanted(record.trial)
            and self._next_attempt(record) is None
            and not record.attempts[-1].job.worth_retrying
        ]
        count = len(failed) + len(self._refused)
        if count < self._limits.max_failures or not count:
            return str(self._ledger.about().get("held", ""))
        numbers = ", ".join(map(str, sorted([*failed, *self._refused])))
        return f"{count} jobs failed ({numbers}): sweep.max_failures={self._limits.max_failures}"

    def _start_all(self) -> bool:
        """Start what fits; returns False if an answer was lost, which has to be looked up first."""
        records = self._ledger.records()
        held = Counter(
            self._pool(record.trial)
            for record in records
            for attempt in record.attempts
            if attempt.job.state.holds_slot
        )
        halted, slots = self._halted(records), self._limits.slots
        if halted or (slots is not None and held.total() >= slots):
            return True
        for trial, attempt in self._candidates(records):
            pool = self._pool(trial)
            if not self._is_free(pool, held[pool]):
                continue
            became = self._start(trial, attempt)
            if became is State.starting:
                return False
            held[pool] += became is State.running
            if became is State.failed and self._halted(records):
                return True
            if slots is not None and held.total() >= slots:
                return True
        return True

    def _is_free(self, pool: str, held: int) -> bool:
        until, _ = self._rests.get(pool, (0.0, 0.0))
        return self._clock() >= until and held < self._quotas.get(pool, held + 1)

    def _candidates(self, records: Sequence[TrialRecord]) -> Iterator[tuple[Trial, int]]:
        """Yield trials to start, with the number of the attempt; of the source when no others wait."""
        for record in sorted(records, key=lambda r: r.trial.number not in self._lost):
            attempt = self._next_attempt(record)
            if attempt is not None and record.trial.number not in self._refused:
                yield record.trial, attempt
        while not self._source.exhausted and not self._waiting(self._ledger.records()):
            trial = self._source.next()
            if trial is None:
                self._starved = True
                return
            self._ledger.add_trials([trial])
            record = next(r for r in self._ledger.records() if r.trial.key == trial.key)
            if record.last is not None and record.state is State.pruned:
                self._taken_up[trial.number] = record.last.attempt
                self._tell(
                    f"taken up  {trial.number:3}  {record.last.name}: among the best, after all"
                )
            attempt = self._next_attempt(record)
            if attempt is not None:
                yield record.trial, attempt

    def _start(self, trial: Trial, attempt: int) -> State:
        """Ask for a start; returns waiting without a slot, failed if refused, starting if unsure."""
        name = trial.job_name(attempt)
        self._ledger.intend_start(trial, attempt, name, self._clock())
        self._news = True
        try:
            self._backend.start(trial, attempt)
        except NoSlot as full:
            self._ledger.not_started(name, self._clock(), str(full))
            self._rest(trial, full)
            return State.waiting
        except Refused as refusal:
            self._ledger.not_started(name, self._clock(), str(refusal))
            self._refused[trial.number] = refusal.problems
            self._tell(f"refused   {trial.number:3}  {name}: {refusal}")
            return State.failed
        except Unsure as lost:
            self._tell(f"no answer {trial.number:3}  {name}, looked up by its name: {lost}")
            return State.starting
        self._lost.discard(trial.number)
        self._ledger.saw([JobState(name, State.running)], self._clock())
        self._tell(f"started   {trial.number:3}  {name}")
        return State.running

    def _rest(self, trial: Trial, full: NoSlot) -> None:
        """Leave a pool alone for a while, with jitter, as others may wait for the same slot."""
        pool = self._pool(trial)
        if full.limit is not None:
            known = self._quotas.get(pool, full.limit)
            self._quotas[pool] = min(known, full.limit)
        _, before = self._rests.get(pool, (0.0, 0.0))
        wait = min(_LONGEST_REST, 2 * before) if before else _FIRST_REST
        self._rests[pool] = self._clock() + wait * self._random.uniform(0.5, 1.5), wait
        self._tell(f"waiting   {trial.number:3}  for a slot: {full}")
