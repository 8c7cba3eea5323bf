"""Commands that make again what is missing or damaged in a run folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lingotune.config.jobfile import load_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import JobConfig
from lingotune.config.secret_values import HIDDEN
from lingotune.contract.container import JOB_FILE
from lingotune.runs.folder import (
    CHECKPOINTS,
    COMMAND,
    EXPORT,
    EXPORTS,
    METRICS,
    MODEL,
    moved_away,
    resume_command,
)


def remake_command(folder: Path) -> str:
    """Return the command that makes the files of a run or of its model anew.

    An exported model is exported again. The run goes on from its checkpoints, for which its results must
    not say that it is finished. Without a job file that can be read, that is what has to be mended first.
    """
    run = _run_of(folder)
    if any(run.glob("*.onnx")):
        return _export_again(run)
    try:
        load_job(run / JOB_FILE)
    except ConfigError:
        return restore_command(run)
    metrics = run / METRICS
    again = resume_command(run)
    return f"{moved_away(metrics)} && {again}" if metrics.exists() else again


def _export_again(folder: Path) -> str:
    """Return the command that exports the model of a folder anew, into the same folder."""
    run = folder.parent.parent
    known = folder.parent.name == EXPORTS and (run / MODEL).is_dir()
    try:
        is_int8 = json.loads((folder / EXPORT).read_text(encoding="utf-8"))["quantized"] is True
    except (OSError, ValueError, KeyError, TypeError):
        is_int8 = False
    words = ["format=onnx", *(["quantize=int8"] if is_int8 else []), f"output={folder}"]
    named = shlex.join([str(run), *words]) if known else f"RUN {shlex.join(words)}"
    return f"{moved_away(folder)} && {program('export')} {named}"


def restore_command(run: Path) -> str:
    """Return the command that brings back a run's job file, or else trains what was typed anew."""
    for copy in job_copies(run):
        with suppress(ConfigError):
            load_job(copy)
            return f"cp {shlex.quote(str(copy))} {shlex.quote(str(run / JOB_FILE))}"
    try:
        typed = (run / COMMAND).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        typed = ""
    return typed if typed and HIDDEN not in typed else another_run(run)


def job_copies(run: Path) -> Iterator[Path]:
    """Yield the copies of a run's job file: that of its model, and those in its checkpoints, the newest
    first."""
    if (run / MODEL / JOB_FILE).is_file():
        yield run / MODEL / JOB_FILE
    found = (run / CHECKPOINTS).rglob(f"checkpoint-*/{JOB_FILE}")
    yield from sorted(found, key=lambda path: (len(path.parent.name), path.parent.name))[::-1]


def another_run(folder: Path) -> str:
    """Return the command that lists the finished runs beside a folder or in runs/, or that makes one."""
    for parent in (folder.parent, Path("runs")):
        if any(path != folder / METRICS for path in parent.glob(f"*/{METRICS}")):
            return f"ls -d {shlex.quote(str(parent))}/*/"
    return program("train")


def load_job_of(file: Path) -> tuple[JobConfig, str]:
    """Load a job file that may lie in a run folder; ConfigError tells how it comes back."""
    try:
        return load_job(file)
    except ConfigError as error:
        raise ConfigError(list(_mended(error, file)), error.next_command) from None


def _mended(error: ConfigError, file: Path) -> Iterator[Problem]:
    run = file.parent
    if not ((run / MODEL).is_dir() or (run / COMMAND).is_file()):
        yield from error.problems
        return
    meant = run / JOB_FILE
    is_another = file.name != JOB_FILE and meant.is_file()
    fix = f"--job {shlex.quote(str(meant))}" if is_another else restore_command(run)
    for problem in error.problems:
        yield replace(problem, fix=fix)


def _run_of(folder: Path) -> Path:
    """The run folder of a model's folder; a folder that is no run's is its own."""
    inside = folder.name == MODEL and (folder.parent / JOB_FILE).exists()
    return folder.parent if inside else folder
