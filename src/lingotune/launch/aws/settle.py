"""Starts of jobs of which the answer was lost: looked up by their names, never told as not started."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from lingotune.launch.aws.faults import Fault, errors, fault_of, said_by, sent_before

_SKEW = 300.0
"""Seconds by which this machine's clock may differ from AWS's."""
_LOOKS, PAUSE = 3, 2.0
"""Looks for a job whose answer was lost, and seconds between them: the call may still be under way."""


class Start(Enum):
    """Answer to a start. found: it was lost, and the job is there. taken: it was started before."""

    done = "done"
    found = "found"
    taken = "taken"


@dataclass(frozen=True)
class Seen:
    """A job with the wanted name. created: seconds since 1970; None if unknown, as is the digest of ''."""

    status: str
    created: float | None = None
    digest: str = ""


@dataclass(frozen=True)
class Started:
    """Outcome of a start. seen: None if its answer came. said: what was said instead."""

    start: Start
    seen: Seen | None = None
    said: str = ""


class NotStarted(Exception):
    """The start was refused, or has not arrived; the error of botocore is the cause."""


class NotKnown(Exception):
    """No answer came, neither to the start nor to the question for the job; the text says why."""


def start_once(
    start: Callable[[], object],
    look_up: Callable[[], Seen | None],
    clock: Callable[[], float] = time.time,
) -> Started:
    """Start a job, and look it up by its name unless the answer leaves no doubt.

    botocore repeats a call without an answer by itself, so that any refusal may be the second answer to a
    start that has had its effect. NotStarted or NotKnown if the job is not there, or that is not known.
    """
    begun = clock()
    try:
        start()
        return Started(Start.done)
    except errors() as error:
        fault, again = fault_of(error), sent_before(error)
        if fault not in (Fault.lost, Fault.taken) and not again:
            raise NotStarted(said_by(error)) from error
        try:
            seen = _looked_up(look_up, _LOOKS if fault is Fault.lost else 1)
        except errors() as unknown:
            raise NotKnown(f"{said_by(error)}; {said_by(unknown)}") from error
        if seen is None:
            raise NotStarted(said_by(error)) from error
        is_new = seen.created is None or seen.created >= begun - _SKEW
        ours = is_new and (again or fault is Fault.lost)
        return Started(Start.found if ours else Start.taken, seen, said_by(error))


def _looked_up(look_up: Callable[[], Seen | None], looks: int) -> Seen | None:
    for left in reversed(range(looks)):
        seen = look_up()
        if seen is not None or not left:
            return seen
        time.sleep(PAUSE)
    return None
