"""Jobs of a sweep in an AWS Batch queue, which starts them as its capacity allows without a controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lingotune.launch.aws.connection import Account
from lingotune.launch.aws.faults import Fault, fault_of, said_by
from lingotune.launch.render.training_job import TrainingJob
from lingotune.launch.sweeps.sagemaker import SageMaker
from lingotune.launch.sweeps.trial import Evaluation, JobState, State, Trial, Unsure

_STATES = {"SUCCEEDED": State.completed, "FAILED": State.failed}
"""Batch's statuses of jobs that have ended; all others wait or run."""


class Queue(SageMaker):
    """Backend of jobs in a queue; by the names that they were put there with."""

    def listing(self) -> dict[str, JobState]:
        """List the queue's jobs whose names begin like the sweep's."""
        return {job.name: job for job in self._jobs(f"{self._stem}*")}

    def describe(self, name: str) -> JobState | None:
        """Look up a job in the queue."""
        return next((job for job in self._jobs(name) if job.name == name), None)

    def stop(self, name: str, *, pruned: bool = False) -> None:
        """Ask the queue to end a job."""
        client = self._account.client("batch")
        for entry in self._entries(name):
            client.terminate_service_job(jobId=entry["jobId"], reason="asked to stop")

    def evaluations(self, name: str) -> Sequence[Evaluation]:
        """Return nothing: the training job has another name than the one in the queue."""
        return []

    def _jobs(self, wanted: str) -> list[JobState]:
        return [_state_of(entry) for entry in self._entries(wanted)]

    def _entries(self, wanted: str) -> list[Mapping[str, Any]]:
        asked = {
            "jobQueue": self._account.aws.queue,
            "filters": [{"name": "JOB_NAME", "values": [wanted]}],
        }
        found: list[Mapping[str, Any]] = []
        try:
            for page in (
                self._account.client("batch").get_paginator("list_service_jobs").paginate(**asked)
            ):
                found += page["jobSummaryList"]
        except self._errors as error:
            if fault_of(error) is Fault.lost:
                raise Unsure(said_by(error)) from error
            raise self._no_answer(error) from error
        return found


def backend_of(
    account: Account,
    stem: str,
    since: float,
    job_of: Callable[[Trial, int], TrainingJob] | None = None,
    anew: int = 1,
) -> SageMaker:
    """Make the backend of a sweep's jobs: SageMaker, or the queue in front of it.

    job_of, stem, since, anew: as of `SageMaker`; without job_of it starts none.
    """

    def none(trial: Trial, attempt: int) -> TrainingJob:
        raise AssertionError("this backend only looks")

    kind = Queue if account.aws.queue else SageMaker
    return kind(account, job_of or none, stem, since, anew)


def _state_of(entry: Mapping[str, Any]) -> JobState:
    created, started, ended = (
        entry[key] / 1000 if entry.get(key) else None
        for key in ("createdAt", "startedAt", "stoppedAt")
    )
    return JobState(
        entry["jobName"], _STATES.get(entry["status"], State.running), entry["status"],
        entry.get("statusReason", ""), created, started, ended,
    )  # fmt: skip
