"""Jobs that a command was given by name, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.operations.account import Account
from lingotune.launch.operations.opening import Opening
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.survey import Survey
from lingotune.launch.operations.targets import Names, Target


@dataclass(frozen=True)
class Named:
    """Jobs as they were found, in their account. rows: those that were started, by number."""

    target: Target
    account: Account
    overview: Overview

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of the jobs that were started."""
        return tuple(row for row in self.overview.rows if row.attempts)


def named_jobs(
    command: str, typed: str, numbers: Sequence[str], runs_dir: str, region: str | None
) -> Named:
    """Find the jobs that were typed.

    command: its name, for advice. ConfigError if there are none, or AWS does not answer.
    """
    opening = Opening(region)
    target = Names(runs_dir, opening.account, command).resolve(typed, numbers)
    if target.known is not None and target.known.is_local:
        what = (
            "runs on this machine: its jobs end with their command, their logs are in their folders"
        )
        raise ConfigError([Problem(target.text, what, f"{program('status')} {target.text}")])
    account = opening.account(target)
    return Named(target, account, Survey(target, account, runs_dir).look())


def check_started(named: Named) -> None:
    """Raise ConfigError if none of the jobs was started."""
    if not named.rows:
        target, what = named.target, f"no job of it was started in {named.account.region} yet"
        fix = f"{program('status')} {target.sweep or target.job}; --region NAME"
        raise ConfigError([Problem(target.text, what, fix, check="no-jobs")])
