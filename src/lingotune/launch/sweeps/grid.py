"""Trials that are known from the beginning, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lingotune.launch.sweeps.metric import METRIC
from lingotune.launch.sweeps.trial import Evaluation, State, Trial


class Grid:
    """Source of the trials of a list, none if all are in the ledger; learns nothing and stops none."""

    planned, metric = 0, METRIC

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._trials = list(trials)

    def next(self) -> Trial | None:
        """Return the next trial; None after the last."""
        return self._trials.pop(0) if self._trials else None

    def tell(self, trial: Trial, evaluations: Sequence[Evaluation]) -> bool:
        """Take the evaluations of a running trial, which goes on in any case."""
        return False

    def ended(self, trial: Trial, state: State, evaluations: Sequence[Evaluation]) -> None:
        """Take the end of a trial."""

    @property
    def exhausted(self) -> bool:
        """True after the last trial."""
        return not self._trials
