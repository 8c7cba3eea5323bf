"""Stopping a training together: whoever is asked to end, all ranks save after the same update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback

from lingotune.config.problems import Preempted
from lingotune.estimate.batch import StepPlan
from lingotune.training import signals
from lingotune.training.distributed import TIMEOUT, Rank


class Agreement:
    """Whether any rank was asked to end: exchanged while the next update is computed, so that nobody waits.

    Every rank has to ask once after each update. asked: tells whether this rank was; by default by signals.
    """

    def __init__(self, rank: Rank, asked: Callable[[], int] = signals.asked) -> None:
        self._alone, self._asked = rank.world_size == 1, asked
        self._group: Any = None
        self._box: torch.Tensor | None = None
        self._work: Any = None

    def reached(self) -> bool:
        """Tell what was known after the update before, and send what this rank knows now."""
        if self._alone:
            return bool(self._asked())
        before = self._received()
        if not before:
            self._send()
        return before

    def settle(self) -> bool:
        """Tell what is known now; waits for every rank."""
        if self._alone:
            return bool(self._asked())
        before = self._received()
        self._send()
        return self._received() or before

    def _send(self) -> None:
        if self._group is None:  # of its own: it must not come between the gradients on a GPU
            self._group = torch.distributed.new_group(backend="gloo", timeout=TIMEOUT)
        self._box = torch.tensor([int(self._asked())])
        maximum = torch.distributed.ReduceOp.MAX
        self._work = torch.distributed.all_reduce(self._box, maximum, self._group, async_op=True)

    def _received(self) -> bool:
        if self._box is None:
            return False
        self._work.wait()
        said, self._box = int(self._box), None
        return bool(said)


class StopTogether(TrainerCallback):
    """Callback that ends a training once a checkpoint is committed; add it after what commits them."""

    def __init__(self, rank: Rank, steps: StepPlan, *, saves_at_epochs: bool) -> None:
        self._agreement, self._total = Agreement(rank), steps.total_steps
        self._per_epoch, self._saves_at_epochs = steps.steps_per_epoch, saves_at_epochs
        self._stopping = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save now; after the last update of an epoch once it has been evaluated, as without a signal."""
        self._stopping = self._stopping or self._agreement.reached()
        ends = state.global_step % self._per_epoch == 0 or state.global_step == self._total
        ends = ends or control.should_training_stop
        if self._stopping and not (ends and self._saves_at_epochs):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raise Preempted: the checkpoint is committed."""
        if self._stopping:
            raise self._preempted(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raise Preempted for a signal that came with the last update: what follows may take long."""
        if self._agreement.settle():
            raise self._preempted(state)

    def _preempted(self, state: Any) -> Preempted:
        step = state.global_step
        return Preempted(
            f"preempted at step {step} of {self._total}: checkpoint-{step} is saved, and the same run goes"
            " on from there"
        )
