"""Sweeps on this machine: `train.py -m` and sweep files, by the engine of all sweeps."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

from lingotune.config.console import say
from lingotune.config.jobfile import job_of, load_job
from lingotune.config.problems import (
    INTERRUPTED,
    PUBLISH_FAILED,
    ConfigError,
    Problem,
    exit_code_for,
    format_problems,
)
from lingotune.config.schema import LaunchConfig, Search, split_seed
from lingotune.config.schema import Source as DataSource
from lingotune.contract.container import JOB_FILE
from lingotune.data.prepared.manifest import load_manifest
from lingotune.launch.compose.compose import Composed
from lingotune.launch.cost.quote import CostEstimator
from lingotune.launch.interrupts import interrupted_by
from lingotune.launch.plan.code_bundle import bundle_of
from lingotune.launch.plan.planner import Planner, Sweep
from lingotune.launch.plan.sweep_names import name_of
from lingotune.launch.results.ending import following_commands, print_results, so_far
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.controller import Controller, Limits, Outcome
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import LOCAL, Ledger, TrialRecord
from lingotune.launch.sweeps.local import LocalBackend, LocalJob, Spawn, code_of, spawn
from lingotune.launch.sweeps.overview import with_facts
from lingotune.launch.sweeps.pruning import WITHOUT_EFFECT
from lingotune.launch.sweeps.search import SearchSource
from lingotune.launch.sweeps.sources import learns, metric_of, source_of
from lingotune.launch.sweeps.trial import RETRIED, Source, State, Trial, ranges

_FOLLOWED = ("failed", "refused", "stopping", "waiting")
"""Beginnings of the lines that are told where the output of the only job is on the terminal."""


def sweep_here(composed: Sequence[Composed], typed: str, start_process: Spawn | None = None) -> int:
    """Train all jobs of a sweep; returns the exit code.

    What has finished is skipped, what was interrupted goes on. The data of all jobs is prepared. typed:
    the command line. start_process: instead of `spawn`. ConfigError if the sweep cannot be started.
    """
    config = composed[0].config
    runs, settings = Path(config.runs_dir), config.sweep
    slots = settings.max_parallel or 1
    name = name_of(composed)
    assert name is not None, "a job of its own is no sweep"
    folder = runs / name.name
    backend = LocalBackend(runs, typed, slots > 1, start_process or spawn)
    with lock.sole(folder, str(folder), so_far(folder)), Ledger(folder) as ledger:
        source = _Sweep(composed, ledger, backend, name.name).source()
        limits = Limits(
            slots,
            max_failures=settings.max_failures,
            retried=RETRIED[settings.retry],
        )
        controller = Controller(
            backend, source, ledger, limits, tell=_teller(backend), watch=True,
            sleep=backend.wait,
        )  # fmt: skip
        try:
            with interrupted_by(signal.SIGTERM, signal.SIGHUP):  # no process is left behind
                outcome = controller.run()
        except KeyboardInterrupt:
            _interrupted(ledger, backend)
            print_results(folder)
            print(f"interrupted; go on with:\n  {typed}", flush=True)
            return INTERRUPTED
        if isinstance(source, SearchSource) and source.refused:
            print(format_problems(source.refused))
    return _end(outcome, folder, backend)


# --- trials -------------------------------------------------------------------------------------


class _Sweep:
    """Trials of composed jobs, and the source that they come from."""

    def __init__(
        self, composed: Sequence[Composed], ledger: Ledger, backend: LocalBackend, name: str
    ) -> None:
        self._composed, self._ledger, self._backend = composed, ledger, backend
        self._keys = _Keys()
        self._folder, self._settings = ledger.path.parent, composed[0].config.sweep
        about, records = ledger.about(), ledger.records()
        if records and about.get("backend") != LOCAL:
            what = "is the folder of a sweep on SageMaker"
            raise ConfigError([Problem(str(self._folder), what, "another sweep.name=NAME")])
        metric = metric_of(job_of(composed[0].config))
        ledger.write_about(
            name=name, typed=backend.typed, backend=LOCAL, metric=metric.name,
            greater_is_better=metric.greater_is_better,
        )  # fmt: skip

    def source(self) -> Source:
        """Make the source of trials, of which some may be in the ledger already."""
        searches = self._settings.search is not Search.grid
        self._leave_out(
            self._drawn() if searches else {self._keys.named(c)[1] for c in self._composed}
        )
        trials = [] if searches else self._grid()
        say(f"sweep {self._folder}" + ("" if searches else f": {len(trials)} jobs"))
        _tell_start([record.trial for record in self._ledger.records()] or trials, self._backend)
        self._ledger.forget_interrupted(self._backend.describe, self._backend.clock())
        if not learns(self._settings):
            self._ledger.add_trials(trials)
            return Grid()
        planned = self._planned()
        return source_of(planned, self._folder, self._ledger.records(), trials, self._make)

    def _drawn(self) -> set[str]:
        """Make the trials of the ledger, which a search has drawn, once more; returns their keys."""
        trials = [record.trial for record in self._ledger.records()]
        return {self._make(trial.number, trial.varies).key for trial in trials}

    def _leave_out(self, keys: set[str]) -> None:
        """Remove what the ledger has of before and the command does not ask for.

        If it asks for none of the ledger's trials, these had other settings or data. Otherwise values were
        added or left out: what has ended stays in the table.
        """
        records = self._ledger.records()
        others = [record for record in records if record.trial.key not in keys]
        is_same = len(others) < len(records)
        gone = [r for r in others if not (is_same and self._takes_up(r)) and not self._runs(r)]
        self._ledger.remove_trials(record.trial.number for record in gone)
        if gone:
            numbers = ranges([record.trial.number for record in gone])
            say(f"left out, as this command does not ask for them: {numbers} of before")

    def _takes_up(self, record: TrialRecord) -> bool:
        """Take up a trial of before that has ended; returns False without its run folder."""
        config, last = self._composed[0].config, record.last
        if last is None or not last.job.state.over:
            return False
        try:
            job = load_job(self._backend.runs / last.name / JOB_FILE)[0]
        except (OSError, ConfigError):
            return False
        self._backend.jobs[record.trial.name] = LocalJob(job, config.prepared_dir)
        return True

    def _runs(self, record: TrialRecord) -> bool:
        state = self._backend.describe(record.last.name) if record.last else None
        return state is not None and not state.state.over

    def _grid(self) -> list[Trial]:
        """Number the trials of a grid; those of the ledger keep their numbers."""
        numbers = {record.trial.key: record.trial.number for record in self._ledger.records()}
        trials: dict[str, Trial] = {}
        for one in self._composed:
            name, key = self._keys.named(one)
            number = numbers.setdefault(key, max(numbers.values(), default=0) + 1)
            trials.setdefault(key, self._trial(one, number, name, key, len(self._composed)))
        return list(trials.values())

    def _make(self, number: int, varies: Mapping[str, str]) -> Trial:
        """Compose and check the job of values that a search has drawn; ConfigError if it cannot be."""
        space = self._composed[0].space
        assert space is not None
        one = space.suggested(varies)
        return self._trial(one, number, *self._keys.named(one))

    def _trial(
        self, one: Composed, number: int, name: str, key: str, count: int | None = None
    ) -> Trial:
        of = f" of {count}" if count else ""
        self._backend.jobs[name] = LocalJob(
            job_of(one.config),
            one.config.prepared_dir,
            one.config.data.prepared,
            f"=== {number}{of}: {one.typed}",
        )
        return Trial(number, dict(one.varies), tuple(map(str, one.overrides)), key, name)

    def _planned(self) -> Sweep:
        """Plan the jobs, and tell what is searched, how, and what is ended early."""
        bundle = bundle_of([one.config for one in self._composed])
        planner = Planner(bundle, CostEstimator(date.today()))
        planned = with_facts(planner.sweep(self._composed), self._folder)
        assert planned.facts is not None
        self._ledger.write_about(first_rung=planned.facts.first_rung)
        for line in planned.facts.lines:
            say(f"  {line}")
        for problem in planned.problems:
            if problem.check == WITHOUT_EFFECT:
                say(format_problems([problem]))
        return planned


class _Keys:
    """Digests of jobs with their data, which jobs of the same data share."""

    def __init__(self) -> None:
        self._known: list[tuple[object, str]] = []

    def named(self, one: Composed) -> tuple[str, str]:
        """Return the name of a job's run folder, and the digest of the job and its data."""
        key = _digest([one.key, self._data(one.config)])
        return f"{one.config.name}-{key[:10]}", key

    def _data(self, config: LaunchConfig) -> str:
        about = (
            config.data, config.model, config.distillation, split_seed(config), config.prepared_dir,
        )  # fmt: skip
        for known, digest in self._known:
            if known == about:
                return digest
        self._known.append((about, _data_digest(config)))
        return self._known[-1][1]


def _data_digest(config: LaunchConfig) -> str:
    """Return the digest of a job's data, which is prepared if it is not; '' where the job tells all."""
    from lingotune.serving.teacher import prepare_job

    job = job_of(config)
    if config.data.prepared is not None:
        remote = config.data.prepared.startswith("s3://")
        return config.data.prepared if remote else load_manifest(Path(config.data.prepared)).digest
    if job.data.source is DataSource.sample and job.distillation.teacher is None:
        return ""
    root = Path(config.prepared_dir)
    return load_manifest(prepare_job(job, root, say, trains=True)[0]).digest


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# --- what is told -------------------------------------------------------------------------------


def _tell_start(trials: Sequence[Trial], backend: LocalBackend) -> None:
    states = {trial.number: backend.describe(trial.name) for trial in trials}
    done = [n for n, job in states.items() if job and job.state is State.completed]
    runs = [n for n, job in states.items() if job and job.state is State.running]
    if done:
        say(f"skipped, as they have finished: {ranges(done)}")
    if runs:
        say(f"still running from before: {ranges(runs)}")


def _teller(backend: LocalBackend) -> Callable[[str], None]:
    return lambda line: say(line) if backend.parallel or line.startswith(_FOLLOWED) else None


def _interrupted(ledger: Ledger, backend: LocalBackend) -> None:
    """End the processes; their jobs go on from their last checkpoints with the next command."""
    for name in backend.stop_all():
        job = backend.describe(name)
        if job is None or job.state is not State.completed:
            ledger.not_started(name, backend.clock(), "it was interrupted, and goes on")


def _end(outcome: Outcome, folder: Path, backend: LocalBackend) -> int:
    """Print the table and what comes next; returns the exit code."""
    board = print_results(folder)
    commands = [*following_commands(board, folder)]
    if commands:
        print("\n  ".join(["look further:", *commands]))
    for number, problems in outcome.refused.items():
        print(f"job {number} was not started:\n{format_problems(problems)}")
    failed = [r.trial.number for r in outcome.records if r.state is State.failed]
    if outcome.halted:
        waiting = ranges([trial.number for trial in outcome.waiting])
        print(f"not started: {waiting}; {outcome.halted}")
    if failed:
        print(
            f"failed: {ranges(failed)}; start them again with:\n  {backend.typed} sweep.retry=failed"
        )
    return _code(outcome) or (PUBLISH_FAILED if backend.published_not else 0)


def _code(outcome: Outcome) -> int:
    """Return the lowest exit code of the jobs that have failed, or were not started; 0 if none has."""
    jobs = [record.last.job for record in outcome.records if record.last]
    codes = [code_of(job.reason) for job in jobs if job.state is State.failed]
    codes += [exit_code_for(problems) for problems in outcome.refused.values()]
    return min(codes, default=0)
