"""One start of a job: all its hosts at once, with their lines in one log."""

from __future__ import annotations

import math
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType

from lingotune.launch.simulator.container import Container, failure_reason
from lingotune.launch.simulator.host import Host, wait_for_all
from lingotune.launch.simulator.rehearsal.observed import Observed, observe
from lingotune.launch.simulator.rehearsal.stages import StageFailed

SILENCE = 600
"""Seconds without a line after which a job counts as hung."""
_LOG_LINES = 15


class Attempt:
    """Hosts that run together. As a context manager it leaves no process behind."""

    def __init__(
        self,
        containers: Sequence[Container],
        python: Path,
        ranks: int,
        variables: Mapping[str, str],
        *,
        on_line: Callable[[int, str], None] = lambda number, line: None,
        address: str | None = None,
    ) -> None:
        """on_line: called with each line and the number of its host, from 0. The rest is as in Host."""
        self.containers = containers
        self.lines: list[str] = []
        self._on_line = on_line
        self._begun = self._last = time.monotonic()
        self._times: list[float] = []
        self._held = ExitStack()
        self.hosts = [
            Host(
                container, python, ranks=ranks, variables=variables, address=address,
                on_line=partial(self._add, number),
            )
            for number, container in enumerate(containers)
        ]  # fmt: skip

    def __enter__(self) -> Attempt:
        with ExitStack() as held:
            for host in self.hosts:
                held.enter_context(host).start()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._held.close()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for the first line with the pattern; StageFailed if the job ends before that or hangs."""
        seen = 0

        def found() -> re.Match[str] | None:
            nonlocal seen
            while seen < len(self.lines):
                seen += 1
                if match := re.search(pattern, self.lines[seen - 1]):
                    return match
            return None

        self._wait(lambda: found() is not None)
        return next(m for m in (re.search(pattern, line) for line in self.lines) if m)

    def seconds_to(self, pattern: str) -> float:
        """Return the seconds from the start to the first line with the pattern; NaN if none has come."""
        found = (at for at, line in zip(self._times, self.lines) if re.search(pattern, line))
        return next(found, math.nan) - self._begun

    def wait_for_file(self, pattern: str) -> None:
        """Wait until every host has a file that matches the pattern among its checkpoints."""
        self._wait(lambda: all(any(c.checkpoints.rglob(pattern)) for c in self.containers))

    def wait_for_end(self) -> None:
        """Wait until all hosts have ended successfully; StageFailed if one has not."""
        codes = self._codes_at_the_end()
        if any(codes):
            raise self._failed(f"the job ended with exit code {next(filter(None, codes))}")

    def interrupt(self) -> None:
        """Suspend every rank, then end the machines like a spot interruption."""
        for process in (process for host in self.observe() for process in host.ranks):
            os.kill(process.pid, signal.SIGSTOP)
        for host in self.hosts:
            host.interrupt(grace=0.2)

    def end(self, grace: float) -> None:
        """End all hosts like those of a stopped job: SIGTERM, then SIGKILL `grace` seconds later."""
        for host in self.hosts:
            host.interrupt(grace)

    @property
    def over(self) -> bool:
        """True once a host has ended; the others end soon."""
        return any(host.poll() is not None for host in self.hosts)

    def failure_reason(self) -> str | None:
        """Wait for the end; returns the FailureReason, None if all hosts have ended successfully."""
        codes = self._codes_at_the_end()
        if not any(codes):
            return None
        return self._failure_text() or failure_reason(None, next(filter(None, codes)))

    def observe(self) -> list[Observed]:
        """Read the arguments and environment of each host's processes."""
        return [observe(container) for container in self.containers]

    def _add(self, number: int, line: str) -> None:
        self._last = time.monotonic()
        self._times.append(self._last)
        self.lines.append(line)
        self._on_line(number, line)

    def _wait(self, arrived: Callable[[], bool]) -> None:
        while not arrived():
            if self.over:
                codes = self._codes_at_the_end()
                if arrived():
                    return
                raise self._failed(f"the job ended with exit code {max(codes)}")
            self._require_a_sign_of_life()
            time.sleep(0.01)

    def _codes_at_the_end(self) -> list[int]:
        while not self.over:
            self._require_a_sign_of_life()
            time.sleep(0.05)
        try:
            return wait_for_all(self.hosts, SILENCE)
        except TimeoutError:
            raise self._failed(f"a host goes on {SILENCE} s after another ended") from None

    def _require_a_sign_of_life(self) -> None:
        if time.monotonic() - self._last > SILENCE:
            raise self._failed(f"the job hangs: no line for {SILENCE} s")

    def _failed(self, what: str) -> StageFailed:
        reason = self._failure_text()
        if reason:
            what += f"\nFailureReason: {reason}"
        return StageFailed(what, tuple(self.lines[-_LOG_LINES:]))

    def _failure_text(self) -> str | None:
        """Read the FailureReason from the failure file that was written first."""
        told = [(c.folder / "output/failure", host) for c, host in zip(self.containers, self.hosts)]
        files = sorted((path.stat().st_mtime, path, host) for path, host in told if path.exists())
        if not files:
            return None
        _, path, host = files[0]
        text = path.read_text(encoding="utf-8", errors="replace")
        return failure_reason(text, host.poll() or 1)
