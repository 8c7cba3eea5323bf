"""What would run: a job with its numbers, its exact request and everything wrong with it, as text."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.bundle import Bundle
from lingotune.container import JOB_FILE
from lingotune.data.channel import data_digest
from lingotune.data.splits import count_rows
from lingotune.hardware import instances, resolve_image, resolve_precision
from lingotune.jobfile import digest_in, dump_job, job_of
from lingotune.messages import errors_only, format_problems
from lingotune.preflight import check_job, check_submit
from lingotune.render import Names, job_name, render_local, render_sagemaker
from lingotune.scaling import BatchPlan, StepPlan, plan_batches, plan_steps
from lingotune.schema import (
    Action,
    ConfigError,
    JobConfig,
    Lane,
    LaunchConfig,
    Problem,
    Severity,
    Source,
)


@dataclass(frozen=True)
class Plan:
    """One job, ready to be shown or submitted.

    `steps` is None where the number of training rows is not known before the data is read;
    `request` is None where an error keeps the job from being rendered.
    """

    job: JobConfig
    job_file: bytes
    overrides: tuple[str, ...]
    batch: BatchPlan
    steps: StepPlan | None
    problems: tuple[Problem, ...]
    names: Names
    request: dict[str, Any] | None
    command: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """Name of the SageMaker job."""
        return job_name(self.job, self.names)


def check_launch(config: LaunchConfig) -> list[Problem]:
    """What is wrong with the job, or with what was asked of it."""
    job = job_of(config)
    problems = check_job(job)
    if config.runs_dir != LaunchConfig().runs_dir:
        what = "has no effect here: launch.py writes no run folder"
        problems.append(Problem(f"runs_dir={config.runs_dir}", what, "python train.py"))
    if config.attempt < 1:
        problems.append(Problem(f"attempt={config.attempt}", "is out of range", "from 1"))
    if config.action is Action.submit:
        problems += [*check_submit(job), *_submit_needs(config)]
    return problems


def _submit_needs(config: LaunchConfig) -> list[Problem]:
    if config.cluster.instance_type is None:
        return [
            Problem(
                f"action={config.action.value}",
                "cluster=local runs on this machine; there is nothing to submit",
                "cluster=p3_16xl, or python train.py",
            )
        ]
    examples = {
        "role": "arn:aws:iam::111122223333:role/SageMakerRole",
        "bucket": "my-bucket",
    }
    return [
        Problem(f"aws.{key}", "is needed to submit", f"aws.{key}={example}")
        for key, example in examples.items()
        if not getattr(config.aws, key)
    ]


def make_plan(config: LaunchConfig, overrides: Sequence[str], bundle: Bundle) -> Plan:
    """Numbers, names and request of a config that `check_launch` accepted.

    Reads the user's data files (to count and check the rows); ConfigError lists what is wrong there.
    """
    job = job_of(config)
    job_file = dump_job(job)
    problems = check_job(job) + check_submit(job)
    batch = plan_batches(job)
    rows, warnings = count_rows(job.data, job.seed)
    problems += [Problem("data", w, severity=Severity.warning) for w in warnings]
    steps = plan_steps(job, batch, rows["train"]) if rows else None
    names = Names(
        role=config.aws.role or "<aws.role>",
        bucket=config.aws.bucket or "<aws.bucket>",
        prefix=config.aws.prefix,
        job_digest=digest_in(job_file),
        code_digest=bundle.digest,
        data_digest=data_digest(job.data) if job.data.source is Source.files else None,
        attempt=config.attempt,
    )
    local = job.cluster.instance_type is None
    return Plan(
        job,
        job_file,
        tuple(overrides),
        batch,
        steps,
        tuple(problems),
        names,
        request=None if local else render_sagemaker(job, names),
        command=tuple(render_local(job, config.job_file or JOB_FILE)) if local else None,
    )


def write_job_file(plan: Plan, path: str) -> None:
    """Write the job file; ConfigError if the path cannot be written."""
    try:
        Path(path).write_bytes(plan.job_file)
    except OSError as error:
        raise ConfigError([Problem(f"job_file={path}", f"cannot be written: {error}")]) from error


# --- the page -----------------------------------------------------------------------------------


def format_plan(plan: Plan) -> str:
    """The whole plan as plain text: job, arithmetic, machine, findings, arguments, next commands."""
    sections = [
        ("job", _job_lines(plan)),
        ("arithmetic", _arithmetic_lines(plan)),
        ("machines", _machine_lines(plan)),
    ]
    if plan.problems:
        sections.append(("findings", [format_problems(plan.problems)]))
    if plan.request:
        sections.append(
            ("SageMaker HuggingFace estimator, and fit", [json.dumps(plan.request, indent=2)])
        )
    if plan.command:
        sections.append(("command", ["  " + " ".join(plan.command)]))
    sections.append(("next", _next_lines(plan)))
    return "\n\n".join("\n".join([f"{title}:", *lines]) for title, lines in sections)


def format_sweep(plans: Sequence[Plan]) -> str:
    """One line a job: what differs, and the numbers that follow."""
    header = ["job", "lr", "global batch", "steps", "overrides"]
    rows = [
        [
            plan.name,
            f"{plan.batch.learning_rate:.4g}",
            str(plan.batch.global_batch),
            str(plan.steps.total_steps) if plan.steps else "unknown",
            " ".join(_sweep_part(plan, plans)),
        ]
        for plan in plans
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in [header, *rows]]
    return "\n".join(lines)


def _sweep_part(plan: Plan, plans: Sequence[Plan]) -> list[str]:
    return [o for o in plan.overrides if not all(o in other.overrides for other in plans)]


def _job_lines(plan: Plan) -> list[str]:
    text = plan.job_file.decode()
    return ["  " + line for line in text.splitlines()[1:]] + [f"  # sha256 {plan.names.job_digest}"]


def _arithmetic_lines(plan: Plan) -> list[str]:
    lines = [*plan.batch.arithmetic]
    if plan.steps:
        lines += plan.steps.arithmetic
    else:
        lines.append("steps unknown: the number of training rows is known once the data is read")
    return ["  " + line for line in lines]


def _machine_lines(plan: Plan) -> list[str]:
    cluster, precision = plan.job.cluster, plan.job.training.precision
    instance = instances().get(cluster.instance_type or "")
    if instance is None:
        where = f"{cluster.gpus_per_node} GPU(s)" if cluster.gpus_per_node else "CPU"
        return [f"  this machine, {where}, {plan.batch.world_size} process(es)"]
    image = resolve_image(cluster)
    how = "newest that fits" if cluster.image.lane is Lane.auto else "pinned"
    resolved = resolve_precision(precision, instance.capability)
    return [
        f"  {cluster.nodes} x {instance.instance_type}: {instance.gpus} x {instance.gpu}"
        f" {instance.gpu_gib:g} GiB each, {cluster.distribution.value}",
        f"  image: {image} ({how})",
        f"  precision: {resolved.value} ({precision.value})",
        f"  stops at the latest after {cluster.max_run} s (cluster.max_run)",
    ]


def _next_lines(plan: Plan) -> list[str]:
    typed = [o for o in plan.overrides if not o.startswith("action=")]
    if plan.command:
        elsewhere = [o for o in typed if not o.startswith("cluster")]
        return [
            _command("train.py", typed),
            _command("launch.py", [*typed, "job_file=job.yaml"]),
            _command("launch.py", [*elsewhere, "cluster=p3_16xl"]),
        ]
    if errors_only(plan.problems):
        return ["  mend the findings above, then plan again"]
    missing = [key for key in ("role", "bucket") if getattr(plan.names, key).startswith("<")]
    needs = [f"aws.{key}=..." for key in missing]
    lines = [_command("launch.py", [*typed, *needs, "action=submit"])]
    if plan.job.model.name_or_path is None:
        article = "model=distilbert_multilingual"
        lines.append(f"  model=tiny is for debugging; the article's model: {article}")
    return lines


def _command(script: str, overrides: Sequence[str]) -> str:
    return "  " + shlex.join(["python", script, *overrides])
