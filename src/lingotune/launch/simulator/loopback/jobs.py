"""Training jobs as SageMaker describes them: their requests, statuses and results.

Nothing runs here: the driver reports what happens, and the service is asked what has happened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Condition, Event, RLock
from typing import Any

from lingotune.launch.render.service_model import mistakes
from lingotune.launch.simulator.capacity import contradictions
from lingotune.launch.simulator.container import REASON_LENGTH
from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.refusal import Refusal

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
_PAUSE = 0.2
"""Seconds between looks whether to leave."""


@dataclass
class Job:
    """One training job. Times are seconds since 1970. Threads may share it.

    selected: instance type and count that it got of a list, as DescribeTrainingJob tells them.
    """

    request: Fields
    arn: str
    clock: Clock
    created: float
    secondary: str = ""
    transitions: list[Fields] = field(default_factory=list)
    stop_asked_at: float | None = None
    started: float | None = None
    ended: float | None = None
    results: Fields = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    selected: Fields = field(default_factory=dict)
    lock: RLock = field(default_factory=RLock, repr=False)
    stop_event: Event = field(default_factory=Event, repr=False)
    keep: Callable[[Job], None] = field(default=lambda job: None, repr=False)

    @property
    def name(self) -> str:
        """TrainingJobName."""
        name: str = self.request["TrainingJobName"]
        return name

    @property
    def stop_asked(self) -> bool:
        """True once StopTrainingJob has been called."""
        return self.stop_asked_at is not None

    @property
    def status(self) -> str:
        """TrainingJobStatus; a job that was asked to stop is Stopping until it has ended."""
        if self.stop_asked and not self.over:
            return "Stopping"
        return STATUS.get(self.secondary, "InProgress")

    @property
    def modified(self) -> float:
        """Time of its last change of status: seconds since 1970."""
        return max(float(self.transitions[-1]["StartTime"]), self.stop_asked_at or 0.0)

    @property
    def over(self) -> bool:
        """True once the job has ended."""
        return self.secondary in ENDS

    def enter(self, secondary: str, message: str) -> None:
        """Enter a secondary status; instances are billed from Downloading to the end."""
        with self.lock:
            now = self.clock.time()
            if self.transitions:
                self.transitions[-1]["EndTime"] = now
            if secondary == "Downloading":
                self.started = now
            entry = {"Status": secondary, "StartTime": now, "StatusMessage": message}
            if secondary in ENDS:
                self.ended = entry["EndTime"] = now
            self.transitions.append(entry)
            self.secondary = secondary
            self.keep(self)

    def select(self, machine: Fields) -> None:
        """Note which machine of its list it got. machine: ResourceConfig with that alone."""
        if "InstancePreferences" in self.request["ResourceConfig"]:
            with self.lock:
                self.selected = {
                    f"Selected{name}": machine[name] for name in ("InstanceType", "InstanceCount")
                }
                self.keep(self)

    @property
    def held(self) -> Fields:
        """The request, by which its instances count: of a list all, until it has got one of them."""
        if not self.selected:
            return self.request
        resources = {name.removeprefix("Selected"): value for name, value in self.selected.items()}
        return {**self.request, "ResourceConfig": resources}

    def end(self, secondary: str, message: str, **results: Any) -> None:
        """Enter the last status, with fields for DescribeTrainingJob from then on."""
        with self.lock:
            self.results |= results
            self.enter(secondary, message)

    def ask_to_stop(self) -> None:
        """Note that it shall stop; whoever runs it has to end it."""
        with self.lock:
            if self.stop_asked_at is None:
                self.stop_asked_at = self.clock.time()
                self.keep(self)
        self.stop_event.set()

    def tag(self, added: Mapping[str, str], removed: Sequence[str] = ()) -> None:
        """Change its tags."""
        with self.lock:
            kept = {key: value for key, value in self.tags.items() if key not in removed}
            self.tags = {**kept, **added}
            self.keep(self)

    def state(self) -> Fields:
        """Return everything that is known of it, as values of JSON; `Jobs.restore` takes it."""
        return {name: getattr(self, name) for name in _STATE}

    def sleep(self, seconds: float, closing: Callable[[], bool]) -> bool:
        """Sleep for seconds of its clock, less if it is asked to stop or `closing`; returns True then."""
        end = self.clock.time() + seconds
        while not closing():
            left = (end - self.clock.time()) / self.clock.speed
            if left <= 0:
                return self.stop_asked
            if self.stop_event.wait(min(left, _PAUSE)):
                return True
        return True

    def fail(self, reason: str, **results: Any) -> None:
        """End as failed, with a FailureReason."""
        self.end("Failed", "Training job failed", FailureReason=reason[:REASON_LENGTH], **results)

    def describe(self) -> Fields:
        """Build the answer of DescribeTrainingJob: the request, and its outcome so far."""
        with self.lock:
            asked = {key: value for key, value in self.request.items() if key != "Tags"}
            asked["ResourceConfig"] = {**asked["ResourceConfig"], **self.selected}
            return {
                **asked,
                "TrainingJobArn": self.arn,
                "TrainingJobStatus": self.status,
                "SecondaryStatus": "Stopping" if self.status == "Stopping" else self.secondary,
                "SecondaryStatusTransitions": [dict(entry) for entry in self.transitions],
                **self._times(),
                **self.results,
            }

    def _times(self) -> Fields:
        times: Fields = {"CreationTime": self.created}
        times["LastModifiedTime"] = self.modified
        if self.started is not None:
            times["TrainingStartTime"] = self.started
            if self.ended is not None:
                billed = math.ceil(self.ended - self.started)
                times |= {"TrainingEndTime": self.ended, "TrainingTimeInSeconds": billed}
                times["BillableTimeInSeconds"] = billed
        return times

    def summary(self) -> Fields:
        """Build the job's entry in the answer of ListTrainingJobs."""
        told = self.describe()
        names = (
            "TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "SecondaryStatus",
            "CreationTime", "LastModifiedTime", "TrainingEndTime",
        )  # fmt: skip
        return {name: told[name] for name in names if name in told}


_STATE = (
    "request", "arn", "created", "secondary", "transitions", "stop_asked_at", "started", "ended",
    "results", "tags", "selected",
)  # fmt: skip


class Jobs:
    """All jobs of an account and region, in the order in which they were accepted.

    clock: tells the times of everything that happens. quotas: on instances at a time. refused: time,
    name and error code of each job that was not accepted. keep: called with a job after each change of it.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        quotas: Quotas | None = None,
        keep: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self.clock, self.quotas, self._keep = clock or Clock(), quotas or Quotas(), keep
        self.refused: list[tuple[float, str, str]] = []
        self._jobs: dict[str, Job] = {}
        self._waiting: list[Job] = []
        self._changed = Condition()

    def create(self, request: Fields, region: str) -> Job:
        """Accept a request; Refusal if it is invalid, its name is taken or it exceeds a quota."""
        try:
            return self._create(request, region)
        except Refusal as refusal:
            name = str(request.get("TrainingJobName"))
            self.refused.append((self.clock.time(), name, refusal.code))
            raise

    def _create(self, request: Fields, region: str) -> Job:
        found = mistakes(dict(request))
        if found:
            told = "; ".join(f"Value {m.value!r} at '{m.path}' {m.what}" for m in found)
            count = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
            raise Refusal("ValidationException", f"{count}: {told}")
        for contradiction in contradictions(request):
            raise Refusal("ValidationException", contradiction)
        name = request["TrainingJobName"]
        account = request["RoleArn"].split(":")[4]
        arn = f"arn:aws:sagemaker:{region}:{account}:training-job/{name.lower()}"
        with self._changed:
            if name in self._jobs:
                message = (
                    "Training job names must be unique within an AWS account and region, and a "
                    f"training job with this name already exists ({arn})"
                )
                raise Refusal("ResourceInUse", message)
            self.quotas.check(request, [job.held for job in self if not job.over])
            tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
            job = Job(request, arn, self.clock, self.clock.time(), tags=tags, keep=self._keep)
            job.enter("Starting", "Waiting for a machine")
            self._jobs[name] = job
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def restore(self, state: Fields) -> Job:
        """Add a job of an earlier account, from its `state`."""
        job = Job(**state, clock=self.clock, keep=self._keep)
        if job.stop_asked:
            job.stop_event.set()
        self._jobs[job.name] = job
        return job

    def get(self, name: str) -> Job:
        """Find a job by its name; Refusal if there is none."""
        try:
            return self._jobs[name]
        except KeyError:
            raise Refusal("ValidationException", "Requested resource not found.") from None

    def by_arn(self, arn: str) -> Job:
        """Find a job by its ARN; Refusal if there is none."""
        for job in self:
            if job.arn == arn:
                return job
        raise Refusal("ValidationException", f"Could not find resource {arn}.")

    def stop(self, name: str) -> None:
        """Ask a job to stop; Refusal if it has ended."""
        job = self.get(name)
        with job.lock:
            if job.over:
                message = "The request was rejected because the training job is in status"
                raise Refusal("ValidationException", f"{message} {job.status}.")
            job.ask_to_stop()

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def next_waiting(self, timeout: float) -> Job | None:
        """Take the first job that nobody has taken; None if none comes within `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), timeout)
            return self._waiting.pop(0) if self._waiting else None

    def end_stopped(self) -> None:
        """End the jobs that were asked to stop before anybody has taken them."""
        with self._changed:
            stopped = [job for job in self._waiting if job.stop_asked]
            self._waiting = [job for job in self._waiting if not job.stop_asked]
        for job in stopped:
            job.end("Stopped", "Training job stopped")
