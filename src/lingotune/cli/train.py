"""Training on this machine: compose, check, then walk the worker's path, once for each job."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.problems import ConfigError, Problem, PublishError, Severity, format_problems
from lingotune.config.schema import (
    Action,
    AwsConfig,
    Backend,
    BudgetConfig,
    JobConfig,
    LaunchConfig,
    Output,
    RehearsalConfig,
)
from lingotune.contract.container import JOB_FILE
from lingotune.data.loader.open_store import open_store
from lingotune.estimate.batch import world_size
from lingotune.hub.publish import command_of, not_published
from lingotune.launch.compose.compose import Composed
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.render.local_command import render_local
from lingotune.preflight import check_job
from lingotune.runs.folder import new_run_folder, read_results
from lingotune.runs.results import RunResults
from lingotune.training.trackers import missing_trackers

PURPOSE = "Train on this machine: one config, the embedded sample by default."


def main(argv: Sequence[str], root: Path) -> int:
    """Entry of `python train.py key=value ...`."""
    composed = composed_jobs(list(argv), "train.py", PURPOSE, root / "conf", check_train)
    results = []
    for number, one in enumerate(composed, 1):
        if len(composed) > 1:
            print(f"\n=== {number} of {len(composed)}: {' '.join(one.overrides)}", flush=True)
        folder = _train(one, root)
        results.append((" ".join(one.overrides), read_results(folder), folder))
    _print_end(results, composed[0].config.runs_dir)
    return 0


def check_train(config: LaunchConfig) -> list[Problem]:
    """What is wrong with a job for this machine, launch settings among it."""
    problems = [*check_job(job_of(config)), *missing_trackers(config.training.report_to)]
    if config.cluster.instance_type is not None:
        where = f"cluster={config.cluster.name}"
        what = "train.py trains on this machine"
        problems.append(Problem(where, what, f"python launch.py {where}, or cluster=local"))
    launch_only = {
        "action": config.action is not Action.plan,
        "output": config.output is not Output.page,
        "budget": config.budget != BudgetConfig(),
        "attempt": config.attempt != 1,
        "job_file": config.job_file is not None,
        "aws": config.aws != AwsConfig(),
        "cluster.backend": config.cluster.backend is not Backend.aws,
        "rehearsal": config.rehearsal != RehearsalConfig(),
    }
    for key, typed in launch_only.items():
        if typed:
            problems.append(Problem(key, "has no effect in train.py", "python launch.py"))
    return problems


def _train(one: Composed, root: Path) -> Path:
    job = job_of(one.config)
    warnings = [p for p in check_job(job) if p.severity is Severity.warning]
    if warnings:
        print(format_problems(warnings))
    data = one.config.data.prepared
    if world_size(job.cluster) == 1:
        from lingotune.training import run as worker

        return worker.run(
            job, runs_dir=one.config.runs_dir, data=data, prepared_dir=one.config.prepared_dir
        )
    # Data problems are told here once, not by every rank.
    store = open_store(job, data, Path(one.config.prepared_dir), print)
    folder = new_run_folder(job, one.config.runs_dir)
    _start_processes(job, folder, store.folder, root)
    return folder


def _start_processes(job: JobConfig, folder: Path, data: Path, root: Path) -> None:
    job_file = folder / JOB_FILE
    job_file.write_bytes(dump_job(job))
    _, *arguments = render_local(job, str(job_file))
    arguments[arguments.index("train.py")] = str(root / "train.py")
    command = [sys.executable, "-m", "torch.distributed.run", *arguments]
    command += ["--run-dir", str(folder), "--data", str(data)]
    code = subprocess.call(command)
    if code and not_published(job, folder):
        what = "the model is trained, but could not be published; the message is above"
        raise PublishError(f"{what}\nnext: {command_of(str(folder))}")
    if code:
        what = f"a process ended with exit code {code}; its message is above"
        raise ConfigError([Problem(f"run {folder}", what)])


def _print_end(results: Sequence[tuple[str, RunResults, Path]], runs_dir: str) -> None:
    from lingotune.report.tables import sweep_table

    if len(results) > 1:
        print(f"\n{sweep_table(results)}\n")
    best = max(results, key=lambda result: result[1].test.overall.macro_f1)[2]
    where = best if len(results) == 1 else runs_dir
    print("look further:")
    print(f"  tensorboard --logdir {where}")
    print(f'  python -m lingotune predict {best} "Great product, works perfectly"')
