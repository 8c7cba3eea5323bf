"""SageMaker's machines, simulated by the hosts of a rehearsal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any

from lingotune.config.problems import ConfigError
from lingotune.launch.simulator.attempt import Attempt
from lingotune.launch.simulator.container import REASON_LENGTH, Container, lay_out
from lingotune.launch.simulator.loopback.jobs import Job, Jobs
from lingotune.launch.simulator.loopback.logs import LogStream, final_metrics, make_group
from lingotune.launch.simulator.loopback.results import put_results
from lingotune.launch.simulator.loopback.storage import download
from lingotune.launch.simulator.scope import hosts_of

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for a job that is stopped. SageMaker waits 120, in vain: the first
process of its images, as of ours, does not pass the signal on."""
_PAUSE = 0.2
"""Seconds between checks for news."""


@dataclass(frozen=True)
class Machines:
    """Resources that jobs run on.

    s3, logs: boto3 clients of the account, whose services are at `address`. python: of an environment
    with SageMaker's toolkit. ranks: processes per host. variables: override each container's environment.
    folder: parent of each job's folder for its containers.
    """

    s3: Any
    logs: Any
    address: str
    python: Path
    ranks: int
    variables: Mapping[str, str]
    folder: Path


class Driver:
    """Context manager that runs the accepted jobs, one after the other, in a thread."""

    def __init__(self, jobs: Jobs, machines: Machines) -> None:
        self._jobs, self._machines = jobs, machines
        self._closing = Event()
        self._thread = Thread(target=self._work, daemon=True)

    def __enter__(self) -> Driver:
        make_group(self._machines.logs)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._closing.wait(_PAUSE):
            job = self._jobs.waiting()
            if job is None:
                continue
            try:
                _Run(job, self._machines, self._closing).to_its_end()
            except Exception as error:  # the job has to end in any case
                _fail(job, f"InternalServerError: {type(error).__name__}: {error}")


class _Run:
    """Run of one job, from its acceptance to its end."""

    def __init__(self, job: Job, machines: Machines, closing: Event) -> None:
        self._job, self._machines, self._closing = job, machines, closing
        self._folder = machines.folder / job.name
        self._request = job.request

    def to_its_end(self) -> None:
        """Go through all statuses; any failure of the job becomes its FailureReason."""
        job = self._job
        if job.stop_asked:
            job.end("Stopped", "Training job stopped")
            return
        job.enter("Downloading", "Downloading input data")
        try:
            containers = self._lay_out()
        except ConfigError as error:
            _fail(job, f"ClientError: Data download failed: {_message(error)}")
            return
        streams = [
            LogStream(self._machines.logs, job.name, f"algo-{number}")
            for number, _ in enumerate(containers, 1)
        ]
        job.enter("Training", "Training image download completed. Training in progress.")
        end, reason = self._train(containers, streams)
        job.enter("Uploading", "Uploading generated training model")
        results = put_results(
            self._machines.s3, containers, self._folder / "results", with_model=not reason
        )
        definitions = self._request["AlgorithmSpecification"].get("MetricDefinitions", [])
        lines = [line for stream in streams for line in stream.lines]
        results["FinalMetricDataList"] = final_metrics(definitions, lines)
        if reason:
            _fail(job, reason, **results)
        else:
            done = "completed" if end == "Completed" else "stopped"
            job.end(end, f"Training job {done}", **results)

    def _lay_out(self) -> list[Container]:
        s3, request = self._machines.s3, self._request
        found: dict[str, bytes | Path] = {}
        for channel in request.get("InputDataConfig", []):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            found |= download(s3, uri, self._folder / "s3" / channel["ChannelName"])
        restored = self._folder / "s3-checkpoints"
        if "CheckpointConfig" in request:
            download(s3, request["CheckpointConfig"]["S3Uri"], restored)
        hosts = hosts_of(request)
        return [
            lay_out(
                request, found, self._folder / f"host-{number}", hosts=hosts, current_host=host,
                checkpoints=restored if restored.exists() else None,
            )
            for number, host in enumerate(hosts, 1)
        ]  # fmt: skip

    def _train(self, containers: list[Container], streams: list[LogStream]) -> tuple[str, str]:
        """Train; returns the last status, and the FailureReason if the job failed."""
        machines = self._machines
        limit = time.monotonic() + self._request["StoppingCondition"]["MaxRuntimeInSeconds"]
        end = "Completed"
        try:
            with Attempt(
                containers, machines.python, machines.ranks, machines.variables,
                on_line=lambda host, line: streams[host].add(line), address=machines.address,
            ) as attempt:  # fmt: skip
                while not attempt.over and end == "Completed":
                    if self._job.stop_asked or self._closing.is_set():
                        end = "Stopped"
                    elif time.monotonic() > limit:
                        end = "MaxRuntimeExceeded"
                    for stream in streams:
                        stream.flush()
                    time.sleep(_PAUSE)
                if end != "Completed":
                    attempt.end(GRACE)
                    return end, ""
                reason = attempt.failure_reason()
        except ConfigError as error:  # hosts that cannot connect on one machine
            reason = f"ClientError: {_message(error)}"
        finally:
            for stream in streams:
                stream.flush()
        return ("Failed" if reason else end), reason or ""


def _fail(job: Job, reason: str, **results: Any) -> None:
    job.end("Failed", "Training job failed", FailureReason=reason[:REASON_LENGTH], **results)


def _message(error: ConfigError) -> str:
    return "; ".join(f"{problem.where}: {problem.what}" for problem in error.problems)
