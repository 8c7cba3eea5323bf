"""Stopping training jobs."""

from __future__ import annotations

from enum import Enum

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.launch.aws.account.calls import Calls, Unanswered
from lingotune.launch.aws.faults import Fault, error_of, errors, fault_of, said_by


class Stop(Enum):
    """Answer to a stop. over: the job had ended before it came."""

    asked = "asked"
    over = "over"


def stop_job(calls: Calls, name: str) -> Stop:
    """Ask SageMaker to stop a job; ConfigError if it refuses, or does not answer.

    Where the answer is lost the job is looked at, and asked for once more if it still runs: nothing happens
    to a job that is stopping.
    """
    try:
        return _ask(calls, name)
    except errors() as error:
        if fault_of(error) is not Fault.lost:
            fix = "sagemaker:StopTrainingJob for whoever AWS_PROFILE names; aws sso login"
            raise ConfigError([_problem(name, error, "was not stopped", fix)]) from error
        status = _status(calls, name)
        if status in ("Stopping", "Stopped"):
            return Stop.asked
        if status in ("Completed", "Failed"):
            return Stop.over
        try:
            return _ask(calls, name)
        except errors() as again:
            told = "still runs and bills" if _status(calls, name) == "InProgress" else ""
            told = told or "may still run and bill: whether it was stopped is not known"
            fix = "the same command once more"
            raise ConfigError([_problem(name, again, told, fix)]) from again


def _ask(calls: Calls, name: str) -> Stop:
    try:
        calls.client("sagemaker").stop_training_job(TrainingJobName=name)
        return Stop.asked
    except errors() as error:
        said = error_of(error)
        if said.get("Code") == "ValidationException" and "status" in said.get("Message", ""):
            return Stop.over
        raise


def _status(calls: Calls, name: str) -> str:
    """Ask for the status of a job; '' if there is no answer."""
    try:
        told = calls.ask("sagemaker", "describe_training_job", TrainingJobName=name)
    except Unanswered:
        return ""
    return str(told["TrainingJobStatus"])


def _problem(name: str, error: Exception, told: str, fix: str) -> Problem:
    return Problem(name, f"{told}: {said_by(error)}", fix, check="not-stopped", code=CLOUD_FAILED)
