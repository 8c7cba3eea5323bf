"""Stopping training jobs."""

from __future__ import annotations

from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.aws.faults import Fault, errors, fault_of, said_by


class Stopper:
    """Stops jobs in one region, with this machine's credentials."""

    def __init__(self, region: str) -> None:
        import boto3
        from botocore.config import Config

        retries = Config(retries={"mode": "adaptive", "total_max_attempts": 5})
        self._client = boto3.Session(region_name=region).client("sagemaker", config=retries)

    def stop(self, name: str) -> str:
        """Ask a job to stop; returns its status from then on: Stopping, or the one it has ended with.

        ConfigError if it still runs, or may run, as AWS refused or did not answer.
        """
        try:
            self._client.stop_training_job(TrainingJobName=name)
            return "Stopping"
        except errors() as error:
            status = self._status(name)
            if status not in ("InProgress", "unknown"):
                return status
            raise ConfigError([_not_stopped(name, error)]) from error

    def _status(self, name: str) -> str:
        try:
            told: dict[str, Any] = self._client.describe_training_job(TrainingJobName=name)
            return str(told["TrainingJobStatus"])
        except errors():
            return "unknown"


def _not_stopped(name: str, error: Exception) -> Problem:
    fix = "the same command again; until then it is billed"
    if fault_of(error) is not Fault.lost:
        fix = "credentials that may sagemaker:StopTrainingJob (AWS_PROFILE=...); it is billed on"
    return Problem(name, f"is not stopped: {said_by(error)}", fix, check="not-stopped")
