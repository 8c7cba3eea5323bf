"""Sweeps that this machine has a ledger of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.sweeps.ledger import (
    Attempt,
    Ledger,
    TrialRecord,
    runs_here,
    sweeps_in,
)


@dataclass(frozen=True)
class KnownSweep:
    """A sweep as its ledger tells it. about: what was written about it as a whole."""

    name: str
    folder: Path
    records: tuple[TrialRecord, ...]
    about: Mapping[str, Any]

    @property
    def region(self) -> str | None:
        """AWS region of its jobs; None if unknown, or if they run on this machine."""
        return self.about.get("region")

    @property
    def of_application(self) -> bool:
        """True for a sweep of `hydra/launcher=sagemaker`."""
        return "application" in self.about

    @property
    def command(self) -> str:
        """Command that goes on with an application's sweep; '' for others, or if it is not known here."""
        application = self.about.get("application")
        return f"python {application} {shlex.join(self.about['words'])}" if application else ""

    @property
    def is_local(self) -> bool:
        """True for a sweep whose jobs run on this machine, and cost nothing."""
        return runs_here(self.about)

    def attempts(self) -> dict[str, tuple[TrialRecord, Attempt]]:
        """Return the attempts by the names of their jobs, each with its trial."""
        return {a.name: (record, a) for record in self.records for a in record.attempts}


def read_sweep(folder: Path) -> KnownSweep:
    """Read the ledger in the folder of a sweep."""
    with Ledger(folder) as ledger:
        about = ledger.about()
        name = str(about.get("name") or folder.resolve().name)
        return KnownSweep(name, folder, tuple(ledger.records()), about)


def known_sweeps(runs_dir: Path) -> list[KnownSweep]:
    """Read all ledgers in a folder of runs, by name; none if there is no such folder.

    ConfigError if one of them cannot be read.
    """
    return [read_sweep(folder) for folder in sweeps_in(runs_dir)]


def readable_sweeps(runs_dir: Path) -> tuple[list[KnownSweep], list[Problem]]:
    """Read the ledgers in a folder of runs that can be read; the others are problems."""
    found, problems = [], []
    for folder in sweeps_in(runs_dir):
        try:
            found.append(read_sweep(folder))
        except ConfigError as error:  # damaged, or of a newer version
            problems += error.problems
    return found, problems
