"""Ending a training after a number of hours (training.max_hours), on all ranks after the same update."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from lingotune.config.schema import EvalStrategy, JobConfig
from lingotune.training.checkpoints import Checkpoint
from lingotune.training.distributed import Rank
from lingotune.training.stopping import Agreement

HOUR = 3600


class TimeLimit(TrainerCallback):
    """Callback that ends a training once its hours are over; the first rank's clock decides.

    What has been trained is then scored and saved as at the end of any training, so that the best weights
    so far are kept. Each checkpoint holds `seconds`: a run that goes on has the rest of its hours.
    """

    def __init__(
        self,
        job: JobConfig,
        rank: Rank,
        start: Checkpoint | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """start: the checkpoint that the run goes on from."""
        assert job.training.max_hours is not None
        self._hours, self._first, self._clock = job.training.max_hours, rank.first, clock
        self._by_steps = job.training.eval_strategy is EvalStrategy.steps
        self._before, self._begin = start.seconds if start else 0.0, clock()
        self._agreement = Agreement(rank, lambda: rank.first and self._is_over())
        self.reached = start is not None and start.ended and self._is_over()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, evaluations, saving and earlier attempts included."""
        return self._before + self._clock() - self._begin

    def _is_over(self) -> bool:
        return self.seconds >= self._hours * HOUR

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self._begin = self._clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop after this update if the hours are over; with evaluations at the ends of epochs, the Trainer
        ends the epoch with it, too.
        """
        if not self._agreement.reached() or state.global_step >= state.max_steps:
            return
        self.reached = control.should_training_stop = True
        if self._by_steps:
            control.should_evaluate = control.should_save = True
        if self._first:
            hours = f"{self._hours:g} {'hour is' if self._hours == 1 else 'hours are'}"
            where = f"stopping at step {state.global_step} of {state.max_steps}"
            print(f"{where}: {hours} over (training.max_hours)", flush=True)
