"""The ledger of a sweep: its trials, their jobs and evaluations, in one SQLite file.

It is written before and after each call that starts or stops a job, so that a controller that is killed at
any point, or a second one, knows what may run. Everything else is derived from it.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.config.problems import DISK_FAILED, USER_ERROR, ConfigError, Problem
from lingotune.config.secrets import redacted
from lingotune.launch.sweeps.trial import Evaluation, JobState, State, Trial

LEDGER = "ledger.sqlite"
"""File in the folder of a sweep."""
PIN = "sweep.json"
"""File in the folder of a sweep on SageMaker, and in S3: what it keeps to, with the price of each job."""
LOCAL, LOOPBACK = "local", "loopback"
"""Backends of this machine, as a sweep's ledger names them (field `backend`); none on SageMaker."""
VERSION = 1
"""Version of the tables, as `PRAGMA user_version`."""
_FIRST_STEP = "first step"
_TABLES = """
CREATE TABLE sweep (field TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE trials (
  number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, varies TEXT NOT NULL,
  overrides TEXT NOT NULL, expected_usd REAL, worst_usd REAL
);
CREATE TABLE attempts (
  name TEXT PRIMARY KEY, trial INTEGER NOT NULL REFERENCES trials, attempt INTEGER NOT NULL,
  state TEXT NOT NULL, asked REAL NOT NULL, secondary TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '', created REAL, started REAL, ended REAL, billable_seconds REAL,
  instance_type TEXT, stop_asked REAL, stop_reason TEXT, UNIQUE (trial, attempt)
);
CREATE TABLE evaluations (
  name TEXT NOT NULL REFERENCES attempts, step INTEGER NOT NULL, total_steps INTEGER NOT NULL,
  scores TEXT NOT NULL, PRIMARY KEY (name, step)
);
CREATE TABLE events (at REAL NOT NULL, name TEXT NOT NULL, what TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Attempt:
    """One job of a trial, with its state as last seen. asked: when its start was asked for.

    stop_asked, stop_reason: when and why it was asked to stop; None if it was not.
    """

    trial: int
    attempt: int
    job: JobState
    asked: float
    stop_asked: float | None = None
    stop_reason: str | None = None
    evaluations: tuple[Evaluation, ...] = ()

    @property
    def name(self) -> str:
        """Name of the job."""
        return self.job.name

    @property
    def is_pruned(self) -> bool:
        """True if it was asked to stop for its scores."""
        return self.stop_reason == State.pruned.value


@dataclass(frozen=True)
class TrialRecord:
    """A trial and its attempts, first to last."""

    trial: Trial
    attempts: tuple[Attempt, ...] = ()

    @property
    def state(self) -> State:
        """State of the last attempt; waiting without one."""
        return self.attempts[-1].job.state if self.attempts else State.waiting

    @property
    def last(self) -> Attempt | None:
        """The last attempt; None if there is none."""
        return self.attempts[-1] if self.attempts else None

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Evaluations by step: those of an earlier attempt as far as a later one went on behind them."""
        found: tuple[Evaluation, ...] = ()
        for attempt in self.attempts:
            begins = min((one.step for one in attempt.evaluations), default=math.inf)
            found = (*(one for one in found if one.step < begins), *attempt.evaluations)
        return found


class Ledger:
    """An open ledger. As a context manager it is closed at the end of the block.

    Each method is one transaction; ConfigError if the file cannot be read or written, or is of a newer
    version.
    """

    def __init__(self, folder: Path) -> None:
        """Open the ledger in a sweep's folder, which is made if it is not there."""
        self.path = folder / LEDGER
        self._read: tuple[int, list[TrialRecord]] | None = None
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            # A paid job must survive a power cut, too.
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._make_tables()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- the sweep --------------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """Read what was written about the sweep as a whole, by field."""
        return {field: json.loads(v) for field, v in self._all("SELECT field, value FROM sweep")}

    def write_about(self, **fields: Any) -> None:
        """Write fields about the sweep, as JSON values."""
        with self._transaction() as db:
            rows = [(field, json.dumps(value)) for field, value in fields.items()]
            db.executemany("INSERT OR REPLACE INTO sweep VALUES (?, ?)", rows)

    def hold(self, why: str) -> None:
        """Let no further job be started, by whichever controller; '' lets them start again."""
        self.write_about(held=redacted(why))

    # --- trials -----------------------------------------------------------------------------------

    def add_trials(self, trials: Iterable[Trial]) -> None:
        """Add trials; those whose key is there already are left as they are."""
        rows = [
            (
                t.number, t.key, t.name, json.dumps(dict(t.varies)), json.dumps(t.overrides),
                t.expected_usd, t.worst_usd,
            )
            for t in trials
        ]  # fmt: skip
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows
            )

    def remove_trials(self, numbers: Iterable[int]) -> None:
        """Remove trials with all that is known of their jobs, except the events."""
        rows = [(number,) for number in numbers]
        with self._transaction() as db:
            of_them = "SELECT name FROM attempts WHERE trial = ?"
            db.executemany(f"DELETE FROM evaluations WHERE name IN ({of_them})", rows)
            db.executemany("DELETE FROM attempts WHERE trial = ?", rows)
            db.executemany("DELETE FROM trials WHERE number = ?", rows)

    def renew(self, trials: Iterable[Trial]) -> None:
        """Give trials the keys that they have with other code, and those without any attempt the names."""
        known = list(trials)
        with self._transaction() as db:
            db.executemany(
                "UPDATE trials SET key = ? WHERE number = ? AND varies = ?",
                [(trial.key, trial.number, json.dumps(dict(trial.varies))) for trial in known],
            )
            db.executemany(
                "UPDATE trials SET name = ? WHERE key = ?"
                " AND number NOT IN (SELECT trial FROM attempts)",
                [(trial.name, trial.key) for trial in known],
            )

    def records(self) -> list[TrialRecord]:
        """Read every trial with its attempts and evaluations, by number."""
        ((version,),) = self._all("PRAGMA data_version")  # changes with others' writes
        if self._read is None or self._read[0] != version:
            self._read = version, self._records()
        return list(self._read[1])

    def _records(self) -> list[TrialRecord]:
        evaluations: dict[str, list[Evaluation]] = {}
        for name, step, total, scores in self._all(
            "SELECT name, step, total_steps, scores FROM evaluations ORDER BY name, step"
        ):
            evaluations.setdefault(name, []).append(Evaluation(step, total, json.loads(scores)))
        attempts: dict[int, list[Attempt]] = {}
        for row in self._all(f"SELECT {_ATTEMPT} FROM attempts ORDER BY trial, attempt"):
            attempt = _attempt_of(row, evaluations.get(row[0], []))
            attempts.setdefault(attempt.trial, []).append(attempt)
        return [
            TrialRecord(_trial_of(row), tuple(attempts.get(row[0], [])))
            for row in self._all(
                "SELECT number, key, name, varies, overrides, expected_usd, worst_usd"
                " FROM trials ORDER BY number"
            )
        ]

    # --- jobs -------------------------------------------------------------------------------------

    def intend_start(self, trial: Trial, attempt: int, name: str, at: float) -> None:
        """Write that a start is about to be asked for; the job is `starting` until more is known."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO attempts (name, trial, attempt, state, asked) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET state = excluded.state, asked = excluded.asked",
                (name, trial.number, attempt, State.starting.value, at),
            )
            self._event(at, name, "start asked")

    def attach(self, trial: Trial, attempt: int, name: str, at: float) -> None:
        """Add a job of the trial that was not started from here; its state is yet to be looked up."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO attempts (name, trial, attempt, state, asked)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, trial.number, attempt, State.starting.value, at),
            )
            self._event(at, name, "attached")

    def not_started(self, name: str, at: float, why: str) -> None:
        """Write that a start was refused, or never reached the backend: the attempt is forgotten."""
        with self._transaction() as db:
            db.execute("DELETE FROM evaluations WHERE name = ?", (name,))
            db.execute("DELETE FROM attempts WHERE name = ?", (name,))
            self._event(at, name, f"not started: {why}")

    def forget_interrupted(self, describe: Callable[[str], JobState | None], at: float) -> int:
        """Take attempts that were cut short for not started, so that they go on; returns how many.

        So are finished ones that the backend does not know any more. describe: asks it, by the job's name.
        """
        gone = [
            attempt
            for record in self.records()
            for attempt in record.attempts
            if (not attempt.job.state.over or attempt.job.state is State.completed)
            and describe(attempt.name) is None
        ]
        for attempt in gone:
            self.not_started(attempt.name, at, "it was interrupted, and goes on")
        return len(gone)

    def intend_stop(self, name: str, at: float, reason: str) -> None:
        """Write that a job is about to be asked to stop, and why: pruned, or its owner's words."""
        reason = redacted(reason)
        with self._transaction() as db:
            db.execute(
                "UPDATE attempts SET stop_asked = ?, stop_reason = ?, state = ? WHERE name = ?",
                (at, reason, State.stopping.value, name),
            )
            self._event(at, name, f"stop asked: {reason}")

    def saw(self, jobs: Iterable[JobState], at: float) -> None:
        """Write the states of jobs as their backend tells them; unknown names are left out.

        Fields that are None or empty leave what is known. A job that was stopped for its scores ends as
        `pruned`; a job that was asked to stop is no more `running`, whatever a late answer says.
        """
        with self._transaction() as db:
            known = {a[0]: a for a in db.execute(f"SELECT {_ATTEMPT} FROM attempts")}
            for job in jobs:
                if job.name not in known:
                    continue
                before = _attempt_of(known[job.name], [])
                state = state_after(before, job.state)
                if state is not before.job.state:
                    self._event(at, job.name, f"{state.value} {job.reason}".rstrip())
                db.execute(
                    "UPDATE attempts SET state = ?,"
                    " secondary = CASE WHEN ? = '' THEN secondary ELSE ? END,"
                    " reason = CASE WHEN ? = '' THEN reason ELSE ? END,"
                    " created = COALESCE(?, created), started = COALESCE(?, started),"
                    " ended = COALESCE(?, ended),"
                    " billable_seconds = COALESCE(?, billable_seconds),"
                    " instance_type = COALESCE(?, instance_type) WHERE name = ?",
                    (
                        state.value, job.secondary, job.secondary, job.reason, job.reason,
                        job.created, job.started, job.ended, job.billable_seconds,
                        job.instance_type, job.name,
                    ),
                )  # fmt: skip

    def add_evaluations(self, name: str, evaluations: Sequence[Evaluation]) -> None:
        """Add a job's evaluations; those of steps that are there already are left as they are."""
        rows = [(name, e.step, e.total_steps, json.dumps(dict(e.values))) for e in evaluations]
        with self._transaction() as db:
            db.executemany("INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?, ?)", rows)

    def note_first_step(self, name: str, at: float) -> None:
        """Write when a job logged its first line of training, unless that is known."""
        if name not in self.first_steps():
            with self._transaction():
                self._event(at, name, _FIRST_STEP)

    def first_steps(self) -> dict[str, float]:
        """Read when jobs logged their first lines of training, by name: seconds since 1970."""
        return {name: at for at, name, what in self.events() if what == _FIRST_STEP}

    def events(self) -> list[tuple[float, str, str]]:
        """Read what happened: (seconds since 1970, job's name, what), in order."""
        return [tuple(row) for row in self._all("SELECT at, name, what FROM events ORDER BY rowid")]

    # --- SQLite -----------------------------------------------------------------------------------

    def _make_tables(self) -> None:
        with self._transaction() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                what = f"is of version {version}; this lingotune reads version {VERSION}"
                raise ConfigError(
                    [Problem(str(self.path), what, "pip install --upgrade lingotune")]
                )
            if version == 0:
                for statement in _TABLES.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION}")

    def _event(self, at: float, name: str, what: str) -> None:
        self._db.execute("INSERT INTO events VALUES (?, ?, ?)", (at, name, redacted(what)))

    def _all(self, query: str) -> list[Any]:
        with self._explained(), closing(self._db.execute(query)) as rows:
            return rows.fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._read = None
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what = f"cannot be read or written: {error}"
            fix = "free space on the disk, or another runs_dir=FOLDER"
            is_disk = isinstance(error, (OSError, sqlite3.OperationalError))  # not a damaged file
            code = DISK_FAILED if is_disk else USER_ERROR
            raise ConfigError([Problem(str(self.path), what, fix, code=code)]) from error


_ATTEMPT = (
    "name, trial, attempt, state, asked, secondary, reason, created, started, ended,"
    " billable_seconds, instance_type, stop_asked, stop_reason"
)


def is_sweep(folder: Path) -> bool:
    """Tell whether a folder is that of a sweep."""
    return (folder / LEDGER).is_file()


def runs_here(about: Mapping[str, Any]) -> bool:
    """Tell from what is written about a sweep whether its jobs run on this machine, and cost nothing."""
    return about.get("backend") in (LOCAL, LOOPBACK)


def sweep_folder(typed: str, runs_dir: str = "runs") -> Path | None:
    """Find the folder of a sweep by its path, or by its name in `runs_dir`; None if there is none."""
    places = (Path(typed), Path(runs_dir, typed))
    return next((place for place in places if is_sweep(place)), None)


def sweeps_in(runs_dir: Path) -> list[Path]:
    """List the folders of sweeps in a folder of runs, by name; none if there is no such folder."""
    try:
        return sorted(path for path in runs_dir.iterdir() if is_sweep(path))
    except OSError:
        return []


def state_after(before: Attempt, told: State) -> State:
    """Tell the state of a job that was last seen as `before`, where its backend tells `told`."""
    if before.stop_asked is not None:
        if told is State.running:
            return State.stopping
        if told is State.stopped and before.is_pruned:
            return State.pruned
    return told


def _trial_of(row: Sequence[Any]) -> Trial:
    number, key, name, varies, overrides, expected, worst = row
    typed = tuple(json.loads(overrides))
    return Trial(number, json.loads(varies), typed, key, name, expected, worst)


def _attempt_of(row: Sequence[Any], evaluations: Sequence[Evaluation]) -> Attempt:
    name, trial, attempt, state, asked, secondary, reason, created, started, ended, *rest = row
    billable, instance, stop_asked, stop_reason = rest
    job = JobState(
        name, State(state), secondary, reason, created, started, ended, billable, instance
    )
    return Attempt(trial, attempt, job, asked, stop_asked, stop_reason, tuple(evaluations))
