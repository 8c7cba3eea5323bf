"""Training on this machine: compose, check, then walk the worker's path, once for each job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lingotune.config.jobfile import job_of
from lingotune.config.problems import Problem, Severity, format_problems
from lingotune.config.schema import (
    Action,
    AwsConfig,
    Backend,
    BudgetConfig,
    LaunchConfig,
    Output,
    RehearsalConfig,
)
from lingotune.launch.compose.compose import Composed
from lingotune.launch.compose.config_dirs import shipped_dir
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.local import train_here
from lingotune.preflight import check_job
from lingotune.training.trackers import missing_trackers

PURPOSE = "Train on this machine: one config, the embedded sample by default."


def main(argv: Sequence[str]) -> int:
    """Entry of `python train.py key=value ...`."""
    composed = composed_jobs(list(argv), "train.py", PURPOSE, shipped_dir(), check_train)
    results = []
    for number, one in enumerate(composed, 1):
        if len(composed) > 1:
            print(f"\n=== {number} of {len(composed)}: {' '.join(one.overrides)}", flush=True)
        folder = _train(one)
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        results.append((" ".join(one.overrides), metrics, folder))
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


def _train(one: Composed) -> Path:
    job = job_of(one.config)
    warnings = [p for p in check_job(job) if p.severity is Severity.warning]
    if warnings:
        print(format_problems(warnings))
    return train_here(
        job,
        runs_dir=one.config.runs_dir,
        prepared_dir=one.config.prepared_dir,
        data=one.config.data.prepared,
    )


def _print_end(results: Sequence[tuple[str, dict[str, Any], Path]], runs_dir: str) -> None:
    from lingotune.report.tables import sweep_table

    if len(results) > 1:
        print(f"\n{sweep_table(results)}\n")
    best = max(results, key=lambda result: result[1]["test"]["overall"]["macro_f1"])[2]
    where = best if len(results) == 1 else runs_dir
    print("look further:")
    print(f"  tensorboard --logdir {where}")
    print(f'  python -m lingotune predict {best} "Great product, works perfectly"')
