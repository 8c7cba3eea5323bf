"""Stopping named jobs, and with a whole sweep all that it would still start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.aws.stopping import Stopper
from lingotune.launch.operations.named import Named
from lingotune.launch.operations.rows import Row
from lingotune.launch.sweeps.ledger import Ledger

REASON = "stopped by hand"
"""Reason in the ledger."""


@dataclass(frozen=True)
class Stops:
    """Jobs to stop, and whether their sweep starts no further ones."""

    named: Named

    @property
    def running(self) -> tuple[Row, ...]:
        """Rows of the jobs that have not ended and were not asked to stop."""
        return tuple(r for r in self.named.rows if r.state.holds_slot and not _stopping(r))

    @property
    def holds(self) -> bool:
        """True if a whole sweep was named, whose controller then starts nothing any more."""
        target = self.named.target
        return target.known is not None and bool(target.sweep) and not target.numbers

    @property
    def is_needless(self) -> bool:
        """True if there is nothing to do."""
        waits = any(not row.attempts for row in self.named.overview.rows)
        return not self.running and not (self.holds and waits)

    def lines(self) -> list[str]:
        """Describe what is about to be stopped."""
        found = [
            f"  {row.name}: {row.job.secondary or row.state.value}{_spent(row)}"
            for row in self.running
        ]
        if self.holds:
            waiting = sum(not row.attempts for row in self.named.overview.rows)
            found += [f"  {waiting} that wait are not started"] if waiting else []
        return found


def stop_all(
    stops: Stops, tell: Callable[[str], None], clock: Callable[[], float] = time.time
) -> list[Problem]:
    """Stop the jobs; returns what went wrong. One that cannot be stopped keeps none from it."""
    target, problems = stops.named.target, []
    stopper = Stopper(stops.named.account.region)
    ledger = Ledger(target.known.folder) if target.known is not None else None
    try:
        if ledger is not None and stops.holds:
            ledger.hold(f"{REASON}; {program('resume')} {target.sweep} goes on")
        for row in stops.running:
            if ledger is not None:
                ledger.intend_stop(row.name, clock(), REASON)
            try:
                status = stopper.stop(row.name)
            except ConfigError as error:
                problems += error.problems
                continue
            tell(f"{row.name}: {status}{_spent(row)}{_kept(row)}")
    finally:
        if ledger is not None:
            ledger.close()
    return problems


def _stopping(row: Row) -> bool:
    """Tell whether SageMaker has been asked already, not only this machine's ledger."""
    return row.remote is not None and row.remote.job.state.value == "stopping"


def _spent(row: Row) -> str:
    return "" if row.spent_usd is None else f", {row.spent_usd:.2f} USD so far"


def _kept(row: Row) -> str:
    kept = row.remote.checkpoint_uri if row.remote else None
    return f"; its checkpoints stay in {kept}" if kept else ""
