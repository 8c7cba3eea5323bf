"""Training jobs as SageMaker describes them: their requests, statuses and results.

Nothing runs here: the driver reports what happens, and the service is asked what has happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from lingotune.launch.render.service_model import mistakes

Fields = dict[str, Any]
"""Request to SageMaker, answer of it, or an object in one, in the form of its API."""
STATUS = {
    "Stopping": "Stopping",
    "Stopped": "Stopped",
    "MaxRuntimeExceeded": "Stopped",
    "Completed": "Completed",
    "Failed": "Failed",
}
"""Secondary status -> status; for all others it is InProgress."""
ENDS = ("Stopped", "MaxRuntimeExceeded", "Completed", "Failed")
"""Final secondary statuses."""


class Refusal(Exception):
    """Error of the service: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Job:
    """One training job. Times are seconds since 1970."""

    request: Fields
    arn: str
    created: float = field(default_factory=time.time)
    secondary: str = ""
    transitions: list[Fields] = field(default_factory=list)
    stop_asked: bool = False
    started: float | None = None
    ended: float | None = None
    results: Fields = field(default_factory=dict)

    @property
    def name(self) -> str:
        """TrainingJobName."""
        name: str = self.request["TrainingJobName"]
        return name

    @property
    def status(self) -> str:
        """TrainingJobStatus; a job that was asked to stop is Stopping until it has ended."""
        if self.stop_asked and not self.over:
            return "Stopping"
        return STATUS.get(self.secondary, "InProgress")

    @property
    def over(self) -> bool:
        """True once the job has ended."""
        return self.secondary in ENDS

    def enter(self, secondary: str, message: str) -> None:
        """Enter a secondary status; instances are billed from Downloading to the end."""
        now = time.time()
        if self.transitions:
            self.transitions[-1]["EndTime"] = now
        if secondary == "Downloading":
            self.started = now
        entry = {"Status": secondary, "StartTime": now, "StatusMessage": message}
        if secondary in ENDS:
            self.ended = entry["EndTime"] = now
        self.transitions.append(entry)
        self.secondary = secondary

    def end(self, secondary: str, message: str, **results: Any) -> None:
        """Enter the last status, with fields for DescribeTrainingJob from then on."""
        self.results |= results
        self.enter(secondary, message)

    def describe(self) -> Fields:
        """Build the answer of DescribeTrainingJob: the request, and its outcome so far."""
        asked = {key: value for key, value in self.request.items() if key != "Tags"}
        times: Fields = {"CreationTime": self.created}
        times["LastModifiedTime"] = self.transitions[-1]["StartTime"]
        if self.started is not None:
            times["TrainingStartTime"] = self.started
            if self.ended is not None:
                billed = math.ceil(self.ended - self.started)
                times |= {"TrainingEndTime": self.ended, "TrainingTimeInSeconds": billed}
                times["BillableTimeInSeconds"] = billed
        return {
            **asked,
            "TrainingJobArn": self.arn,
            "TrainingJobStatus": self.status,
            "SecondaryStatus": "Stopping" if self.status == "Stopping" else self.secondary,
            "SecondaryStatusTransitions": [dict(entry) for entry in self.transitions],
            **times,
            **self.results,
        }

    def summary(self) -> Fields:
        """Build the job's entry in the answer of ListTrainingJobs."""
        told = self.describe()
        names = (
            "TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "SecondaryStatus",
            "CreationTime", "LastModifiedTime", "TrainingEndTime",
        )  # fmt: skip
        return {name: told[name] for name in names if name in told}


class Jobs:
    """All jobs of an account and region, in the order in which they were accepted."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = Lock()

    def create(self, request: Fields, region: str) -> Job:
        """Accept a request; Refusal if it violates SageMaker's model, or the name is taken."""
        found = mistakes(dict(request))
        if found:
            told = "; ".join(f"Value {m.value!r} at '{m.path}' {m.what}" for m in found)
            count = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
            raise Refusal("ValidationException", f"{count}: {told}")
        name = request["TrainingJobName"]
        account = request["RoleArn"].split(":")[4]
        arn = f"arn:aws:sagemaker:{region}:{account}:training-job/{name.lower()}"
        with self._lock:
            if name in self._jobs:
                message = (
                    "Training job names must be unique within an AWS account and region, and a "
                    f"training job with this name already exists ({arn})"
                )
                raise Refusal("ResourceInUse", message)
            job = Job(request, arn)
            job.enter("Starting", "Waiting for a machine")
            self._jobs[name] = job
        return job

    def get(self, name: str) -> Job:
        """Find a job by its name; Refusal if there is none."""
        try:
            return self._jobs[name]
        except KeyError:
            raise Refusal("ValidationException", "Requested resource not found.") from None

    def stop(self, name: str) -> None:
        """Ask a job to stop; Refusal if it has ended."""
        job = self.get(name)
        if job.over:
            message = f"The request was rejected because the training job is in status {job.status}"
            raise Refusal("ValidationException", f"{message}.")
        job.stop_asked = True

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def waiting(self) -> Job | None:
        """Find the first job that has not been started."""
        return next((job for job in self if len(job.transitions) == 1), None)
