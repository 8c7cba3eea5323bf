"""Fetching the results of jobs into run folders, as runs of this machine leave them.

A run folder appears by one rename once everything in it is there and checked. Until then all lies in
`RUNS/.fetch/JOB/`, from where the next fetch goes on.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lingotune.config.problems import DISK_FAILED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.secrets import redacted
from lingotune.config.typed_json import parse_json
from lingotune.contract.container import CONFIG_CHANNEL, JOB_FILE
from lingotune.data.transfer.errors import explained
from lingotune.data.transfer.objects import Transferred, split_uri
from lingotune.launch.aws.account.calls import Unanswered
from lingotune.launch.aws.job_logs import JobLog
from lingotune.launch.aws.output import JobOutput, output_uri
from lingotune.launch.operations.account import Account
from lingotune.launch.operations.described import DESCRIPTION
from lingotune.launch.operations.log_files import LOG
from lingotune.launch.operations.remote import Remote
from lingotune.launch.operations.rows import Row
from lingotune.launch.operations.table import state_text
from lingotune.launch.sweeps.trial import State

STAGING = ".fetch"
"""Folder in that of the runs for what has not been fetched whole."""
_SPARE = 64 << 20
"""Bytes of the disk that are left free."""

Tell = Callable[[str], None]


@dataclass
class Fetched:
    """What has become of the jobs that were asked for.

    done, there: folders of jobs that have completed: fetched now, and before. failed: of those that have
    not. left: rows of jobs that still run or wait. problems: of jobs that could not be fetched.
    """

    done: list[Path] = field(default_factory=list)
    there: list[Path] = field(default_factory=list)
    failed: list[Path] = field(default_factory=list)
    left: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    bytes: int = 0

    def lines(self) -> Iterator[str]:
        """Sum it up, a line each."""
        runs, size = len(self.done) + len(self.there), f", {_text(self.bytes)}"
        before = f" ({len(self.there)} were here)" if self.there and self.done else ""
        if runs or self.failed:
            known = [f"{runs} run{'' if runs == 1 else 's'}{before}{size if self.bytes else ''}"]
            if self.failed:
                known.append(f"{len(self.failed)} not completed: log and reason in their folders")
            yield "; ".join(known)
        if self.left:
            numbers = ", ".join(
                row.name if row.number is None else str(row.number) for row in self.left
            )
            yield f"{len(self.left)} still to come: {numbers}"


def fetch_all(rows: Sequence[Row], account: Account, runs_dir: Path, tell: Tell) -> Fetched:
    """Fetch the results of all jobs that have ended, one after the other; a problem of one stops no other.

    ConfigError if the folder cannot be written.
    """
    found = Fetched()
    s3 = account.calls.client("s3")
    for row in rows:
        if row.remote is None or not row.state.over:
            found.left.append(row)
            continue
        folder = runs_dir / row.name
        completed = row.state is State.completed
        try:
            if _is_here(row.remote, folder):
                (found.there if completed else found.failed).append(folder)
                continue
            with _held(runs_dir / STAGING / row.name) as staging:
                if not _is_here(row.remote, folder):
                    fetch = _Fetch(row.remote, account, s3, staging, folder)
                    found.bytes += fetch.run(tell, _label(row))
            (found.done if completed else found.failed).append(folder)
        except ConfigError as error:
            found.problems += error.problems
    _remove_empty(runs_dir / STAGING)
    return found


def _label(row: Row) -> str:
    number = "" if row.number is None else f"{row.number:3}  "
    return f"{number}{row.name}"


def _is_here(job: Remote, folder: Path) -> bool:
    """Tell whether a folder holds the results of this job; ConfigError if it is somebody else's."""
    if not folder.exists():
        return False
    try:
        known = parse_json((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if known.get("TrainingJobArn") == job.raw.get("TrainingJobArn"):
            return True
    except (OSError, ValueError, AttributeError):
        pass
    what = f"is there, and does not hold the results of {job.name} in {job.raw['TrainingJobArn']}"
    fix = f"mv {folder} {folder}-other, or --runs-dir with another folder"
    raise ConfigError([Problem(str(folder), what, fix, check="folder-taken")])


class _Fetch:
    """Fetch of one job that has ended."""

    def __init__(self, job: Remote, account: Account, s3: Any, staging: Path, folder: Path) -> None:
        self._job, self._account, self._s3, self._folder = job, account, s3, folder
        self._staging, self._run = staging, staging / "run"

    def run(self, tell: Tell, label: str) -> int:
        """Fetch the job and tell it; returns the bytes of its output."""
        output = JobOutput(self._s3, output_uri(self._job.raw), self._staging / "objects")
        completed = self._job.job.state is State.completed
        has_model = completed and not self._job.of_application
        if has_model and not any(_is_model(one.name) for one in output.objects):
            what = f"{output.uri} holds no model: it was deleted, or its upload has not ended"
            fix = "the same command in a minute; if it was deleted, attempt=2 runs the job again"
            raise ConfigError([Problem(self._job.name, what, fix, check="output-missing")])
        self._check_disk(output.bytes_needed())
        shutil.rmtree(self._run, ignore_errors=True)
        self._run.mkdir(parents=True)
        done = output.fetch(self._run, tell)
        self._add_facts(tell)
        if has_model and not (self._run / "model").is_dir():
            what = f"{output.uri} holds an empty model"
            raise ConfigError([Problem(self._job.name, what, check="output-missing")])
        self._appear()
        tell(self._told(done, label))
        return output.bytes

    def _told(self, done: Transferred, label: str) -> str:
        job = self._job.job
        if job.state is State.completed:
            return f"{label}  {done}: {self._folder}"
        reason = f": {job.reason}" if job.reason else ""
        return f"{label}  {job.state.value}{reason}; log: {self._folder / LOG}"

    def _check_disk(self, needed: int) -> None:
        free = shutil.disk_usage(self._staging).free - _SPARE
        if needed > free:
            what = f"its results need about {_text(needed)}, {_text(max(0, free))} are free"
            fix = "room on the disk, or --runs-dir on another one; then the same command"
            problem = Problem(self._job.name, what, fix, check="disk-full", code=DISK_FAILED)
            raise ConfigError([problem])

    def _add_facts(self, tell: Tell) -> None:
        """Add the job's log, its description, and its job file where the output has none."""
        with explained(str(self._run)):
            try:
                lines = JobLog(self._account.calls, self._job.name).new_lines()
                text = "".join(f"{line}\n" for line in lines)
                (self._run / LOG).write_text(redacted(text), encoding="utf-8")
            except Unanswered as reason:
                tell(f"note: {self._job.name} without its log: {reason}")
            if not (self._run / JOB_FILE).exists():
                self._add_job_file()
            told = json.dumps(_shown(self._job.raw), indent=2, default=str)  # times as text
            (self._run / DESCRIPTION).write_text(f"{told}\n", encoding="utf-8")

    def _add_job_file(self) -> None:
        channels = {c["ChannelName"]: c for c in self._job.raw.get("InputDataConfig", [])}
        source = channels.get(CONFIG_CHANNEL, {}).get("DataSource", {}).get("S3DataSource", {})
        if "S3Uri" not in source:
            return
        bucket, key = split_uri(f"{source['S3Uri']}{JOB_FILE}")
        try:
            body = self._account.calls.ask("s3", "get_object", Bucket=bucket, Key=key)["Body"]
            (self._run / JOB_FILE).write_bytes(body.read())
        except Unanswered:
            return  # the log and the reason are worth having without it

    def _appear(self) -> None:
        with explained(str(self._folder)):
            self._run.rename(self._folder)
            shutil.rmtree(self._staging / "objects", ignore_errors=True)


def _shown(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's description without secrets in what its end is told by."""
    shown = dict(told)
    if "FailureReason" in told:
        shown["FailureReason"] = redacted(told["FailureReason"])
    if "SecondaryStatusTransitions" in told:
        shown["SecondaryStatusTransitions"] = [
            {**one, "StatusMessage": redacted(one.get("StatusMessage", ""))}
            for one in told["SecondaryStatusTransitions"]
        ]
    return shown


def _text(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _is_model(name: str) -> bool:
    return name == "model.tar.gz" or name.startswith("model/")


@contextmanager
def _held(staging: Path) -> Iterator[Path]:
    """Hold the folder of a job's fetch that no other process uses meanwhile; an empty one is removed."""
    with explained(str(staging)):
        staging.mkdir(parents=True, exist_ok=True)
        with (staging / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield staging
            (staging / "lock").unlink(missing_ok=True)
    _remove_empty(staging)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # something is left in it, or it was never made
        folder.rmdir()


def still_running(row: Row, options: str) -> Problem:
    """Make the problem of a single job that has not ended. options: as of `Overview`."""
    what = f"has not ended: {state_text(row)}"
    fix = f"{program('wait')} {row.name}{options} && {program('fetch')} {row.name}{options}"
    return Problem(row.name, what, fix, check="job-not-ended")
