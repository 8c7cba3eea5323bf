"""Log lines of jobs from CloudWatch, as they are or as they come."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from lingotune.config.problems import ConfigError, Problem, printable
from lingotune.config.program import program
from lingotune.launch.aws.account.calls import Unanswered
from lingotune.launch.aws.job_logs import Folding, JobLog, LogLine, of_rank
from lingotune.launch.operations.account import PATIENCE, Account, unanswered
from lingotune.launch.operations.rows import Row
from lingotune.launch.operations.table import state_text
from lingotune.launch.sweeps.trial import State

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PAUSE = 2.0
"""Seconds between two looks."""


class LogReader:
    """Reader of one job's log. rank: lines of this one alone. since: seconds since 1970.

    folded: leave out a container's variables. options: as of `Overview`.
    """

    def __init__(
        self,
        account: Account,
        name: str,
        *,
        rank: int | None = None,
        since: float | None = None,
        folded: bool = False,
        options: str = "",
        tell: Callable[[str], None],
        note: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account, self._name, self._rank = account, name, rank
        self._log = JobLog(account.calls, name, since)
        self._tell, self._note, self._clock, self._sleep = tell, note, clock, sleep
        self._folding = Folding(f"{program('logs')} {name} --full{options}") if folded else iter
        self.count = 0

    def print_new(self) -> None:
        """Print the lines since the last call; Unanswered where AWS does not answer."""
        lines = self._log.new_lines()
        wanted = lines if self._rank is None else of_rank(lines, self._rank)
        for line in self._folding(wanted):
            self.count += 1
            self._tell(text_of(line))

    def follow(self) -> State:
        """Print lines as they come until the job has ended; returns how.

        ConfigError if AWS does not answer for minutes. The last lines come after the end.
        """
        silent_since: float | None = None
        told = said = ""
        while True:
            try:
                job = self._account.describe(self._name)
                self.print_new()
                silent_since = None
            except Unanswered as reason:
                now = self._clock()
                silent_since = silent_since or now
                if now - silent_since > PATIENCE or "Expired" in str(reason):
                    raise ConfigError([unanswered(self._name, str(reason))]) from reason
                if str(reason) != said:
                    said = str(reason)
                    self._note(f"no answer, asked again: {said}")
                self._sleep(PAUSE)
                continue
            if job is None:
                what = "is no longer known to SageMaker"
                raise ConfigError([Problem(self._name, what, check="job-gone")])
            state = state_text(Row(self._name, job.job))
            if state != told:
                told = state
                why = f": {job.job.reason}" if job.job.reason else ""
                self._note(f"{self._name}: {state}{why}")
            if job.job.state.over:
                self._sleep(PAUSE)  # CloudWatch gets the last lines a moment later
                self.print_new()
                return job.job.state
            self._sleep(PAUSE)


def text_of(line: LogLine) -> str:
    """Write a line for the terminal: without colours, of a progress bar its last state."""
    text = _ANSI.sub("", line.text).rstrip("\r").rpartition("\r")[2]
    shown = "\t".join(map(printable, text.split("\t")))
    rank = "" if line.rank is None else f" rank {line.rank}"
    return f"algo-{line.host}{rank} | {shown}"
