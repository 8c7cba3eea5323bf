"""Following a training job to its end, as its owner would from another machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

from lingotune.launch.aws.account.calls import Calls
from lingotune.launch.aws.job_logs import Folding, JobLog
from lingotune.launch.simulator.loopback.jobs import Fields

_PAUSE = 0.5
"""Seconds between two calls."""


@dataclass(frozen=True)
class Watched:
    """The whole log, DescribeTrainingJob's last answer, and whether Ctrl-C ended the job."""

    lines: tuple[str, ...]
    description: Fields
    interrupted: bool


def watch(session: Any, name: str, tell: Callable[[str], None]) -> Watched:
    """Print statuses and log lines as they come. Ctrl-C stops the job, twice: KeyboardInterrupt."""
    sagemaker, stopping = session.client("sagemaker"), False
    followed = _Followed(session, name, tell)
    with _first_interrupt() as pressed:
        while True:
            described: Fields = sagemaker.describe_training_job(TrainingJobName=name)
            del described["ResponseMetadata"]
            followed.advance(described)
            if described["TrainingJobStatus"] in ("Completed", "Failed", "Stopped"):
                return Watched(tuple(followed.lines), described, stopping)
            if pressed.is_set() and not stopping:
                stopping = True
                tell("stopping the job; Ctrl-C once more leaves at once")
                sagemaker.stop_training_job(TrainingJobName=name)
            time.sleep(_PAUSE)


@contextmanager
def _first_interrupt() -> Iterator[Event]:
    """Yield an event that the first Ctrl-C sets; it interrupts nothing, so no line is lost or repeated."""
    pressed = Event()

    def press(*_: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


class _Followed:
    """Progress of showing a job's statuses and lines."""

    def __init__(self, session: Any, name: str, tell: Callable[[str], None]) -> None:
        self._log, self._tell = JobLog(Calls(session), name), tell
        self._folded = Folding("log.txt")
        self._statuses = 0
        self.lines: list[str] = []

    def advance(self, described: Fields) -> None:
        """Print news. Lines come first, as a job's last ones exist before its last status."""
        lines = self._log.new_lines()
        self.lines += map(str, lines)
        for line in self._folded(lines):
            self._tell(str(line))
        transitions = described["SecondaryStatusTransitions"]
        for entry in transitions[self._statuses :]:
            started = entry["StartTime"].astimezone()
            self._tell(f"{started:%H:%M:%S} {entry['Status']}: {entry['StatusMessage']}")
        self._statuses = len(transitions)
