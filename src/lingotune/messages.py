"""How problems look in the terminal. Standard library only."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import NoReturn

from lingotune.redact import NO_TOKEN, redacted
from lingotune.schema import ConfigError, Problem, PublishError, Severity

USER_ERROR = 2
"""Exit code for what the user can mend."""
PUBLISH_FAILED = 7
"""Exit code when the model is safe but could not be published."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
PIPE_CLOSED = 141
"""Exit code when the reader of the output went away, as shells have it."""


_SHOWN_AS_IT_IS = "\u00a0\u3000\u200c\u200d"
"""Spaces, and joiners that the spelling of names needs."""


def say(line: str) -> None:
    """Print a line at once: who reads it may be waiting."""
    print(line, flush=True)


def printable(text: str) -> str:
    """A text in one line: characters that are not for the eye are written out."""
    return "".join(
        c if c.isprintable() or c in _SHOWN_AS_IT_IS else c.encode("unicode_escape").decode()
        for c in text
    )


def without_secrets(problem: Problem) -> Problem:
    """The problem as it may be shown: what was typed, or is suggested, may hold a token.

    A suggestion that was made of one is left out: letters of it may stand in it in another form.
    """
    where, what, works, why = (
        redacted(text, os.environ)
        for text in (problem.where, problem.what, problem.works, problem.why)
    )
    if (where, what) != (problem.where, problem.what):
        works = NO_TOKEN
    return replace(problem, where=where, what=what, works=works, why=why)


def format_problems(problems: Sequence[Problem]) -> str:
    """One block a problem: severity, where, the check's id; what is wrong, why, what works."""
    blocks = []
    for problem in map(without_secrets, problems):
        mark = "warning: " if problem.severity is Severity.warning else ""
        id = f"  [{problem.check}]" if problem.check else ""
        lines = [f"  {mark}{problem.where}{id}", f"      {problem.what}"]
        if problem.why:
            lines.append(f"      why: {problem.why}")
        if problem.works:
            lines.append(f"      works: {problem.works}")
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def format_error(error: ConfigError) -> str:
    """All problems of an error, counted, and the next command."""
    count = len(error.problems)
    head = "1 problem" if count == 1 else f"{count} problems"
    text = f"lingotune: {head}\n{format_problems(error.problems)}"
    following = redacted(error.next_command, os.environ)
    return f"{text}\nnext: {following}" if following else text


def errors_only(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that stop a job."""
    return [p for p in problems if p.severity is Severity.error]


class Parser(argparse.ArgumentParser):
    """Options of an entry; what it does not know is told as everything else that is wrong."""

    def error(self, message: str) -> NoReturn:
        """ConfigError, for argparse repeats what was typed."""
        raise ConfigError([Problem("command line", message)], f"{self.prog} --help")


def exit_code_of(body: Callable[[], int]) -> int:
    """Run an entry's body; its known errors are printed to stderr and become exit codes."""
    try:
        return body()
    except ConfigError as error:
        print(format_error(error), file=sys.stderr)
        return USER_ERROR
    except PublishError as error:
        print(f"lingotune: {redacted(str(error), os.environ)}", file=sys.stderr)
        return PUBLISH_FAILED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        print("lingotune: stopped", file=sys.stderr)
        return INTERRUPTED


def nearest(word: str, known: Sequence[str]) -> str:
    """' (did you mean X?)', or nothing where no known word comes close."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
