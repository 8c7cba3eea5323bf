"""Stopping training jobs."""

from __future__ import annotations

from enum import Enum

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.aws.account.calls import Calls
from lingotune.launch.aws.faults import Fault, error_of, errors, fault_of, said_by


class Stop(Enum):
    """Answer to a stop. over: the job had ended before it came."""

    asked = "asked"
    over = "over"


def stop_job(calls: Calls, name: str) -> Stop:
    """Ask SageMaker to stop a job; ConfigError if it refuses, or does not answer.

    A stop can be asked for again: nothing happens to a job that is stopping.
    """
    try:
        calls.client("sagemaker").stop_training_job(TrainingJobName=name)
        return Stop.asked
    except errors() as error:
        said = error_of(error)
        if said.get("Code") == "ValidationException" and "status" in said.get("Message", ""):
            return Stop.over
        lost = fault_of(error) is Fault.lost
        fix = "the same command once more: whether it was stopped is not known" if lost else ""
        fix = fix or "sagemaker:StopTrainingJob for whoever AWS_PROFILE names; aws sso login"
        raise ConfigError([Problem(name, said_by(error), fix, check="not-stopped")]) from error
