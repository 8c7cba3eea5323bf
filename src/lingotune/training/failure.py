"""The failure file of a container: one paragraph with rank, stage, cause, remedy and exit code.

SageMaker shows its first 1024 characters as FailureReason; without the file it shows whatever a launcher
printed last. The process that fails first writes it. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lingotune.config.console import say_aside
from lingotune.config.faults import one_line, place, understood
from lingotune.config.problems import (
    BUG,
    PREEMPTED,
    PUBLISH_FAILED,
    ConfigError,
    Preempted,
    Problem,
    PublishError,
    without_secrets,
)

LONGEST = 900
"""Maximum length in characters: SageMaker adds its own words at both ends, and truncates at 1024."""
EVALUATING = "evaluating"
"""Stage in which a split is scored."""
_stage = "starting"


def enter(stage: str) -> None:
    """Note the stage that this process enters, for the message of a failure."""
    global _stage
    _stage = stage


def stage() -> str:
    """Return the stage that this process is in."""
    return _stage


@contextmanager
def during(stage: str) -> Iterator[None]:
    """Be in a stage for the block; an error in it leaves that stage, for its message."""
    before = _stage
    enter(stage)
    yield
    enter(before)


@contextmanager
def reporting(rank: int, environment: Mapping[str, str]) -> Iterator[None]:
    """Write the exception that ends the block, if any, to the container's failure file.

    What the machine has caused is raised as a ConfigError; the entry point prints it.
    """
    try:
        yield
    except Exception as error:
        known = as_known(error)
        text = paragraph(error, rank)
        if known is not error:  # the log names the rank, too
            say_aside(f"lingotune: {text}")
        write(environment, text)
        if known is None or known is error:
            raise
        raise known from error


def as_known(error: BaseException) -> BaseException | None:
    """Return an error that is no fault of lingotune, in the form that is told; None for one that is."""
    if isinstance(error, (ConfigError, PublishError, Preempted)):
        return error
    return understood(error, _stage)


def code_of(error: BaseException) -> int:
    """Return the exit code of a process that ends for an error."""
    known = as_known(error)
    if isinstance(known, ConfigError):
        return known.exit_code
    if isinstance(known, PublishError):
        return PUBLISH_FAILED
    return PREEMPTED if isinstance(known, Preempted) else BUG


def paragraph(error: BaseException, rank: int) -> str:
    """Format `rank 3, training, step 12 of 145: what is wrong; fix: ... (exit code 5)`."""
    known = as_known(error)
    if isinstance(known, ConfigError):
        said = " | ".join(map(_told, map(without_secrets, known.problems)))
    elif known is not None:
        said = one_line(known)
    else:
        what = f"{type(error).__name__}: {one_line(error)}"
        said = f"{what} ({place(error)}). To see it on your machine: lingotune launch ... action=rehearse"
    return told(said, rank, code_of(error))


def told(said: str, rank: int, code: int) -> str:
    """Format what a process ends for: with its rank, stage and exit code, and not too long."""
    end = f" (exit code {code})"
    text = f"rank {rank}, {_stage}: {said}"
    most = LONGEST - len(end)
    return (text if len(text) <= most else f"{text[: most - 4]} ...") + end


def write(environment: Mapping[str, str], text: str) -> None:
    """Write the container's failure file unless it is there; the toolkit does not overwrite it."""
    output = environment.get("SM_OUTPUT_DIR")
    if not output:
        return
    try:
        with Path(output, "failure").open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        pass  # another process was first, or the disk has failed; the text is in the log, too


def _told(problem: Problem) -> str:
    where = "" if problem.where == _stage else f"{problem.where}: "
    return f"{where}{problem.what}" + (f"; fix: {problem.fix}" if problem.fix else "")
