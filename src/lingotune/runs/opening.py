"""Opening a run folder: one process trains in it, and its job file says what."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lingotune.config.console import say
from lingotune.config.jobfile import digest_in, dump_job, is_intact, load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.runs.folder import Folders
from lingotune.runs.remake import job_copies
from lingotune.system.files import replace_file, unused

Changes = Callable[[JobConfig, JobConfig], tuple[list[str], str]]
"""What makes two jobs different runs, as texts, and what would make them the same."""


@contextmanager
def opened(folders: Folders, job: JobConfig, changes: Changes) -> Iterator[None]:
    """Make the folders, write the job file, and lock them for this process until the block ends.

    A run that goes on with other machines gets its new job file; the one of before is kept beside it. So is
    a file that is damaged. ConfigError if the folders belong to another run, or another process is training
    in them.
    """
    for folder in (folders.run, folders.model, folders.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    path, content = folders.run / JOB_FILE, dump_job(job)
    with path.open("ab") as file:  # the lock ends with the process, even if it is killed
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            what = "another process is training in this folder"
            raise ConfigError([Problem(str(folders.run), what, "wait for it, or end it")]) from None
        there = path.read_bytes()
        if there != content:
            _keep_old(path, there, job, changes)
            _rewrite(file, content)
        yield


def _rewrite(file: IO[bytes], content: bytes) -> None:
    file.truncate(0)
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _keep_old(path: Path, there: bytes, job: JobConfig, changes: Changes) -> None:
    """Keep a job file that is about to be replaced, unless it is the beginning of the new one.

    ConfigError if it is that of another run.
    """
    if dump_job(job).startswith(there):  # a start that was killed
        return
    try:
        before = load_job(path)[0]
    except ConfigError as error:
        if is_intact(there):  # another version's
            raise _another(path, there, job, [], "") from None
        kept = unused(path.with_name(f"{JOB_FILE}.damaged"))
        say(f"warning: {path} {error.problems[0].what}; it is kept as {kept.name}")
    else:
        found, fix = changes(before, job)
        if found:
            raise _another(path, there, job, found, fix)
        kept = unused(path.with_name(f"job-{digest_in(there)[:12]}.yaml"))
        say(f"the run goes on with other machines; its job of before is kept as {kept.name}")
    replace_file(kept, there)


def _another(path: Path, there: bytes, job: JobConfig, changes: list[str], fix: str) -> ConfigError:
    what = (
        f"is the folder of job {digest_in(there)[:12]}; this is job {digest_in(dump_job(job))[:12]}"
    )
    what += f": {'; '.join(changes)}" if changes else ""
    other = f"--job {path}, or another --run-dir"
    return ConfigError([Problem(str(path.parent), what, fix or other)])


def job_in(folders: Folders, job: JobConfig, changes: Changes) -> JobConfig:
    """Return the job of the run in a folder if it differs from this one in its machines only; else this."""
    try:
        before = load_job(folders.run / JOB_FILE)[0]
    except ConfigError:
        return job
    return job if changes(before, job)[0] else before


def recovered(file: Path, why: str) -> tuple[JobConfig, str] | None:
    """Load a copy of a run's job file that is damaged or was edited; None if there is no whole copy, or the
    file is no run's.

    why: what is wrong with the file.
    """
    copies = job_copies(file.parent) if file.name == JOB_FILE else ()
    for copy in copies:
        try:
            found = load_job(copy)
        except ConfigError:
            continue
        say(f"warning: {file} {why}; its copy {copy} is used")
        return found
    return None
