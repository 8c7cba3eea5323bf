"""Problems that the user can fix, and their form in the terminal. Standard library only."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import Enum
from typing import Any

from lingotune.config.secrets import NO_TOKEN, redacted
from lingotune.config.settings import setting_in

USER_ERROR = 2
"""Exit code for problems with settings, or with what was typed."""
DATA_FAILED = 3
"""Exit code for data that cannot be used: damaged files, rows that are wrong."""
CHECKPOINT_FAILED = 4
"""Exit code if a run cannot go on from its checkpoints."""
DISK_FAILED = 5
"""Exit code for a disk or folder that is full, read-only, not ours or gone."""
CLOUD_FAILED = 6
"""Exit code if AWS did not do what was asked, a job there has failed, or the network is in the way."""
PUBLISH_FAILED = 7
"""Exit code if the model is safe but could not be published."""
NUMERIC_FAILED = 8
"""Exit code if a loss, a gradient or a weight became infinite or NaN."""
PEER_LOST = 9
"""Exit code if another process of the job has died, hangs or does not answer."""
BUG = 70
"""Exit code for a fault of lingotune itself, as EX_SOFTWARE in sysexits.h."""
PREEMPTED = 75
"""Exit code of a run that was stopped and goes on with the same command, as EX_TEMPFAIL in sysexits.h."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""
PIPE_CLOSED = 141
"""Exit code if the reader of the output has gone away, as in shells."""


_CODES = {
    USER_ERROR, DATA_FAILED, CHECKPOINT_FAILED, DISK_FAILED, CLOUD_FAILED, PUBLISH_FAILED, NUMERIC_FAILED,
    PEER_LOST, BUG, PREEMPTED, INTERRUPTED,
}  # fmt: skip


class Severity(Enum):
    """Severity of a problem: an error stops the job, a warning is printed and the job continues."""

    error = "error"
    warning = "warning"


@dataclass(frozen=True)
class Problem:
    """One thing that the user can fix.

    where: the setting as typed (`lr=3`), or file:line. what: what is wrong, with the actual value. fix:
    what works instead, if possible an override to paste. why: the fact behind it. check: id of the
    preflight check that found it, if one did. key, value: the setting concerned as a dotted key, and the
    text of its value; "" and None if there is none. rows: how many rows of a source it concerns. code:
    exit code of a command that ends for it.

    Nearly all problems are about a setting and name it in `where`, as `key=value` or as a dotted key. Both
    parts are read from it here and compared with the schema, so that hundreds of call sites need not
    repeat themselves. A single word may be a folder as well as a setting (`model`); whoever means the
    setting has to pass `key`, as the tables of checks do.
    """

    where: str
    what: str
    fix: str = ""
    severity: Severity = Severity.error
    check: str = ""
    why: str = ""
    key: str = ""
    value: str | None = None
    rows: int = field(default=0, compare=False)
    code: int = field(default=USER_ERROR, compare=False)

    def __post_init__(self) -> None:
        if not self.key and ("=" in self.where or "." in self.where):
            key, value = setting_in(self.where)
            object.__setattr__(self, "key", key)
            object.__setattr__(self, "value", value)

    @property
    def section(self) -> str:
        """First part of the key: `data` for `data.path`."""
        return self.key.partition(".")[0]


def exit_code_for(problems: Sequence[Problem]) -> int:
    """Return the exit code of a command that ends with these problems: the lowest code of an error, as a
    setting has to be mended first; 0 without one."""
    return min((one.code for one in problems if one.severity is Severity.error), default=0)


def exit_code_told(text: str, otherwise: int) -> int:
    """Read the exit code of another process from what it told: the last `(exit code 5)` of a text."""
    told = [int(number) for number in re.findall(r"\(exit code (\d{1,3})\)", text)]
    return told[-1] if told and told[-1] in _CODES else otherwise


class ConfigError(Exception):
    """All problems that a command ends for, and that are not its own fault; it prints them.

    exit_code: that of its problems, see `exit_code_for`.
    """

    def __init__(self, problems: list[Problem], next_command: str = "") -> None:
        self.problems = list(dict.fromkeys(problems))
        self.next_command = next_command
        self.exit_code = exit_code_for(self.problems) or USER_ERROR
        super().__init__("; ".join(f"{p.where}: {p.what}" for p in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems, self.next_command)  # lets another process raise it here


class CheckpointError(ConfigError):
    """Checkpoints, or a finished run, cannot be gone on with; commands exit with code 4."""

    def __init__(self, problems: list[Problem], next_command: str = "") -> None:
        super().__init__([replace(one, code=CHECKPOINT_FAILED) for one in problems], next_command)


class Preempted(Exception):
    """The run was stopped from outside after a checkpoint; commands exit with code 75, for "go on"."""


class PublishError(Exception):
    """The model could not be published, but is safe; commands print this and exit with code 7."""


_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SHOWN_AS_IT_IS = "\u00a0\u3000\u200c\u200d"
"""Characters that `isprintable` rejects but names need: spaces and joiners."""


def printable(text: str) -> str:
    """Escape all characters that cannot be printed, line breaks included."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _SHOWN_AS_IT_IS else c.encode("unicode_escape").decode()
        for c in text
    )


def control_in(text: str) -> str:
    """Find the first character of a text that would steer a terminal, written with a backslash; '' if none.

    Tabs and line breaks are none of them.
    """
    found = _CONTROLS.search(text)
    return printable(found[0]) if found else ""


def without_secrets(problem: Problem) -> Problem:
    """Redact a problem for display, as what was typed or is suggested may contain a token.

    A suggestion derived from a token is replaced, as it may contain the token's letters in another form.
    """
    shown: dict[str, Any] = {
        name: redacted(text, os.environ)
        for name in ("where", "what", "fix", "why", "key", "value")
        if (text := getattr(problem, name))
    }
    changed = replace(problem, **shown)
    if (changed.where, changed.what) != (problem.where, problem.what):
        return replace(changed, fix=NO_TOKEN)
    return changed


def format_problems(problems: Sequence[Problem]) -> str:
    """Format one block per problem: severity, where, the check's id; what is wrong, why, and a fix."""
    blocks = []
    for problem in map(without_secrets, problems):
        mark = "warning: " if problem.severity is Severity.warning else ""
        id = f"  [{problem.check}]" if problem.check else ""
        where, what, why, fix = map(_shown, (problem.where, problem.what, problem.why, problem.fix))
        lines = [f"  {mark}{where}{id}", f"      {what}"]
        if why:
            lines.append(f"      why: {why}")
        if fix:
            lines += _folded(f"      fix: {fix}")
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _shown(text: str) -> str:
    """Escape what would steer a terminal; line breaks stay, where a text has lines."""
    return "\n".join(map(printable, text.split("\n")))


_WIDEST = 100
"""Columns of the terminal that are easy to read."""


def _folded(line: str) -> list[str]:
    """Fold a list of choices; what is one command or has quotes in it stays on its line."""
    if len(line) <= _WIDEST or set("'\"`&>") & set(line):
        return [line]
    folded = [""]
    for piece in re.split(r"(?<= \| )|(?<=, )|(?<=; )", line):
        if folded[-1] and len(folded[-1]) + len(piece.rstrip()) > _WIDEST:
            folded.append(" " * 11)
        folded[-1] += piece
    return [one.rstrip() for one in folded]


def errors_only(problems: Sequence[Problem]) -> list[Problem]:
    """Select the problems that stop a job."""
    return [p for p in problems if p.severity is Severity.error]


_SHOWN = 8
"""Choices that are listed whole; of more the nearest are."""


def listed(typed: str, known: Sequence[str]) -> str:
    """'a | b | c': the choices there are, of many the nearest to what was typed."""
    if len(known) <= _SHOWN:
        return " | ".join(known)
    near = get_close_matches(typed, known, n=_SHOWN - 3, cutoff=0.5)
    some = [*dict.fromkeys([*near, *known])][: _SHOWN - 3]
    return " | ".join([*some, f"... ({len(known)} in all)"])


def closest(word: str, known: Sequence[str]) -> str:
    """Find the known word that is spelled most like this one; '' if none is close."""
    return next(iter(get_close_matches(word, known, n=1, cutoff=0.6)), "")


def nearest_option(typed: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """Find the option that is spelled most like the one typed; '' if none is close.

    Hyphens before it do not count: all options share them. cutoff: least likeness, from 0 to 1.
    """
    names = {option.lstrip("-"): option for option in known if option.startswith("--")}
    close = get_close_matches(typed.lstrip("-").replace("_", "-"), names, n=1, cutoff=cutoff)
    return names[close[0]] if close else ""


def nearest(word: str, known: Sequence[str]) -> str:
    """Format `; did you mean X?`, or nothing if no known word is close."""
    close = closest(word, known)
    return f"; did you mean {close}?" if close else ""
