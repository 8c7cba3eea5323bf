"""Ending a training whose validation score no longer rises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from lingotune.config.schema import JobConfig, selected_by


def has_stalled(scores: Sequence[float], patience: int, min_delta: float) -> bool:
    """Tell whether the last `patience` scores, of which more is better, brought no gain.

    scores: one for each evaluation so far. min_delta: a gain is more than this over the best before.
    """
    best, since = float("-inf"), 0
    for score in scores:
        if score > best + min_delta:
            best, since = score, 0
        else:
            since += 1
    return since >= patience


class EarlyStopping(TrainerCallback):
    """Callback that ends a training after `training.patience` evaluations without a gain.

    It keeps nothing of its own: what it decides follows from the scores that the Trainer's state holds, on
    every rank and after any resume.
    """

    def __init__(self, job: JobConfig, *, show: bool) -> None:
        """show: say where it stops."""
        assert job.training.patience is not None
        self._patience, self._min_delta = job.training.patience, job.training.min_delta
        self._metric, self._show = selected_by(job), show

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop once the evaluation has brought no gain for too long; the Trainer saves before it ends."""
        if self._has_stalled(args, state):
            control.should_training_stop = True
            if self._show:
                print(
                    f"stopping at step {state.global_step} of {state.max_steps}: {self._why()}",
                    flush=True,
                )

    def _why(self) -> str:
        evaluations = "evaluation" if self._patience == 1 else "evaluations"
        gain = f" by more than {self._min_delta:g}" if self._min_delta else ""
        stalled = f"has not improved{gain} for {self._patience} {evaluations}"
        return f"{self._metric} {stalled} (training.patience)"

    def _has_stalled(self, args: Any, state: Any) -> bool:
        key, sign = f"eval_{self._metric}", 1.0 if args.greater_is_better else -1.0
        scores = [sign * entry[key] for entry in state.log_history if key in entry]
        return has_stalled(scores, self._patience, self._min_delta)
