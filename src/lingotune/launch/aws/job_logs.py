"""Logs of training jobs in CloudWatch: a stream for each host, read on from where the last look ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lingotune.launch.aws.account.calls import Calls, Refused

GROUP = "/aws/sagemaker/TrainingJobs"
"""Log group of all training jobs of an account and region."""
_RANK = re.compile(r"\[\d+,mpirank:(\d+),[\w-]+\]<std(?:out|err)>:|\[default(\d+)\]:")
"""Marks of mpirun and torchrun before a process's lines."""
_MISSING = ("ResourceNotFound",)


@dataclass(frozen=True)
class LogLine:
    """A line of a job's log. at: seconds since 1970. host: its number, from 1. rank: None if unmarked."""

    at: float
    host: int
    text: str
    rank: int | None = None

    def __str__(self) -> str:
        rank = "" if self.rank is None else f" rank {self.rank}"
        return f"algo-{self.host}{rank} | {self.text}"


class JobLog:
    """Log of one job, as far as it has been read."""

    def __init__(self, calls: Calls, name: str, since: float | None = None) -> None:
        """since: seconds since 1970; lines before are left out."""
        self._calls, self._prefix, self._since = calls, f"{name}/", since
        self._tokens: dict[str, str | None] = {}
        self._first: str | None = None

    def new_lines(self) -> list[LogLine]:
        """Read the lines since the last call, of all hosts by time; none while there is no log.

        Unanswered where AWS does not answer.
        """
        lines = [line for stream in self.streams() for line in self._read(stream)]
        return sorted(lines, key=lambda line: line.at)  # stable: a host's own order is kept

    def last_lines(self, most: int = 1000) -> list[LogLine]:
        """Read the last lines of the first host, which prints the scores, with one call or two."""
        self._first = self._first or min(self.streams(), key=_host, default=None)
        if self._first is None:
            return []
        asked = {"logGroupName": GROUP, "logStreamName": self._first, "limit": most}
        answer = self._asked("get_log_events", startFromHead=False, **asked)
        return [_line(self._first, event) for event in answer.get("events", [])]

    def streams(self) -> list[str]:
        """List the streams of the job's hosts."""
        asked = {"logGroupName": GROUP, "logStreamNamePrefix": self._prefix}
        found: list[str] = []
        while True:
            answer = self._asked("describe_log_streams", **asked)
            found += [stream["logStreamName"] for stream in answer.get("logStreams", [])]
            if not answer.get("nextToken"):
                return found
            asked["nextToken"] = answer["nextToken"]

    def _read(self, stream: str) -> Iterator[LogLine]:
        asked: dict[str, Any] = {"logGroupName": GROUP, "logStreamName": stream}
        if self._since is not None:
            asked["startTime"] = int(self._since * 1000)
        while True:
            token = self._tokens.get(stream)
            more = {"nextToken": token} if token else {}
            page = self._asked("get_log_events", startFromHead=True, **asked, **more)
            for event in page.get("events", []):
                yield _line(stream, event)
            following = page.get("nextForwardToken")
            self._tokens[stream] = following
            if following in (None, token):  # a page may be empty although more follow
                return

    def _asked(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            return self._calls.ask("logs", operation, _MISSING, **parameters)
        except Refused:  # the group is made by the account's first job, a stream by the first line
            return {}


def _line(stream: str, event: dict[str, Any]) -> LogLine:
    text, rank = event["message"].rstrip(), None
    if marked := _RANK.match(text):
        rank, text = int(marked[1] or marked[2]), text[marked.end() :]
    return LogLine(event["timestamp"] / 1000, _host(stream), text, rank)


def _host(stream: str) -> int:
    """Read the number in `JOB/algo-2-1700000000`."""
    found = re.search(r"/algo-(\d+)", stream)
    return int(found[1]) if found else 1


def of_rank(lines: Sequence[LogLine], rank: int) -> list[LogLine]:
    """Select the lines of a rank; where no line is marked with one, those of the host with that number."""
    if any(line.rank is not None for line in lines):
        return [line for line in lines if line.rank == rank]
    return [line for line in lines if line.host == rank + 1]


_VARIABLES = "Training Env:"
"""Line of SageMaker's toolkit after which all of a container's variables follow, twice."""
_VARIABLE = re.compile(r"[{}]|\s|[A-Z][A-Z0-9_]*=|Environment variables:|$")
"""Beginnings of these lines."""


class Folding:
    """Lines for people: the variables of a container, some 170 lines, are one. where: has them all."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._hidden: dict[int, int] = {}

    def __call__(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Yield the lines in order; those of a host are folded wherever they are parted."""
        for line in lines:
            hidden = self._hidden.get(line.host)
            if line.text == _VARIABLES:
                self._hidden[line.host] = 1
            elif hidden is not None and _VARIABLE.match(line.text):
                self._hidden[line.host] = hidden + 1
            else:
                if hidden is not None:
                    del self._hidden[line.host]
                    told = f"({hidden} lines of the container's variables: {self._where})"
                    yield LogLine(line.at, line.host, told)
                yield line
