"""Cleaning up in S3: what finished and failed jobs have left there, and which of it nobody needs.

What a job that is kept reads or writes is kept, and so is what cannot be told from that of others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.data.transfer.errors import explained
from lingotune.launch.operations.account import Account, asked_of
from lingotune.launch.operations.best import Best, group_of
from lingotune.launch.operations.holdings import (
    KINDS,
    OF_A_JOB,
    Holding,
    Place,
    holdings_under,
    places_of,
    places_of_pin,
)
from lingotune.launch.operations.ledgers import known_sweeps
from lingotune.launch.operations.pins import pin_beside
from lingotune.launch.operations.remote import Remote
from lingotune.launch.operations.remote_settings import aws_of
from lingotune.launch.operations.targets import Target
from lingotune.launch.render.training_job import root_uri

_BATCH = 1000
"""Objects that S3 deletes in one call."""
_RECENT = 3600.0
"""Seconds for which Search may not know a new job yet."""

Needs = dict[Place, set[str]]


@dataclass(frozen=True)
class CleanWish:
    """What its owner wants to have deleted.

    target: None = all jobs. older: seconds since a job has ended. keep_best: best jobs of a sweep, or of
    one name, that are kept whole. kinds: folders below the root.
    """

    target: Target | None = None
    older: float = 0.0
    keep_best: int = 1
    kinds: frozenset[str] = frozenset(KINDS)


@dataclass(frozen=True)
class CleanJob:
    """A job with what lies in S3 under its name. kept: why it is; '' = it is not."""

    job: Remote
    kept: str
    holdings: tuple[Holding, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all its objects."""
        return sum(one.bytes for one in self.holdings)


@dataclass(frozen=True)
class Shared:
    """What several jobs may need. users: names of the jobs that are kept and need it. kept: why it is."""

    holding: Holding
    users: tuple[str, ...]
    kept: str


@dataclass(frozen=True)
class Cleaning:
    """What lies in S3 of the jobs that were asked for, and what of it would be deleted."""

    jobs: tuple[CleanJob, ...]
    shared: tuple[Shared, ...]
    deleted: tuple[Holding, ...]
    notes: tuple[str, ...] = ()
    at: float = field(default_factory=time.time)

    @property
    def bytes(self) -> int:
        """Bytes of all that would be deleted."""
        return sum(one.bytes for one in self.deleted)


class Cleaner:
    """Cleaner of one account and region. runs_dir: with ledgers and fetched runs."""

    def __init__(
        self, account: Account, runs_dir: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._account, self._runs, self._clock = account, Path(runs_dir), clock
        self._sweeps = {sweep.name: sweep for sweep in known_sweeps(self._runs)}

    def look(self, wish: CleanWish) -> Cleaning:
        """Look at what lies there; ConfigError if AWS does not answer."""
        where = wish.target.text if wish.target else "clean"
        jobs = asked_of(where, self._jobs)
        wanted = {job.name: job for job in jobs if _is_wanted(job, wish.target)}
        roots = list(dict.fromkeys(filter(None, (self._root(job) for job in wanted.values()))))
        held: dict[Place, Holding] = {}
        for root in roots:
            held |= asked_of(root, lambda at=root: holdings_under(self._account.calls, at))  # type: ignore[misc]
        best = self._best(wanted.values(), jobs)
        kept = {name: self._kept(job, wish, best) for name, job in wanted.items()}
        chosen = {name for name, why in kept.items() if not why}
        needs: Needs = {}
        for job in jobs:
            for place in places_of(job, roots):
                needs.setdefault(place, set()).add(job.name)
        notes = [*self._pins(held, roots, jobs, chosen, needs, wish)]
        never = {p for name, rank in best.items() if rank in (0, None) and name in wanted
                 for p in places_of(wanted[name], roots) if p[1] == "checkpoints"}  # fmt: skip
        strange = _strange(held, {job.name for job in jobs}, needs)
        if strange:
            notes.append(
                f"code, data, models and job files are kept: {len(strange)} jobs beside these are unknown"
                f" in {self._account.region} ({min(strange)}, ...), and may need them"
            )
        free = {
            place: one for place, one in held.items()
            if needs.get(place) and needs[place] <= chosen and place[1] in wish.kinds
            and place not in never and not (strange and place[1] not in OF_A_JOB)
        }  # fmt: skip
        return Cleaning(
            tuple(self._entry(wanted[name], why, held) for name, why in kept.items()),
            tuple(_shared(held, free, needs, chosen, _names(wanted.values()), bool(strange))),
            tuple(free.values()),
            tuple(notes),
            self._clock(),
        )

    # --- jobs -------------------------------------------------------------------------------------

    def _jobs(self) -> list[Remote]:
        """Find all jobs of lingotune; those that Search does not know yet are described."""
        account = self._account
        found = {job.name: job for job in account.search({})}
        new = [n for n in account.listing(modified_after=self._clock() - _RECENT) if n not in found]
        found |= {n: job for n, job in account.describe_all(new, tags=True).items() if job.ours}
        return list(found.values())

    def _root(self, job: Remote) -> str | None:
        aws = aws_of(job.raw, self._account.region)
        return root_uri(aws) if aws else None

    def _best(self, wanted: Iterable[Remote], jobs: Sequence[Remote]) -> dict[str, int | None]:
        """Rank the completed jobs of all groups that have a wanted one."""
        groups: dict[str, list[Remote]] = {group_of(job): [] for job in wanted}
        for job in jobs:
            if group_of(job) in groups:
                groups[group_of(job)].append(job)
        best = Best(self._account, self._sweeps, self._runs)
        ranks: dict[str, int | None] = {}
        for group, members in groups.items():
            ranks |= asked_of(group, lambda those=members: best.ranks(those))  # type: ignore[misc]
        return ranks

    def _kept(self, job: Remote, wish: CleanWish, best: Mapping[str, int | None]) -> str:
        """Tell why a job is kept; '' = it is not."""
        if not job.job.state.over:
            return "runs"
        if job.job.ended is not None and self._clock() - job.job.ended < wish.older:
            return "not that old"
        if job.name not in best or wish.keep_best == 0:
            return ""
        rank = best[job.name]
        if rank is None:
            return "score unknown"
        nth = "best" if rank == 0 else f"{rank + 1}. best"
        return f"{nth} of {group_of(job)}" if rank < wish.keep_best else ""

    def _entry(self, job: Remote, why: str, held: Mapping[Place, Holding]) -> CleanJob:
        root = self._root(job)
        own = [held.get((root or "", kind, job.name)) for kind in OF_A_JOB]
        return CleanJob(job, why, tuple(one for one in own if one is not None))

    # --- pins -------------------------------------------------------------------------------------

    def _pins(
        self,
        held: Mapping[Place, Holding],
        roots: Sequence[str],
        jobs: Sequence[Remote],
        chosen: set[str],
        needs: Needs,
        wish: CleanWish,
    ) -> Iterator[str]:
        """Add what sweeps need: each is one more user of its pin, and of what its further trials read."""
        for root, _, name in [place for place in held if place[1] == "sweeps"]:
            members = [job for job in jobs if job.sweep == name and self._root(job) == root]
            pin = pin_beside(self._account, name, members)
            if pin is None:
                continue  # no job of it is known: nothing of it is touched
            started = {job.number for job in members}
            waiting = [trial for trial in pin.trials if trial.number not in started]
            user = _user(name)
            for place in places_of_pin(pin, root, roots, (trial.key for trial in waiting)):
                needs.setdefault(place, set()).add(user)
            named = wish.target is not None and wish.target.text == name
            if {job.name for job in members} <= chosen and (named or not waiting):
                chosen.add(user)
                if waiting:
                    yield f"{len(waiting)} trials of {name} wait; they can no longer be started then"


def _is_wanted(job: Remote, target: Target | None) -> bool:
    if target is None:
        return True
    if target.job:
        return job.name == target.job
    return job.sweep == target.sweep and (not target.numbers or job.number in target.numbers)


def _strange(held: Mapping[Place, Holding], known: set[str], needs: Needs) -> set[str]:
    """Find names of jobs that no description is known of: of another region, or too many to list."""
    return {
        place[2] for place in held
        if place[1] in OF_A_JOB and place[2] not in known and place not in needs
    }  # fmt: skip


def _names(jobs: Iterable[Remote]) -> set[str]:
    """Name the users of objects that jobs are: themselves, and their sweeps."""
    return {name for job in jobs for name in (job.name, *([_user(job.sweep)] if job.sweep else []))}


def _user(sweep: str) -> str:
    return f"sweep {sweep}"


def _shared(
    held: Mapping[Place, Holding],
    free: Mapping[Place, Holding],
    needs: Needs,
    chosen: set[str],
    wanted: set[str],
    strange: bool,
) -> Iterator[Shared]:
    """Tell of what the wanted jobs share why it is kept, or that it is not."""
    for place, one in held.items():
        users = needs.get(place, set())
        if place[1] in OF_A_JOB or not users & wanted:
            continue
        left = tuple(sorted(users - chosen))
        more = f" and {len(left) - 1} more" if left[1:] else ""
        why = f"needed by {left[0]}{more}" if left else ""
        if place not in free and not why:
            why = "may be needed elsewhere" if strange else "not asked for"
        yield Shared(one, left, why)


# --- deleting -------------------------------------------------------------------------------------


def agreed(before: Cleaning, now: Cleaning) -> list[Holding]:
    """Select what was shown, and still may be deleted: a job may have been started since."""
    shown = {one.place for one in before.deleted}
    return [one for one in now.deleted if one.place in shown]


def delete(account: Account, holdings: Sequence[Holding]) -> tuple[int, int, list[Problem]]:
    """Delete objects; returns how many and how many bytes they had, and what was refused."""
    s3 = account.calls.client("s3")
    objects = size = 0
    problems: list[Problem] = []
    for one in holdings:
        left = _delete(s3, one, problems)
        objects += len(one.keys) - left
        size += one.bytes if not left else 0
    return objects, size, problems


def _delete(s3: Any, one: Holding, problems: list[Problem]) -> int:
    """Delete the objects of a place; returns how many of them are left."""
    left = 0
    for start in range(0, len(one.keys), _BATCH):
        keys = one.keys[start : start + _BATCH]
        try:
            with explained(one.uri):
                wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
                refused = s3.delete_objects(Bucket=one.bucket, Delete=wanted).get("Errors", [])
        except ConfigError as error:
            problems += error.problems
            return left + len(one.keys) - start
        left += len(refused)
        if refused:
            what = f"{len(refused)} objects are not deleted: {refused[0].get('Code')}"
            fix = "s3:DeleteObject for whoever AWS_PROFILE names"
            problems.append(Problem(one.uri, what, fix, check="not-deleted", code=CLOUD_FAILED))
    return left
