"""Sweeps on this machine: `train.py -m` and sweep files, by the engine of all sweeps."""

from __future__ import annotations

import hashlib
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lingotune.config.console import say
from lingotune.config.jobfile import digest_in, dump_job, job_of
from lingotune.config.problems import (
    INTERRUPTED,
    PUBLISH_FAILED,
    USER_ERROR,
    format_problems,
)
from lingotune.config.program import program
from lingotune.config.schema import LaunchConfig, Retry, Source
from lingotune.data.prepared.manifest import load_manifest
from lingotune.launch.compose.compose import Composed
from lingotune.launch.results.collect import of_sweep
from lingotune.launch.results.compare import compare
from lingotune.launch.results.table import best_of, for_terminal, ranges, write_csv
from lingotune.launch.sweeps.controller import Controller, Limits, Outcome
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.ledger import Ledger
from lingotune.launch.sweeps.local import (
    LocalBackend,
    LocalJob,
    Spawn,
    forget_interrupted,
    spawn,
)
from lingotune.launch.sweeps.lock import only_controller
from lingotune.launch.sweeps.trial import State, Trial

_FOLLOWED = ("failed", "refused", "stopping", "waiting")
"""Beginnings of the lines that are told where the output of the only job is on the terminal."""


def sweep_here(composed: Sequence[Composed], typed: str, start_process: Spawn = spawn) -> int:
    """Train all jobs of a sweep; returns the exit code.

    What has finished is skipped, what was interrupted goes on. The data of all jobs is prepared. typed:
    the command line. ConfigError if the sweep cannot be started.
    """
    config = composed[0].config
    runs, settings = Path(config.runs_dir), config.sweep
    slots = settings.max_parallel or 1
    backend = LocalBackend(runs, typed, slots > 1, start_process)
    named = [(one, *_named(one)) for one in composed]
    name = settings.name or f"sweep-{_digest(sorted(key for _, _, key in named))[:8]}"
    folder = runs / name
    with only_controller(folder), Ledger(folder) as ledger:
        ledger.write_about(name=name, typed=typed, where="local")
        trials = _trials(named, ledger, backend)
        ledger.add_trials(trials)
        _tell_start(trials, backend, folder)
        forget_interrupted(ledger, backend)
        controller = Controller(
            backend,
            Grid(trials),
            ledger,
            Limits(
                slots=slots,
                max_failures=settings.max_failures,
                retry_failed=settings.retry is Retry.failed,
            ),
            tell=_teller(backend),
            watch=True,
            sleep=backend.wait,
        )
        try:
            with _signals_interrupt():
                outcome = controller.run()
        except KeyboardInterrupt:
            _interrupted(ledger, backend)
            print(f"\n{_table(folder)}\n\ninterrupted; go on with:\n  {typed}", flush=True)
            return INTERRUPTED
    return _end(outcome, folder, backend)


# --- trials -------------------------------------------------------------------------------------


def _named(one: Composed) -> tuple[str, str]:
    """Return the name of a job's run folder, and the digest of the job and its data."""
    job = job_of(one.config)
    key = _digest([digest_in(dump_job(job)), _data_digest(one.config)])
    return f"{job.name}-{key[:10]}", key


def _data_digest(config: LaunchConfig) -> str:
    """Return the digest of a job's data, which is prepared if it is not; '' where the job tells all."""
    from lingotune.data.prepared.prepare import prepare

    job = job_of(config)
    if config.data.prepared is not None:
        remote = config.data.prepared.startswith("s3://")
        return config.data.prepared if remote else load_manifest(Path(config.data.prepared)).digest
    if job.data.source is Source.sample:
        return ""
    root = Path(config.prepared_dir)
    return load_manifest(prepare(job.data, job.model, job.seed, root, say, trains=True)[0]).digest


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _trials(
    named: Sequence[tuple[Composed, str, str]], ledger: Ledger, backend: LocalBackend
) -> list[Trial]:
    """Number the trials; those of the ledger keep their numbers."""
    numbers = {record.trial.key: record.trial.number for record in ledger.records()}
    trials: list[Trial] = []
    for one, name, key in named:
        number = numbers.setdefault(key, max(numbers.values(), default=0) + 1)
        overrides = tuple(map(str, one.overrides))
        headline = f"=== {number} of {len(named)}: {one.typed}"
        backend.jobs[name] = LocalJob(
            job_of(one.config), one.config.prepared_dir, one.config.data.prepared, headline
        )
        if key not in {trial.key for trial in trials}:
            trials.append(Trial(number, dict(one.varies), overrides, key, name))
    return trials


# --- what is told -------------------------------------------------------------------------------


def _tell_start(trials: Sequence[Trial], backend: LocalBackend, folder: Path) -> None:
    states = {trial.number: backend.describe(trial.name) for trial in trials}
    done = [n for n, job in states.items() if job and job.state is State.completed]
    runs = [n for n, job in states.items() if job and job.state is State.running]
    say(f"sweep {folder}: {len(trials)} jobs")
    if done:
        say(f"skipped, as they have finished: {ranges(done)}")
    if runs:
        say(f"still running from before: {ranges(runs)}")


def _teller(backend: LocalBackend) -> Callable[[str], None]:
    return lambda line: say(line) if backend.parallel or line.startswith(_FOLLOWED) else None


def _table(folder: Path) -> str:
    board = of_sweep(folder)
    comparison = compare(board.ranked)
    write_csv(board, comparison)
    return for_terminal(board, comparison)


def _interrupted(ledger: Ledger, backend: LocalBackend) -> None:
    """End the processes; their jobs go on from their last checkpoints with the next command."""
    for name in backend.stop_all():
        job = backend.describe(name)
        if job is None or job.state is not State.completed:
            ledger.not_started(name, backend.clock(), "it was interrupted, and goes on")


def _end(outcome: Outcome, folder: Path, backend: LocalBackend) -> int:
    """Print the table and what comes next; returns the exit code."""
    print(f"\n{_table(folder)}\n")
    board = of_sweep(folder)
    if board.best is not None:
        best = shlex.quote(str(best_of(board).folder))
        print("look further:")
        print(f"  tensorboard --logdir {folder.parent}")
        print(f"  {program('report')} {shlex.quote(str(folder))}")
        print(f'  {program("predict")} {best} "Great product, works perfectly"')
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
    if failed or outcome.refused or outcome.halted:
        return USER_ERROR
    return PUBLISH_FAILED if backend.published_not else 0


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Treat the end of the terminal, and a request to end, like Ctrl-C: no process is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
