"""Attempts of a job: the same settings, code and data, under names that end in -2, -3 and so on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lingotune.launch.operations.account import Account
from lingotune.launch.operations.remote import Remote

_NAME = re.compile(r"(.+-[0-9a-f]{10})(?:-([1-9]\d{0,2}))?")


@dataclass(frozen=True)
class Attempts:
    """Attempts of one job that SageMaker knows, by number. first: name of the first one."""

    first: str
    jobs: dict[int, Remote]

    @property
    def last(self) -> Remote:
        """The newest."""
        return self.jobs[max(self.jobs)]

    @property
    def next_name(self) -> str:
        """Name of the attempt that would follow."""
        return f"{self.first}-{max(self.jobs) + 1}"


def numbered(name: str) -> tuple[str, int]:
    """Split a job's name into that of the first attempt, and the number of this one."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2] or 1)) if match else (name, 1)


def attempts_of(account: Account, name: str) -> Attempts:
    """Find all attempts of the job that has this name, each with its tags; Unanswered without an answer."""
    first = numbered(name)[0]
    names = {name, *(n for n in account.listing(contains=first) if numbered(n)[0] == first)}
    found = account.describe_all(sorted(names), tags=True)
    return Attempts(first, {numbered(n)[1]: job for n, job in found.items() if job.ours})
