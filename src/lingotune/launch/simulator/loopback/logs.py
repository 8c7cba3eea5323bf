"""A host's lines in CloudWatch, as they come, and the figures that SageMaker reads from them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lingotune.launch.simulator.loopback.jobs import Fields

GROUP = "/aws/sagemaker/TrainingJobs"
_MOST = 1000
"""Lines of one call."""


class LogStream:
    """The log stream of one host; `add` is called by a thread of its own, `flush` by the driver's."""

    def __init__(self, logs: Any, job: str, host: str) -> None:
        self._logs = logs
        self._where = {
            "logGroupName": GROUP,
            "logStreamName": f"{job}/{host}-{int(time.time())}",
        }
        self._waiting: list[Fields] = []
        self.lines: list[tuple[float, str]] = []
        logs.create_log_stream(**self._where)

    def add(self, line: str) -> None:
        """One line, now; CloudWatch takes no empty ones."""
        if line.strip():
            now = time.time()
            self.lines.append((now, line))
            self._waiting.append({"timestamp": int(now * 1000), "message": line})

    def flush(self) -> None:
        """Send what has come since."""
        while batch := self._waiting[:_MOST]:
            self._logs.put_log_events(**self._where, logEvents=batch)
            del self._waiting[: len(batch)]


def make_group(logs: Any) -> None:
    """The log group of all training jobs."""
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=GROUP)


def final_metrics(
    definitions: Sequence[Mapping[str, str]], lines: Iterable[tuple[float, str]]
) -> list[Fields]:
    """FinalMetricDataList: for each of the MetricDefinitions the last value that was logged."""
    values: dict[str, Fields] = {}
    patterns = [(entry["Name"], re.compile(entry["Regex"])) for entry in definitions]
    for when, line in lines:
        for name, pattern in patterns:
            if found := pattern.search(line):
                value = float(found[1])
                values[name] = {"MetricName": name, "Value": value, "Timestamp": when}
    return list(values.values())
