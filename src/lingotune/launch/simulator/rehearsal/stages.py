"""The checklist of a rehearsal: each stage with its time, reported as it ends. Pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lingotune.config.problems import USER_ERROR, ConfigError, Problem, exit_code_told


@dataclass(frozen=True)
class Stage:
    """Outcome of a stage: its name, success, seconds and note."""

    name: str
    ok: bool
    seconds: float
    note: str


class StageFailed(Exception):
    """Failure of a stage, which ends the rehearsal: what is wrong, the last log lines, a remedy."""

    def __init__(self, what: str, log: tuple[str, ...] = (), fix: str = "") -> None:
        self.what, self.log, self.fix = what, log, fix
        super().__init__(what)


@dataclass
class Note:
    """Note about a stage, set by its block."""

    text: str = ""


@dataclass
class Checklist:
    """The stages so far; `tell` is called with a line about each."""

    tell: Callable[[str], None]
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[Note]:
        """Time the block as a stage; a ConfigError or StageFailed in it is reported and passed on."""
        note, started = Note(), time.monotonic()
        try:
            yield note
        except ConfigError as error:
            self._add(name, False, started, error.problems[0].what)
            raise
        except StageFailed as failed:
            self._add(name, False, started, failed.what.splitlines()[0])
            raise
        self._add(name, True, started, note.text)

    @property
    def seconds(self) -> float:
        """Total seconds of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def failed(self) -> str | None:
        """Stage that failed; None if none has."""
        return next((stage.name for stage in self.stages if not stage.ok), None)

    def _add(self, name: str, ok: bool, started: float, note: str) -> None:
        stage = Stage(name, ok, round(time.monotonic() - started, 1), note)
        self.stages.append(stage)
        mark = "ok    " if ok else "FAILED"
        self.tell(f"  {mark} {name:<12} {stage.seconds:6.1f} s  {note}".rstrip())


def problem_of(stage: str, failed: StageFailed) -> Problem:
    """Make a problem of a failed stage, including the last log lines."""
    lines = [failed.what, *(("last lines of the log:", *failed.log) if failed.log else ())]
    return Problem(f"rehearsal, {stage}", "\n      ".join(lines), failed.fix, check=stage,
                   code=exit_code_told("\n".join(lines), USER_ERROR))  # fmt: skip
