"""Sources of a sweep's trials: a grid, or a search that learns from scores; both may end jobs early.

Seeds are repetitions. A configuration's score is the mean over its seeds, of which each gives its best
evaluation, as a job keeps its best checkpoint. Where jobs are ended early, the first seed of each
configuration runs first, and the others only once it has come through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.sweeps.ledger import TrialRecord
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.space import SearchSpace, Values
from lingotune.launch.sweeps.study import Known, Study
from lingotune.launch.sweeps.taking_up import TakingUp
from lingotune.launch.sweeps.trial import REPEATED, Evaluation, State, Trial

_Key = tuple[tuple[str, str], ...]
"""Swept keys and values of a configuration."""
Make = Callable[[int, Values], Trial]
"""Makes the trial of a number and swept values: composed, checked and planned. ConfigError if it cannot."""


@dataclass
class _Job:
    """A trial and what is known of it.

    trial: None until it starts, which gives it its number. given: it was started, now or before. endings:
    how often it was ended for its scores.
    """

    varies: Values
    trial: Trial | None = None
    given: bool = False
    state: State = State.waiting
    evaluations: Sequence[Evaluation] = ()
    endings: int = 0


@dataclass
class Configuration:
    """Jobs that differ in nothing but the seed.

    state: None while one of them may still run. judged: evaluations that the study has been told.
    """

    values: Values
    jobs: list[_Job] = field(default_factory=list)
    state: State | None = None
    judged: int = 0

    @property
    def runs(self) -> bool:
        """True while one of its jobs may run."""
        return any(job.given and not job.state.over for job in self.jobs)

    def curve(self, metric: Metric) -> list[float]:
        """Average the scores after each evaluation over the seeds that have come so far."""
        curves = [metric.curve(job.evaluations) for job in self.jobs]
        length = max(map(len, curves), default=0)
        return [fmean(c[n] for c in curves if len(c) > n) for n in range(length)]

    def score(self, metric: Metric) -> float | None:
        """Average the best scores of the seeds that were completed; None without any."""
        done = [job for job in self.jobs if job.state is State.completed]
        scores = [score for job in done if (score := metric.best(job.evaluations)) is not None]
        return fmean(scores) if scores else None

    def known(self, metric: Metric) -> Known:
        """Describe it to the study."""
        return Known(dict(self.values), self.curve(metric), self.state, self.score(metric))


class _Source:
    """Jobs of a sweep in the order of their start, and what became of them.

    study: judges them after each evaluation; None = all run to their end. taking_up: lets ended ones go on;
    None = they have ended for good.
    """

    def __init__(
        self,
        metric: Metric,
        records: Sequence[TrialRecord],
        *,
        prunes: bool,
        taking_up: TakingUp | None = None,
    ) -> None:
        self._metric, self._prunes, self._taking_up = metric, prunes, taking_up
        self._study: Study | None = None
        self._configurations: dict[_Key, Configuration] = {}
        for record in records:
            self._take(record)
        for configuration in self._configurations.values():
            configuration.state = _end_of(configuration)

    @property
    def metric(self) -> str:
        """Name of the validation score by which trials are compared."""
        return self._metric.name

    # --- the controller's view --------------------------------------------------------------------

    def tell(self, trial: Trial, evaluations: Sequence[Evaluation]) -> bool:
        """Take all evaluations of a running trial so far; returns True if it shall be stopped."""
        configuration, job = self._find(trial)
        job.evaluations = evaluations
        for study in self._reported(configuration):
            if study.is_hopeless(configuration.values):
                configuration.state = State.pruned
                self._finish(configuration)
        return self._prunes and configuration.state is State.pruned

    def ended(self, trial: Trial, state: State, evaluations: Sequence[Evaluation]) -> None:
        """Take the end of a trial."""
        configuration, job = self._find(trial)
        job.evaluations, job.state, job.given = evaluations, state, True
        job.endings += state is State.pruned
        for study in self._reported(configuration):
            study.let_pass(configuration.values)  # there is nothing left to stop
        if configuration.state is None:
            configuration.state = _end_of(configuration)
            self._finish(configuration)
        elif configuration.state is State.pruned and not configuration.runs:
            self._rejudge(configuration)

    # --- inside -----------------------------------------------------------------------------------

    def _reported(self, configuration: Configuration) -> Iterator[Study]:
        """Tell the study that ends jobs early of new evaluations, and yield it after each that it had not.

        Of a configuration that has ended it is told nothing more.
        """
        if self._study is None or not self._prunes:
            return
        for score in configuration.curve(self._metric)[configuration.judged :]:
            if configuration.state is not None:
                return
            configuration.judged += 1
            if self._study.report(configuration.values, configuration.judged, score):
                yield self._study

    def _rejudge(self, configuration: Configuration) -> None:
        """Take back that a configuration was ended for its scores, where its job was done before it."""
        configuration.state = _end_of(configuration)
        if configuration.state is not State.pruned:
            self._agree()

    def _agree(self) -> None:
        if self._study is not None:
            known = [one.known(self._metric) for one in self._configurations.values()]
            self._study.agree_with(known)

    def _take(self, record: TrialRecord) -> None:
        """Take over a trial of the ledger, which its controller starts if it is not started yet."""
        trial = record.trial
        job = _Job(
            dict(trial.varies),
            trial,
            given=True,
            state=record.state,
            evaluations=record.evaluations,
            endings=sum(one.job.state is State.pruned for one in record.attempts),
        )
        self._configuration(trial.varies).jobs.append(job)

    def _configuration(self, varies: Values) -> Configuration:
        values = {key: value for key, value in varies.items() if key != REPEATED}
        return self._configurations.setdefault(_key(values), Configuration(values))

    def _find(self, trial: Trial) -> tuple[Configuration, _Job]:
        configuration = self._configuration(trial.varies)
        for job in configuration.jobs:
            if job.trial is not None and job.trial.key == trial.key:
                return configuration, job
        configuration.jobs.append(_Job(dict(trial.varies), trial, given=True))
        return configuration, configuration.jobs[-1]

    def _finish(self, configuration: Configuration) -> None:
        if self._study is not None and configuration.state is not None:
            score = configuration.score(self._metric)
            self._study.finish(configuration.values, configuration.state, score)

    def _startable(self, *, first: bool | None = None) -> Iterator[_Job]:
        """Yield the jobs that may start now. first: only first seeds, or only the others."""
        for configuration in self._configurations.values():
            if configuration.state is State.pruned:
                continue
            leader = configuration.jobs[0] if configuration.jobs else None
            for job in configuration.jobs:
                waits = self._prunes and job is not leader and not (leader and leader.state.over)
                fits = first is None or first == (job is leader)
                if not job.given and not waits and fits:
                    yield job

    # --- taking up --------------------------------------------------------------------------------

    def _taken_up(self) -> Trial | None:
        """Let an ended configuration go on that is among the best after all; None if there is none."""
        chosen = self._worth_going_on()
        if chosen is None or self._study is None:
            return None
        job = self._ended()[chosen]
        job.state, self._configurations[chosen].state = State.running, None
        self._agree()
        return job.trial

    def _worth_going_on(self) -> _Key | None:
        """Choose the ended configuration to take up; None as long as others are left to start."""
        if self._taking_up is None or self._left():
            return None
        curves = {key: one.curve(self._metric) for key, one in self._configurations.items()}
        ends = self._configurations.items()
        completed = {key for key, one in ends if one.state is State.completed}
        return self._taking_up.choose(self._ended(), curves, completed)

    def _ended(self) -> dict[_Key, _Job]:
        """Find the jobs that were ended once for their scores, by their configuration."""
        return {
            key: job for key, one in self._configurations.items() if one.state is State.pruned
            for job in one.jobs if job.state is State.pruned and job.endings == 1
        }  # fmt: skip

    def _may_take_up(self) -> bool:
        """Tell whether an ended configuration is to go on, or may be once those that run tell more."""
        if self._taking_up is None:
            return False
        runs = any(one.runs for one in self._configurations.values())
        return runs or self._worth_going_on() is not None

    def _left(self) -> bool:
        """Tell whether a job may still start, now or later."""
        return any(
            not job.given
            for configuration in self._configurations.values()
            if configuration.state is not State.pruned
            for job in configuration.jobs
        )


class GridSource(_Source):
    """Every trial of a list, in its order."""

    def __init__(
        self,
        trials: Sequence[Trial],
        metric: Metric,
        records: Sequence[TrialRecord] = (),
        study: Callable[[Sequence[Known]], Study] | None = None,
        taking_up: TakingUp | None = None,
    ) -> None:
        """Take a sweep up where its ledger has it.

        records: of the ledger. study: opens the study that judges jobs, from what is known of them.
        """
        super().__init__(metric, records, prunes=study is not None, taking_up=taking_up)
        there = {record.trial.key for record in records}
        for trial in trials:
            if trial.key not in there:
                self._configuration(trial.varies).jobs.append(_Job(dict(trial.varies), trial))
        for configuration in self._configurations.values():
            if configuration.state in (State.completed, State.failed):
                configuration.state = _end_of(configuration)  # it has new seeds
        if study is not None:
            known = [one.known(metric) for one in self._configurations.values()]
            self._study = study(known)

    def next(self) -> Trial | None:
        """Return a trial to start; None if there is none now."""
        job = next(self._startable(first=True if self._prunes else None), None)
        job = job or next(self._startable(), None)
        if job is None:
            return self._taken_up()
        job.given = True
        return job.trial

    @property
    def exhausted(self) -> bool:
        """True once `next` will never return a trial again."""
        return not self._left() and not self._may_take_up()

    @property
    def planned(self) -> int:
        """Number of trials in all."""
        return sum(len(one.jobs) for one in self._configurations.values())


class SearchSource(_Source):
    """Configurations that a study draws, each with all its seeds.

    refused: what kept configurations from being composed, which the search goes on without.
    """

    def __init__(
        self,
        space: SearchSpace,
        trials: int,
        make: Make,
        metric: Metric,
        study: Callable[[Sequence[Known]], Study],
        records: Sequence[TrialRecord] = (),
        *,
        prunes: bool,
        taking_up: TakingUp | None = None,
    ) -> None:
        """Take a search up where its ledger has it.

        trials: configurations in all. make: makes the trials of a configuration. study: opens the study
        from what is known. records: of the ledger.
        """
        super().__init__(metric, records, prunes=prunes, taking_up=taking_up)
        self._space, self._make = space, make
        self._trials = trials if space.size is None else min(trials, space.size)
        self._number = max((record.trial.number for record in records), default=0)
        self.refused: list[Problem] = []
        self._asked = 0
        for configuration in self._configurations.values():
            self._complete(configuration)
            if configuration.state in (State.completed, State.failed):
                configuration.state = _end_of(configuration)
        self._asked = len(self._configurations)
        self._study = study([one.known(metric) for one in self._configurations.values()])

    def next(self) -> Trial | None:
        """Return a trial to start; None if there is none now."""
        while True:
            job = next(self._startable(), None)
            if job is None and self._asked >= self._trials:
                return self._taken_up()
            if job is None:
                self._draw()
            elif (trial := self._started(job)) is not None:
                return trial

    @property
    def exhausted(self) -> bool:
        """True once `next` will never return a trial again."""
        return self._asked >= self._trials and not self._left() and not self._may_take_up()

    @property
    def planned(self) -> int:
        """Number of trials in all, those to be drawn included."""
        drawn = [len(one.jobs) for one in self._configurations.values()]
        to_come = max(0, self._trials - self._asked)
        return sum(drawn) + to_come * max(drawn, default=1)

    def _draw(self) -> None:
        """Draw a configuration, with a job for each seed."""
        assert self._study is not None
        self._asked += 1
        values = self._study.ask(self._trials)
        if values is None:
            self._asked = self._trials
        else:
            self._complete(self._configurations.setdefault(_key(values), Configuration(values)))

    def _complete(self, configuration: Configuration) -> None:
        """Add a job for each seed that has none yet."""
        there = [dict(job.varies) for job in configuration.jobs]
        missing = self._space.repetitions(configuration.values)
        configuration.jobs += [_Job(varies) for varies in missing if varies not in there]

    def _started(self, job: _Job) -> Trial | None:
        """Give a job its number; None if it does not compose, which counts as its end."""
        job.given = True
        try:
            job.trial = job.trial or self._make(self._number + 1, job.varies)
        except ConfigError as error:
            self.refused += error.problems
            job.state = State.failed
            configuration = self._configuration(job.varies)
            configuration.state = _end_of(configuration)
            self._finish(configuration)
            return None
        self._number = max(self._number, job.trial.number)
        return job.trial


def _key(values: Mapping[str, str]) -> _Key:
    return tuple(sorted(values.items()))


def _end_of(configuration: Configuration) -> State | None:
    """Derive how a configuration ended from its jobs; None while one may still run."""
    states = [job.state for job in configuration.jobs]
    if State.pruned in states:
        return State.pruned
    if not states or not all(state.over for state in states):
        return None
    return State.completed if State.completed in states else State.failed
