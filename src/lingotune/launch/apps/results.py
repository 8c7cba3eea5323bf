"""Results of an application's jobs: what they returned, or why they failed, and their output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from omegaconf import OmegaConf

from lingotune.config.problems import ConfigError
from lingotune.launch.apps.jobs import AppJob, task_config
from lingotune.launch.apps.worker_main import RETURNED
from lingotune.launch.aws.connection import Account
from lingotune.launch.aws.output import JobOutput
from lingotune.launch.sweeps.ledger import TrialRecord
from lingotune.launch.sweeps.trial import State

_TRACE = 12
"""Last lines of the worker's traceback that are shown."""


class JobFailed(CompactHydraException):
    """A job has not completed; the text says why, and is all that Hydra prints."""


def fetch(account: Account, name: str, job: AppJob, staging: Path, most_mb: float) -> list[str]:
    """Bring a job's output into its folder, or say where it lies; returns lines for people.

    The file with the return value comes in any case. ConfigError if AWS refuses.
    """
    uri = f"s3://{account.aws.bucket}/{account.aws.prefix}/output/{name}/output"
    output = JobOutput(account.client("s3"), uri, staging)
    size = output.bytes / 1e6
    lines = []
    if size > most_mb:
        lines = [
            f"output of {name}: {size:.0f} MB, more than fetch_mb={most_mb:g}:",
            f"  aws s3 cp --recursive {uri} {job.output_dir}",
        ]
        output.objects = [one for one in output.objects if one.name.endswith(RETURNED)]
    output.fetch(job.output_dir, lambda line: None)
    return lines


def told_by(job: AppJob) -> dict[str, Any] | None:
    """Read what the job has written about its end; None if it has written nothing."""
    try:
        told = json.loads((job.output_dir / RETURNED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def job_return(job: AppJob, record: TrialRecord, why_not: str) -> JobReturn:
    """Make what Hydra's sweepers read. why_not: why the job was not started, if it was not."""
    made = JobReturn()
    made.cfg = task_config(job.config)
    made.hydra_cfg = OmegaConf.masked_copy(job.config, "hydra")
    made.overrides = list(job.overrides)
    made.working_dir = str(job.output_dir)
    made.task_name = str(job.config.hydra.job.name)
    told = told_by(job) or {}
    if record.state is State.completed and "error" not in told:
        made.status, made.return_value = JobStatus.COMPLETED, told.get("value")
        return made
    made.status = JobStatus.FAILED
    made.return_value = JobFailed(_why(job, record, told, why_not))
    return made


def _why(job: AppJob, record: TrialRecord, told: dict[str, Any], why_not: str) -> str:
    name = record.last.name if record.last else record.trial.name
    head = f"job {job.number} ({name}) "
    if record.last is None:
        return f"{head}was not started: {why_not}"
    trace = str(told.get("traceback", "")).rstrip().splitlines()[-_TRACE:]
    reason = told.get("error") or record.last.job.reason or record.last.job.secondary
    lines = [f"{head}{record.state.value}: {reason}", *(f"    {line}" for line in trace)]
    retry = "stopped" if record.state is State.stopped else "failed"
    lines.append(f"    its output: {job.output_dir}; started again by hydra.launcher.retry={retry}")
    return "\n".join(lines)


def error_of_fetch(error: ConfigError) -> str:
    """Write why an output could not be fetched, in a line."""
    return "; ".join(f"{p.where}: {p.what}" for p in error.problems)
