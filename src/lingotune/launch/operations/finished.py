"""Ends of jobs, written into the ledger of their sweep where no controller does."""

from __future__ import annotations

import time
from pathlib import Path

from lingotune.launch.operations.log_files import evaluations_of
from lingotune.launch.operations.selection import Selection
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.ledger import Ledger


def note_ends(chosen: Selection, runs_dir: Path) -> None:
    """Write how the fetched jobs ended, with their evaluations; a controller that runs does so itself."""
    known = chosen.target.known
    if known is None:
        return
    before = {name: attempt for name, (_, attempt) in known.attempts().items()}
    ended = [
        row for row in chosen.rows
        if row.remote is not None and row.remote.job.state.over and row.name in before
        and not before[row.name].job.state.over
    ]  # fmt: skip
    if not ended:
        return
    with lock.held(known.folder) as holder:
        if holder:
            return
        with Ledger(known.folder) as ledger:
            for row in ended:
                assert row.remote is not None
                ledger.add_evaluations(row.name, evaluations_of(runs_dir / row.name))
                ledger.saw([row.remote.job], time.time())
