"""Hosts' lines in CloudWatch, and the metrics that SageMaker extracts from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any

from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.jobs import Fields

GROUP = "/aws/sagemaker/TrainingJobs"
_MOST = 1000
"""Maximum number of lines per call."""
LOCK = Lock()
"""Held by whoever reads or changes moto's logs, which are not made for several threads."""


class LogStream:
    """Log stream of one host; `add` is called by the host's thread, `flush` by the driver's."""

    def __init__(self, logs: Any, job: str, host: str, clock: Clock) -> None:
        self._logs, self._clock = logs, clock
        self._where = {
            "logGroupName": GROUP,
            "logStreamName": f"{job}/{host}-{int(clock.time())}",
        }
        self._waiting: list[Fields] = []
        self.lines: list[tuple[float, str]] = []
        logs.create_log_stream(**self._where)

    def add(self, line: str) -> None:
        """Add a line with the current time; CloudWatch does not accept empty ones."""
        if line.strip():
            now = self._clock.time()
            self.lines.append((now, line))
            self._waiting.append({"timestamp": int(now * 1000), "message": line})

    def flush(self) -> None:
        """Send the lines added since the last call."""
        while batch := self._waiting[:_MOST]:
            self._logs.put_log_events(**self._where, logEvents=batch)
            del self._waiting[: len(batch)]


def make_group(logs: Any) -> None:
    """Make the log group of all training jobs."""
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=GROUP)


def final_metrics(
    definitions: Sequence[Mapping[str, str]], lines: Iterable[tuple[float, str]]
) -> list[Fields]:
    """Build FinalMetricDataList: the last logged value for each of the MetricDefinitions."""
    values: dict[str, Fields] = {}
    patterns = [(entry["Name"], re.compile(entry["Regex"])) for entry in definitions]
    for when, line in lines:
        for name, pattern in patterns:
            if found := pattern.search(line):
                value = float(found[1])
                values[name] = {"MetricName": name, "Value": value, "Timestamp": when}
    return list(values.values())
