"""Scores and progress of a job, read from its log in CloudWatch."""

from __future__ import annotations

from typing import Any

from lingotune.contract.log_lines import Logged, read_line
from lingotune.launch.aws.job_logs import GROUP


class ScoreLog:
    """What has been read of a job's log: lines of its first machine, which tells the scores.

    scores: lines of evaluations on validation. training: the last one of training; None before. began: time
    of the first line that tells a score or a loss, in seconds since 1970.
    """

    def __init__(self, logs: Any, job: str) -> None:
        self._logs, self._job = logs, job
        self._tokens: dict[str, str | None] = {}
        self._news = False
        self.scores: list[Logged] = []
        self.training: Logged | None = None
        self.began: float | None = None

    def read_on(self) -> None:
        """Read what is new; nothing as long as there is no log.

        A job that is started again, as on spot machines, has a further stream: they are listed unless
        there was news the last time.
        """
        if not self._news:
            where = {"logGroupName": GROUP, "logStreamNamePrefix": f"{self._job}/algo-1-"}
            try:
                streams = self._logs.describe_log_streams(**where)["logStreams"]
            except self._logs.exceptions.ResourceNotFoundException:
                return
            for stream in streams:
                self._tokens.setdefault(stream["logStreamName"])
        self._news = False
        for name in self._tokens:
            self._read_stream(name)

    def _read_stream(self, stream: str) -> None:
        asked = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
        while True:
            token = self._tokens[stream]
            page = self._logs.get_log_events(**asked, **({"nextToken": token} if token else {}))
            for event in page["events"]:
                self._take(event["message"], event["timestamp"] / 1000)
                self._news = True
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == token or not page["events"]:
                return

    def _take(self, message: str, at: float) -> None:
        line = read_line(message)
        if line is not None and self.began is None:
            self.began = at
        if line is not None and line.split == "validation":
            self.scores.append(line)
        elif line is not None and line.split == "train":
            self.training = line
