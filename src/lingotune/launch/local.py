"""Training on this machine: in this process, or in one per rank."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lingotune.config.jobfile import dump_job
from lingotune.config.problems import (
    INTERRUPTED,
    PEER_LOST,
    PREEMPTED,
    ConfigError,
    Preempted,
    Problem,
    PublishError,
    errors_only,
)
from lingotune.config.schema import JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.data.loader.open_store import open_store
from lingotune.estimate.batch import world_size
from lingotune.hub.publish import command_of, not_published
from lingotune.launch.local_processes import run_ranks
from lingotune.launch.plan.base_model import model_faults
from lingotune.launch.render.local_command import MODULE
from lingotune.plugins.source import find_source
from lingotune.runs.folder import new_run_folder, resume_command, write_command
from lingotune.serving.teacher import teacher_of
from lingotune.system.files import replace_file
from lingotune.training import failure

_STARTED = "job.started.yaml"
"""The job of a run that goes on, until its processes have opened its folder."""


def train_here(
    job: JobConfig,
    *,
    runs_dir: str,
    prepared_dir: str,
    data: str | None = None,
    run_dir: str | None = None,
    typed: str = "",
    tell: Callable[[str], None] = print,
    quiet: bool = False,
) -> Path:
    """Train a job; returns its run folder, a new one in `runs_dir` by default.

    data: folder of prepared data; None = prepare it in `prepared_dir`, unless it is there. run_dir: the
    folder of a run that goes on, or that is made. typed: the
    command line, to be kept in the run folder. tell: prints lines about the data of several processes.
    quiet: keep several processes from printing. ConfigError for problems that the user can fix,
    PublishError if the model was trained but could not be published.
    """
    wrong = errors_only(model_faults(job.model))
    if wrong:
        raise ConfigError(wrong)
    if world_size(job.cluster) == 1:
        from lingotune.training import run as worker  # torch from here on

        with failure.with_stage():
            return worker.run(
                job, run_dir=run_dir, runs_dir=runs_dir, data=data, prepared_dir=prepared_dir,
                typed=typed, code_dirs=[Path(run_dir)] if run_dir else [],
            )  # fmt: skip
    source = find_source(job.code, [Path(run_dir)] if run_dir else [])
    # Report problems of the data here, once, rather than on every rank.
    teacher = teacher_of(job) if data is None else None
    store = open_store(job, data, Path(prepared_dir), tell, teacher)
    folder = Path(run_dir) if run_dir else new_run_folder(job, runs_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_command(typed, folder)
    if source:
        source.keep_in(folder)
    _start_processes(job, folder, store.folder, subprocess.DEVNULL if quiet else None)
    return folder


def _start_processes(job: JobConfig, folder: Path, data: Path, output: int | None) -> None:
    # Each process opens the folder, and refuses one of another run: the job file there stays until then.
    job_file = folder / (JOB_FILE if not (folder / JOB_FILE).exists() else _STARTED)
    replace_file(job_file, dump_job(job))
    command = [sys.executable, *MODULE, "--job", str(job_file)]
    command += ["--run-dir", str(folder), "--data", str(data)]
    code = run_ranks(command, world_size(job.cluster), output)
    (folder / _STARTED).unlink(missing_ok=True)
    if code == PREEMPTED:
        raise Preempted(f"preempted; the same run goes on with: {resume_command(folder)}")
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code and not_published(job, folder):
        what = "the model is trained, but could not be published; the message is above"
        raise PublishError(f"{what}\nnext: {command_of(str(folder))}")
    if code:
        what = f"a process ended with exit code {code}; its message is above"
        goes_on = code == PEER_LOST and (folder / JOB_FILE).exists()
        fix = resume_command(folder) if goes_on else ""
        raise ConfigError([Problem(f"run {folder}", what, fix, code=code)])
