"""Logs of jobs on the terminal, as they are, or as they go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from lingotune.config.problems import ConfigError
from lingotune.launch.aws.account.calls import Unanswered
from lingotune.launch.aws.job_logs import JobLog, LogLine, of_rank
from lingotune.launch.operations.account import Account, asked_of, unanswered
from lingotune.launch.operations.named import Named
from lingotune.launch.operations.rows import Row
from lingotune.launch.sweeps.trial import JobState

_PAUSE = 3.0
"""Seconds between two looks at logs that go on."""
_PASSING = ("Throttling", "TooManyRequests", "ServiceUnavailable", "InternalFailure", "SlowDown",
            "ould not connect", "Connection", "timeout", "not in AWS's form")  # fmt: skip
"""Parts of reasons for which an answer may come the next time."""


@dataclass(frozen=True)
class Shown:
    """Choice of lines. rank: None = of all. since: seconds since 1970; None = from the beginning."""

    rank: int | None = None
    since: float | None = None


class Logs:
    """Logs of named jobs. show: prints a line of a log. tell: prints what is to be known beside it."""

    def __init__(
        self,
        named: Named,
        shown: Shown,
        show: Callable[[str], None],
        tell: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account, self._shown = named.account, shown
        self._show, self._tell, self._sleep = show, tell, sleep
        self._rows = named.rows
        calls = named.account.calls
        self._logs = {row.name: JobLog(calls, row.name, shown.since) for row in named.rows}
        self._lines = 0

    def print(self) -> None:
        """Print the logs as they are now; ConfigError where AWS does not answer."""
        for row in self._rows:
            before = self._lines
            asked_of(row.name, partial(self._news, row))
            if self._lines == before:
                self._tell(f"{row.name}: {self._why_empty(row.job)}")

    def follow(self) -> None:
        """Print the logs until their jobs have ended; ConfigError if AWS will not answer any more."""
        left, states = {row.name: row for row in self._rows}, {row.name: "" for row in self._rows}
        while left:
            try:
                told = _states(self._account, list(left.values()))
                ended = [name for name in left if name in told and told[name].state.over]
                told = {**told, **_described(self._account, ended)}  # a listing tells no reasons
                for name, row in list(left.items()):
                    job = told.get(name, row.job)
                    self._news(row)  # after its state: all lines of a job that has ended are there
                    if states[name] != (now := _word(job)):
                        states[name] = now
                        self._tell(f"{name}: {now}{f': {job.reason}' if job.reason else ''}")
                    if job.state.over:
                        del left[name]
            except Unanswered as reason:
                if not any(part in str(reason) for part in _PASSING):
                    raise ConfigError([unanswered(" ".join(left), str(reason))]) from reason
                self._tell(f"no answer, asked again in a moment: {reason}")
            if left:
                self._sleep(_PAUSE)

    def _news(self, row: Row) -> None:
        """Print the new lines of a job."""
        prefix = _prefix(row) if len(self._rows) > 1 else ""
        for line in self._chosen(self._logs[row.name].new_lines()):
            self._show(f"{prefix}{line}")
            self._lines += 1

    def _chosen(self, lines: Sequence[LogLine]) -> Iterator[LogLine]:
        yield from lines if self._shown.rank is None else of_rank(lines, self._shown.rank)

    def _why_empty(self, job: JobState) -> str:
        asked = [f"rank {self._shown.rank}"] if self._shown.rank is not None else []
        asked += ["that time"] if self._shown.since is not None else []
        if asked:
            return f"no lines of {' and '.join(asked)} ({_word(job)})"
        if job.state.over:
            return f"no log ({_word(job)}{f': {job.reason}' if job.reason else ''})"
        return f"no log yet ({_word(job)}); --follow waits for it"


def _prefix(row: Row) -> str:
    return f"{row.name} " if row.number is None else f"{row.number:3} "


def _word(job: JobState) -> str:
    return job.secondary or job.state.value


def _states(account: Account, rows: Sequence[Row]) -> dict[str, JobState]:
    """Ask for the states of jobs with one call, however many there are."""
    if len(rows) > 1:
        created = [row.job.created for row in rows if row.job.created is not None]
        return account.listing(min(created) - 60 if len(created) == len(rows) else None)
    return _described(account, [row.name for row in rows])


def _described(account: Account, names: Sequence[str]) -> dict[str, JobState]:
    return {name: found.job for name, found in account.describe_all(names).items()}
