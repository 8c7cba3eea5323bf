"""Code of a sweep's jobs: that which they were pinned with, or new code for those that have not started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lingotune.config.schema import Retry
from lingotune.launch.compose.compose import Composed
from lingotune.launch.sweeps.pin import OwnCode, Pin, PinnedTrial
from lingotune.launch.sweeps.trial import RETRIED, State, attempt_in


@dataclass(frozen=True)
class Renewed:
    """A trial that gets the code as it is now.

    former: as it was pinned. begun: jobs of it were started, whose name it keeps.
    """

    former: PinnedTrial
    begun: bool


def as_pinned(one: Composed, pin: Pin) -> Composed:
    """Give a job the own code that its sweep was pinned with, even if its file was edited since."""
    code = one.config.code
    pinned = [known for known in pin.own_code if known.file == code.file]
    if one.key in pin.by_key or not pinned:
        return one
    candidates = [_with(one, known, pin) for known in reversed(pinned)]
    return next((c for c in candidates if c.key in pin.by_key), candidates[0])


def _with(one: Composed, known: OwnCode, pin: Pin) -> Composed:
    requirements = list(known.requirements)
    code = replace(one.config.code, sha256=known.sha256, requirements=requirements)
    space = one.space
    if space is not None:
        suggested = space.suggested
        space = replace(space, suggested=lambda values: as_pinned(suggested(values), pin))
    return replace(one, config=replace(one.config, code=code), space=space)


def renewed_of(pin: Pin, states: Mapping[str, State], retry: Retry) -> dict[str, Renewed]:
    """Choose the trials that new code is for, by their keys: those to be started from now on.

    states: of all jobs that were started, by name.
    """
    found = {}
    for trial in pin.trials:
        last = last_state(trial, states)
        if last is None or last is RETRIED[retry]:
            found[trial.key] = Renewed(trial, last is not None)
    return found


def last_state(trial: PinnedTrial, states: Mapping[str, State]) -> State | None:
    """Find the state of a trial's last job; None if none was started."""
    attempts: dict[int, State] = {}
    for name, state in states.items():
        first, number = attempt_in(name)
        if first == trial.name:
            attempts[number] = state
    return attempts[max(attempts)] if attempts else None


def with_new_code(
    composed: Sequence[Composed], pin: Pin, renewed: Mapping[str, Renewed]
) -> tuple[list[Composed], dict[str, Renewed]]:
    """Leave new code to the trials that it is for; all others keep what they were pinned with.

    Returns the jobs, and the renewed trials by their new keys.
    """
    jobs, keys = [], {}
    for one in composed:
        kept = as_pinned(one, pin)
        if kept.key in pin.by_key and kept.key not in renewed:
            jobs.append(kept)
            continue
        jobs.append(one)
        if kept.key in renewed:
            keys[one.key] = renewed[kept.key]
    return jobs, keys
