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


def is_stalled(job: JobConfig, args: Any, state: Any) -> bool:
    """Tell whether `training.patience` ends a training whose evaluations are in the Trainer's state."""
    if job.training.patience is None:
        return False
    key, sign = f"eval_{selected_by(job)}", 1.0 if args.greater_is_better else -1.0
    scores = [sign * entry[key] for entry in state.log_history if key in entry]
    return has_stalled(scores, job.training.patience, job.training.min_delta)


class EarlyStopping(TrainerCallback):
    """Callback that ends a training after `training.patience` evaluations without a gain.

    It keeps nothing of its own: what it decides follows from the scores that the Trainer's state holds, on
    every rank and after any resume.
    """

    def __init__(self, job: JobConfig, *, show: bool) -> None:
        """show: say where it stops."""
        self._job, self._show = job, show

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop once the evaluation has brought no gain for too long; the Trainer saves before it ends."""
        if state.global_step < state.max_steps and is_stalled(self._job, args, state):
            control.should_training_stop = True
            if self._show:
                print(
                    f"stopping at step {state.global_step} of {state.max_steps}: {self._why()}",
                    flush=True,
                )

    def _why(self) -> str:
        patience, min_delta = self._job.training.patience, self._job.training.min_delta
        evaluations = "evaluation" if patience == 1 else "evaluations"
        gain = f" by more than {min_delta:g}" if min_delta else ""
        stalled = f"has not improved{gain} for {patience} {evaluations}"
        return f"{selected_by(self._job)} {stalled} (training.patience)"
