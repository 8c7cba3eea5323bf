"""Run folders by the names of their jobs, or by beginnings of these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, listed
from lingotune.contract.container import JOB_FILE
from lingotune.launch.sweeps.ledger import Ledger, sweeps_in

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Form of the names of jobs and sweeps."""
_ATTEMPT = re.compile(r"(.+-[0-9a-f]{10})-\d{1,3}")


def run_beginning(typed: str, runs_dir: str) -> Path | None:
    """Find the run folder in `runs_dir` whose name this is, or begins so; of attempts of one job the last.

    None if there is none, or a path was typed. ConfigError if several fit.
    """
    if not NAME.fullmatch(typed):
        return None
    folder = Path(runs_dir)
    if (folder / typed / JOB_FILE).is_file():
        return folder / typed
    found = sorted(path.parent.name for path in folder.glob(f"*/{JOB_FILE}"))
    name = only_one(typed, [name for name in found if name.startswith(typed)])
    return folder / name if name else None


def job_beginning(typed: str, runs_dir: str) -> str:
    """Find the job in the ledgers of `runs_dir` whose name this is, or begins so; '' if there is none.

    ConfigError if several fit.
    """
    names = []
    for folder in sweeps_in(Path(runs_dir)) if NAME.fullmatch(typed) else ():
        with Ledger(folder) as ledger:
            names += [attempt.name for r in ledger.records() for attempt in r.attempts]
    return typed if typed in names else only_one(typed, [n for n in names if n.startswith(typed)])


def only_one(typed: str, names: Sequence[str]) -> str:
    """Return the only name, the last attempt of the only job; '' of none. ConfigError of several."""
    jobs: dict[str, list[str]] = {}
    for name in names:
        match = _ATTEMPT.fullmatch(name)
        jobs.setdefault(match[1] if match else name, []).append(name)
    if len(jobs) > 1:
        what = f"fits {len(names)} names; one is needed"
        raise ConfigError(
            [Problem(typed, what, listed(typed, sorted(names)), check="name-ambiguous")]
        )
    attempts = next(iter(jobs.values()), [])
    return max(attempts, key=lambda name: (len(name), name), default="")
