"""`lingotune train`: composes and checks every job, then trains them as a worker does."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

from lingotune.config.console import Parser, say
from lingotune.config.jobfile import job_of
from lingotune.config.private_files import allow_readers
from lingotune.config.problems import ConfigError, Problem, errors_only, format_problems
from lingotune.config.program import program
from lingotune.config.quoting import override_text
from lingotune.config.schema import (
    JobConfig,
    LaunchConfig,
    Resume,
    Source,
    SweepConfig,
    split_seed,
)
from lingotune.data.prepared.manifest import load_manifest
from lingotune.data.splits.readers import readers_of
from lingotune.data.transfer import fetch_sources
from lingotune.estimate.batch import world_size
from lingotune.launch.checks.sweep import SWEEP
from lingotune.launch.compose.compose import Composed
from lingotune.launch.compose.config_dirs import shipped_dir
from lingotune.launch.compose.help import Command
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.local import train_here
from lingotune.launch.local_sweep import sweep_here
from lingotune.launch.plan.base_model import model_faults
from lingotune.launch.results.ending import try_command
from lingotune.preflight import check_job, check_secrets
from lingotune.preflight.registry import changed
from lingotune.system.lean_imports import allow_lean
from lingotune.training import signals
from lingotune.training.run import is_worker
from lingotune.training.trackers import missing_trackers

PURPOSE = "Train on this machine: one config, the embedded sample by default."

WITH_A_JOB_FILE = {
    "--run-dir DIR": "the run folder, a new one or that of a killed run that goes on; default: a new"
    " one in runs/",
    "--data DIR": "with --job FILE alone: the folder of prepared data",
    "--prepared-dir DIR": "with --job FILE alone: where data is prepared that has not been yet",
}
_OF_SAGEMAKER = ("retries", "code")
"""Settings of a sweep that are about faults of AWS, and about code in S3."""
_INSTEAD = {"--data": "data.prepared", "--prepared-dir": "prepared_dir"}


def main(argv: Sequence[str]) -> int:
    """Train every job that was typed, one after the other, or the one of a job file."""
    if is_worker(argv, os.environ):
        from lingotune.training.run import main as run

        return run(argv)
    run_dir, words = _run_dir(argv)
    composed = composed_jobs(words, command(), shipped_dir(), check_train)
    _check_run_dir(run_dir, composed[0])
    if composed[0].config_dir:
        print(f"group files of your own: {composed[0].config_dir}", flush=True)
    allow_readers(composed[0].config.runs_mode)
    typed = shlex.join([*shlex.split(program("train")), *argv])
    _check_sources(composed)
    if composed[0].space is not None:
        for one in composed:
            if one.findings:
                print(f"{one.typed}\n{format_problems(one.findings)}")
        return sweep_here(composed, typed)
    folder = _train(composed[0], typed, run_dir)
    print("look further:")
    print(f"  tensorboard --logdir {folder}")
    print(f"  {try_command(str(folder), composed[0].config)}")
    return 0


def command() -> Command:
    """Describe the command, for its help; settings of the launch only have no effect on it."""
    sections = [field.name for field in fields(JobConfig)]
    sections += ["experiment", "sweep", "runs_dir", "prepared_dir", "runs_mode"]
    return Command(program("train"), PURPOSE, sections, WITH_A_JOB_FILE, _INSTEAD)


def check_train(config: LaunchConfig) -> list[Problem]:
    """Check a job for this machine, for which launch settings have no effect."""
    problems = [*check_job(job_of(config)), *check_secrets(config), *SWEEP.run(config)]
    problems += missing_trackers(config.training.report_to)
    if config.cluster.instance_type is not None:
        where = f"cluster={config.cluster.name}"
        what = f"{program('train')} trains on this machine"
        problems.append(Problem(where, what, f"{program('launch')} {where}, or cluster=local"))
    launch_only = [key for key, _ in changed(config, "launch")]
    launch_only += [f"sweep.{key}" for key in _OF_SAGEMAKER if _is_set(config.sweep, key)]
    launch_only += [f"cluster.{key}" for key, _ in changed(config.cluster, "launch")]
    for key in launch_only:
        what = f"has no effect in {program('train')}"
        problems.append(Problem(key, what, program("launch"), key=key))
    return problems


def _is_set(sweep: SweepConfig, key: str) -> bool:
    return bool(getattr(sweep, key) != getattr(SweepConfig(), key))


def _check_sources(composed: Sequence[Composed]) -> None:
    """Look for the files and models of every job of a sweep, then prepare the data of every job.

    ConfigError lists all that is wrong, before the first job is started.
    """
    if len(composed) == 1:  # it says so itself, when it reads them
        return
    distinct: list[tuple[object, ...]] = []
    asked = []
    for one in composed:  # a sweep over learning rates has one source and one model
        config = one.config
        about = (
            config.data, config.model, config.distillation, split_seed(config), config.prepared_dir,
        )  # fmt: skip
        if about not in distinct:
            distinct.append(about)
            asked.append(one)
    for question in (_look_for_sources, _prepare_data):
        problems: list[Problem] = []
        for one in asked:
            try:
                problems += question(one)
            except ConfigError as error:
                problems += error.problems
        if errors_only(problems):
            raise ConfigError(problems, "no job was started; mend, then start again")


def _look_for_sources(one: Composed) -> list[Problem]:
    data, problems = one.config.data, model_faults(one.config.model)
    try:
        if data.prepared is not None and not data.prepared.startswith("s3://"):
            load_manifest(Path(data.prepared))
        elif data.prepared is None:
            fetch_sources(data, say)
            readers_of(data)
    except ConfigError as error:
        problems += error.problems
    return problems


def _prepare_data(one: Composed) -> list[Problem]:
    """Prepare a job's data where it will look for them: rows may be wrong in files that are there."""
    from lingotune.serving.teacher import prepare_job

    job, config = job_of(one.config), one.config
    if config.data.prepared is None and job.data.source is not Source.sample:
        prepare_job(job, Path(config.prepared_dir), say, trains=True)
    return []


def _run_dir(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take the run folder out of the words of a command."""
    parser = Parser(program("train"), allow_abbrev=False, add_help=False)
    parser.add_argument("--run-dir")
    found, words = parser.parse_known_args(list(argv))
    return found.run_dir, words


def _check_run_dir(run_dir: str | None, one: Composed) -> None:
    """Refuse one folder for many runs, and `resume` without the folder that it is about."""
    mode = one.config.resume
    if run_dir is not None and one.space is not None:
        what = "is the folder of one run; a sweep makes a folder for each"
        fix = override_text("runs_dir", run_dir)
        raise ConfigError([Problem(f"--run-dir {run_dir}", what, fix)])
    if run_dir is None and mode is not Resume.auto:
        what = "is about the checkpoints in a run folder, and this run gets a new one"
        fix = f"--job RUN/job.yaml --run-dir RUN resume={mode.value}"
        raise ConfigError([Problem(f"resume={mode.value}", what, fix)])


def _train(one: Composed, typed: str, run_dir: str | None) -> Path:
    job = job_of(one.config)
    if one.findings:
        print(format_problems(one.findings))
    allow_lean(job, job.model.name_or_path)
    with signals.armed(0) if world_size(job.cluster) == 1 else nullcontext():
        return train_here(
            job,
            runs_dir=one.config.runs_dir,
            prepared_dir=one.config.prepared_dir,
            data=one.config.data.prepared,
            run_dir=run_dir,
            typed=typed,
        )
