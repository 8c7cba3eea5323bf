"""Jobs that a command acts on: what was typed, and all that SageMaker knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.operations.account import Account
from lingotune.launch.operations.described import DESCRIPTION, described_in
from lingotune.launch.operations.opening import Opening
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.survey import Survey
from lingotune.launch.operations.targets import Names, Target


@dataclass(frozen=True)
class Selection:
    """Jobs that were typed, in the account that they run in, as last looked at."""

    target: Target
    account: Account
    survey: Survey
    overview: Overview

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of the jobs, by number."""
        return self.overview.rows


def select(
    command: str, typed: str, numbers: Sequence[str], runs_dir: str, region: str | None
) -> Selection:
    """Find the jobs that were typed and describe them.

    command: its name, for advice. ConfigError if there are none, or AWS does not answer.
    """
    opening = Opening(region, runs_dir)
    target = Names(opening, command).resolve(typed, numbers)
    if target.known is not None and target.known.is_local:
        what = "runs on this machine, not on SageMaker: its runs are in their folders"
        options = opening.options
        fix = f"{program('status')} {target.text}{options}"
        raise ConfigError([Problem(target.text, what, fix, check="sweep-of-this-machine")])
    account = opening.account(target.region)
    survey = Survey(target, account, runs_dir, thorough=True, options=opening.options)
    overview = survey.look()
    if not overview.rows:
        what = f"has no jobs in {account.region}"
        fix = "--region with another one, or other numbers"
        raise ConfigError([Problem(target.text, what, fix, check="no-jobs")])
    return Selection(target, account, survey, overview)


def job_named(
    typed: str, region: str | None, runs_dir: str, command: str
) -> tuple[str, str | None]:
    """Find the one job that was typed, of any tool, by its name, its beginning or its run folder.

    Returns its name and region, None = this machine's. ConfigError if nothing or too much fits.
    """
    if (Path(typed) / DESCRIPTION).is_file():
        name, there = described_in(Path(typed))
        return name, region or there
    opening = Opening(region, runs_dir)
    target = Names(opening, command, is_foreign_fine=True).resolve(typed)
    if target.sweep:
        what = (
            "is a sweep, and one job is needed; its jobs and what each has cost are shown by status"
        )
        fix = f"{program('status')} {target.sweep}{opening.options}"
        raise ConfigError([Problem(typed, what, fix)])
    return target.job, region or target.region
