"""Processes of this machine as a backend of sweeps: one for each job, with its run folder.

A job's process holds a lock on a file in its run folder, which ends with it and with nothing else. So the
next controller sees which jobs still run after one that was killed, and goes on with those that do not.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from lingotune.config.jobfile import dump_job, job_digest
from lingotune.config.problems import BUG, PEER_LOST, ConfigError, Problem, exit_code_told
from lingotune.config.schema import JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.data.prepared.manifest import load_manifest
from lingotune.data.rows.training_rows import count_trained
from lingotune.estimate.batch import plan_batches, plan_steps, world_size
from lingotune.launch.render.local_command import MODULE, render_local
from lingotune.launch.sweeps.trial import Evaluation, JobState, Refused, State, Trial, attempt_in
from lingotune.plugins.source import find_source
from lingotune.runs.folder import (
    HISTORY,
    finished,
    folders_in,
    read_data_folder,
    read_history,
    write_command,
)

LOG = "log.txt"
"""Output of a job's process in its run folder, where several run at a time."""
_LOCK = "process.lock"
_FAILURE = "failure"
_PATIENCE = 10.0
"""Seconds that a process has to end when it is asked to, before it is killed."""
_LOOK = 0.2
"""Seconds between two looks at the processes."""
_EVAL = "eval_"
_DRIVER = Path("/proc/driver/nvidia/gpus")
"""Folder of NVIDIA's driver with an entry for each GPU."""


class Process(Protocol):
    """A started process, as subprocess.Popen has it."""

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, unless it has ended."""


Spawn = Callable[[Sequence[str], Mapping[str, str], "IO[bytes] | None", int], Process]
"""Starts a command with an environment and a file for its output, None = this one's; the last argument is
a file descriptor that it keeps open until it ends."""


def spawn(
    command: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | None, kept: int
) -> Process:
    """Start a process in a session of its own: Ctrl-C reaches the controller alone."""
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        pass_fds=[kept], start_new_session=True,
    )  # fmt: skip


_SIGNAL = "was ended by signal"


@dataclass(frozen=True)
class LocalJob:
    """Job of a trial. data: folder of prepared data; None = prepare it in `prepared_dir`.

    headline: a line to print before it starts, where one job runs at a time.
    """

    job: JobConfig
    prepared_dir: str
    data: str | None = None
    headline: str = ""


@dataclass
class _Started:
    """A process. at: when it was started. began: when its log had a first entry; None before."""

    process: Process
    at: float
    place: int = 0
    asked_to_stop: float | None = None
    ended: float | None = None
    began: float | None = None


@dataclass
class LocalBackend:
    """Processes of this machine.

    runs: where run folders are made, by the names of jobs. typed: the command line, kept in each. parallel:
    several run at a time, and their output goes to files. jobs: by the name of the first attempt.
    """

    runs: Path
    typed: str = ""
    parallel: bool = False
    start_process: Spawn = spawn
    clock: Callable[[], float] = time.time
    jobs: dict[str, LocalJob] = field(default_factory=dict)
    _started: dict[str, _Started] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _totals: dict[str, int] = field(default_factory=dict)

    # --- the protocol -----------------------------------------------------------------------------

    def start(self, trial: Trial, attempt: int) -> str:
        """Start the process of a trial, unless it runs or has finished; returns its name."""
        name = trial.job_name(attempt)
        if self.describe(name) is None:
            self._start(name, self.jobs[trial.name])
        return name

    def listing(self) -> dict[str, JobState]:
        """List the jobs that run or have ended; what was interrupted is in it no more."""
        names = dict.fromkeys([*self.jobs, *self._started])
        return {name: state for name in names if (state := self.describe(name))}

    def describe(self, name: str) -> JobState | None:
        """Look at a job's process and its run folder."""
        started = self._started.get(name)
        code = started.process.poll() if started else None
        if started and code is None:
            self._insist(started)
            return JobState(name, State.running, created=started.at, started=started.at)
        if self._is_finished(name):
            return self._ended(name, State.completed)
        if started:
            stopped = started.asked_to_stop is not None
            return self._ended(name, State.stopped if stopped else State.failed, code)
        return JobState(name, State.running) if self._runs_elsewhere(name) else None

    def stop(self, name: str, *, pruned: bool = False) -> None:
        """Ask a job's process to end."""
        started = self._started.get(name)
        if started and started.process.poll() is None and started.asked_to_stop is None:
            started.asked_to_stop = self.clock()
            started.process.send_signal(signal.SIGTERM)

    def evaluations(self, name: str) -> Sequence[Evaluation]:
        """Read the evaluations in a run's log, by step."""
        entries = [e for e in read_history(self.runs / name) if f"{_EVAL}loss" in e]
        total = self._total(name) if entries else 0
        return [
            Evaluation(
                int(entry["step"]),
                total,
                {key[len(_EVAL) :]: v for key, v in entry.items() if key.startswith(_EVAL)},
            )
            for entry in entries
        ]

    def first_step(self, name: str) -> float | None:
        """Tell when the first entry was seen in the log of a run that was started from here."""
        started = self._started.get(name)
        return started.began if started else None

    # --- for whoever waits ------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Sleep until a process has ended or evaluated, at most so many seconds."""
        before, until = self._seen(), time.monotonic() + seconds
        while time.monotonic() < until and self._seen() == before:
            time.sleep(min(_LOOK, max(0.0, until - time.monotonic())))

    def stop_all(self) -> list[str]:
        """End all processes, and wait for that; returns the names of those that had not ended."""
        running = [name for name, of in self._started.items() if of.process.poll() is None]
        for name in running:
            self.stop(name)
        while any(self._started[name].process.poll() is None for name in running):
            for name in running:
                self._insist(self._started[name])
            time.sleep(_LOOK)
        return running

    @property
    def published_not(self) -> list[str]:
        """Names of finished jobs whose processes ended with an error: their models were not published."""
        ended = {name: of.process.poll() for name, of in self._started.items()}
        return [name for name, code in ended.items() if code and self._is_finished(name)]

    # --- inside -----------------------------------------------------------------------------------

    def _start(self, name: str, of: LocalJob) -> None:
        folder = self.runs / name
        if of.headline and not self.parallel:
            print(f"\n{of.headline}", flush=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / JOB_FILE).write_bytes(dump_job(of.job))
            (folder / _FAILURE).unlink(missing_ok=True)
            write_command(self.typed, folder)
            source = find_source(of.job.code, [folder])
            if source:
                source.keep_in(folder)
            self._started[name] = self._spawned(of, folder)
        except OSError as error:
            what = f"cannot be started there: {error.strerror or error}"
            raise Refused([Problem(str(folder), what, "runs_dir=FOLDER")]) from error
        except ConfigError as error:
            raise Refused(error.problems) from error

    def _spawned(self, of: LocalJob, folder: Path) -> _Started:
        place = self._free_place()
        environment = {**os.environ, "SM_OUTPUT_DIR": str(folder)}  # for its message if it fails
        if self.parallel:
            environment |= own_gpus(place, world_size(of.job.cluster), visible_gpus(os.environ))
        with (folder / _LOCK).open("wb") as lock, self._output(folder) as output:
            fcntl.flock(lock, fcntl.LOCK_EX)
            command = worker_command(of, folder)
            process = self.start_process(command, environment, output, lock.fileno())
        return _Started(process, self.clock(), place)

    def _free_place(self) -> int:
        """Return the lowest number that no running process has, from 0."""
        taken = {of.place for of in self._started.values() if of.process.poll() is None}
        return next(n for n in range(len(taken) + 1) if n not in taken)

    @contextmanager
    def _output(self, folder: Path) -> Iterator[IO[bytes] | None]:
        if not self.parallel:
            sys.stdout.flush()
            yield None
            return
        with (folder / LOG).open("ab") as log:
            yield log

    def _insist(self, started: _Started) -> None:
        asked = started.asked_to_stop
        if asked is not None and self.clock() - asked > _PATIENCE:
            started.process.send_signal(signal.SIGKILL)

    def _job(self, name: str) -> LocalJob | None:
        """Find the job by the name of any of its attempts."""
        return self.jobs.get(name) or self.jobs.get(attempt_in(name)[0])

    def _is_finished(self, name: str) -> bool:
        of, folder = self._job(name), self.runs / name
        if name not in self._done and of is not None and (folder / JOB_FILE).is_file():
            with suppress(ConfigError):
                if finished(folders_in(folder), job_digest(of.job)) is not None:
                    self._done.add(name)
        return name in self._done

    def _ended(self, name: str, state: State, code: int | None = None) -> JobState:
        started = self._started.get(name)
        if started and started.ended is None:
            started.ended = self.clock()
            (self.runs / name / _LOCK).unlink(missing_ok=True)
            if state is State.stopped:
                (self.runs / name / _FAILURE).unlink(missing_ok=True)
        reason = self._reason(name, code) if state is State.failed else ""
        at, end = (started.at, started.ended) if started else (None, None)
        return JobState(name, state, reason=reason, created=at, started=at, ended=end)

    def _reason(self, name: str, code: int | None) -> str:
        try:
            text = (
                (self.runs / name / _FAILURE).read_text(encoding="utf-8").removeprefix("rank 0, ")
            )
        except (OSError, ValueError):
            text = ""
        killed = code is not None and code < 0
        said = f"{_SIGNAL} {-code}" if killed and code else f"(exit code {code})"
        if code and code > 0 and "(exit code " not in text:
            text, said = f"{text} {said}", ""
        log = f"; {self.runs / name / LOG}" if self.parallel else ""
        return f"{' '.join(text.split()) or said}{log}"

    def _runs_elsewhere(self, name: str) -> bool:
        """Tell whether a process that another controller has started still holds its lock."""
        try:
            with (self.runs / name / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _total(self, name: str) -> int:
        """Compute the number of updates of a run, once its data is known; 0 before."""
        of, folder = self._job(name), read_data_folder(self.runs / name)
        if name not in self._totals and of is not None and folder is not None:
            rows = count_trained(of.job.data, load_manifest(folder).training_rows)
            steps = plan_steps(of.job, plan_batches(of.job), rows)
            self._totals[name] = steps.total_steps
        return self._totals.get(name, 0)

    def _seen(self) -> list[object]:
        """Look at the processes and their logs; what differs from the look before is news."""
        seen: list[object] = []
        for name, of in self._started.items():
            if of.ended is None:
                size = _size(self.runs / name / HISTORY)
                if size and of.began is None:
                    of.began = self.clock()
                seen.append((name, of.process.poll(), size))
        return seen


def code_of(reason: str) -> int:
    """Return the exit code of a job, from why it failed: that of a lost process where a signal ended it."""
    return exit_code_told(reason, PEER_LOST if _SIGNAL in reason else BUG)


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """List the GPUs that processes of this machine may use, as CUDA_VISIBLE_DEVICES names them."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    with suppress(OSError):
        return [str(n) for n, _ in enumerate(sorted(_DRIVER.iterdir()))]
    return []


def own_gpus(place: int, processes: int, gpus: Sequence[str]) -> dict[str, str]:
    """Give a job GPUs of its own, one for each process: the environment that shows it no others.

    place: of the job among those that run, from 0. Where there are fewer GPUs than needed, places share
    them; with a single one, or none, nothing is to be chosen.
    """
    if len(gpus) < 2 or processes >= len(gpus):
        return {}
    first = place % (len(gpus) // processes) * processes
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[first : first + processes])}


def worker_command(of: LocalJob, folder: Path) -> list[str]:
    """Write the command that trains a job in its run folder, in one process or several."""
    _, *arguments = render_local(of.job, str(folder / JOB_FILE), MODULE)
    several = world_size(of.job.cluster) > 1
    starter = [sys.executable, *(["-m", "torch.distributed.run"] if several else [])]
    data = ["--data", of.data] if of.data else ["--prepared-dir", of.prepared_dir]
    return [*starter, *arguments, "--run-dir", str(folder), *data]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
