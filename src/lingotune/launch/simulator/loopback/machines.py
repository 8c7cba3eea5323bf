"""SageMaker's machines, simulated by the hosts of a rehearsal."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from lingotune.config.problems import ConfigError
from lingotune.config.schema import Distribution
from lingotune.launch.simulator.attempt import Attempt
from lingotune.launch.simulator.capacity import NO_CAPACITY, got
from lingotune.launch.simulator.container import Container, distribution_of, lay_out
from lingotune.launch.simulator.loopback.jobs import Fields, Job
from lingotune.launch.simulator.loopback.logs import LogStream, final_metrics, make_group
from lingotune.launch.simulator.loopback.results import put_results
from lingotune.launch.simulator.loopback.storage import download
from lingotune.launch.simulator.scope import hosts_of

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for a job that is stopped. SageMaker waits 120, in vain: the first
process of its images, as of ours, does not pass the signal on."""
_PAUSE = 0.2
"""Seconds between checks for news."""
_LOOKS_FOR = 2.0
"""Seconds for which a machine is looked for where there is none."""
_PORT = Lock()
"""Held by the one job at a time that needs the toolkit's rendezvous port."""
Found = Mapping[str, bytes | Path]
"""s3:// URI -> what lies there."""


@dataclass(frozen=True)
class Share:
    """A job's share of this machine.

    python: of an environment with SageMaker's toolkit. ranks: processes per host. variables: override the
    containers'.
    """

    python: Path
    ranks: int
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Machines:
    """Resources that jobs run on.

    s3, logs: boto3 clients of the account, whose services are at `address`. share: decides on a job by its
    request and the objects of its channels. folder: parent of each job's folder for its containers.
    stopping: seconds that a stop takes at least. full: instance types without capacity.
    """

    s3: Any
    logs: Any
    address: str
    share: Callable[[Fields, Found], Share]
    folder: Path
    stopping: float = 0.0
    full: Collection[str] = ()

    def run(self, job: Job, closing: Callable[[], bool]) -> None:
        """Run a job to its end, which comes soon once `closing` says so."""
        _Run(job, self, closing).to_its_end()


class _Run:
    """Run of one job, from its acceptance to its end."""

    def __init__(self, job: Job, machines: Machines, closing: Callable[[], bool]) -> None:
        self._job, self._machines, self._closing = job, machines, closing
        self._folder = machines.folder / job.name
        self._request = job.request

    def to_its_end(self) -> None:
        """Go through all statuses; any failure of the job becomes its FailureReason."""
        with self._turn() as come:
            if not come:
                self._stopped()
                return
            if not self._got_machine():
                return
            self._job.enter("Downloading", "Downloading input data")
            try:
                share, containers = self._lay_out()
            except ConfigError as error:
                self._job.fail(f"ClientError: Data download failed: {_message(error)}")
                return
            self._run(share, containers)

    def _got_machine(self) -> bool:
        """Wait for a machine; of a list the first that is not full. Returns False if there is none."""
        job, found = self._job, got(self._job.request, self._machines.full)
        if found is not None:
            self._request = found
            job.select(found["ResourceConfig"])
            return True
        job.enter(
            "Pending", "Insufficient capacity error from EC2 while launching instances, retrying!"
        )
        if job.sleep(_LOOKS_FOR, self._closing):
            self._stopped()
        else:
            job.fail(NO_CAPACITY)
        return False

    def _ending(self) -> bool:
        return self._job.stop_asked or self._closing()

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Wait for what only one job at a time can have; yields whether the job is still wanted."""
        if not _meets(got(self._request) or self._request):
            yield not self._ending()
            return
        while not _PORT.acquire(timeout=_PAUSE):
            if self._ending():
                yield False
                return
        try:
            yield not self._ending()
        finally:
            _PORT.release()

    def _stopped(self, **results: Any) -> None:
        job = self._job
        if job.stop_asked_at is not None:
            end = job.stop_asked_at + self._machines.stopping
            while job.clock.time() < end and not self._closing():
                time.sleep(_PAUSE)
        job.end("Stopped", "Training job stopped", **results)

    def _run(self, share: Share, containers: list[Container]) -> None:
        job = self._job
        make_group(self._machines.logs)
        streams = [
            LogStream(self._machines.logs, job.name, f"algo-{number}", job.clock)
            for number, _ in enumerate(containers, 1)
        ]
        job.enter("Training", "Training image download completed. Training in progress.")
        end, reason = self._train(share, containers, streams)
        job.enter("Uploading", "Uploading generated training model")
        results = put_results(
            self._machines.s3, containers, self._folder / "results", with_model=not reason
        )
        definitions = self._request["AlgorithmSpecification"].get("MetricDefinitions", [])
        lines = [line for stream in streams for line in stream.lines]
        results["FinalMetricDataList"] = final_metrics(definitions, lines)
        if reason:
            job.fail(reason, **results)
        elif end == "Stopped":
            self._stopped(**results)
        else:
            done = "completed" if end == "Completed" else "stopped"
            job.end(end, f"Training job {done}", **results)

    def _lay_out(self) -> tuple[Share, list[Container]]:
        s3, request = self._machines.s3, self._request
        found: dict[str, bytes | Path] = {}
        for channel in request.get("InputDataConfig", []):
            uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
            found |= download(s3, uri, self._folder / "s3" / channel["ChannelName"])
        restored = self._folder / "s3-checkpoints"
        if "CheckpointConfig" in request:
            download(s3, request["CheckpointConfig"]["S3Uri"], restored)
        hosts = hosts_of(request)
        containers = [
            lay_out(
                request, found, self._folder / f"host-{number}", hosts=hosts, current_host=host,
                checkpoints=restored if restored.exists() else None,
            )
            for number, host in enumerate(hosts, 1)
        ]  # fmt: skip
        return self._machines.share(request, found), containers

    def _train(
        self, share: Share, containers: list[Container], streams: list[LogStream]
    ) -> tuple[str, str]:
        """Train; returns the last status, and the FailureReason if the job failed."""
        machines = self._machines
        limit = time.monotonic() + self._request["StoppingCondition"]["MaxRuntimeInSeconds"]
        end = "Completed"
        try:
            with Attempt(
                containers, share.python, share.ranks, share.variables,
                on_line=lambda host, line: streams[host].add(line), address=machines.address,
            ) as attempt:  # fmt: skip
                while not attempt.over and end == "Completed":
                    if self._ending():
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


def _meets(request: Fields) -> bool:
    """Tell whether a job needs the toolkit's rendezvous port."""
    mpi = distribution_of(request) is Distribution.smdistributed
    return mpi or len(hosts_of(request)) > 1


def _message(error: ConfigError) -> str:
    return "; ".join(f"{problem.where}: {problem.what}" for problem in error.problems)
