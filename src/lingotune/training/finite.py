"""Stopping before an update that would not be finite, on every rank at the same one.

It costs no exchange between ranks. A loss that is not finite makes all gradients of its rank NaN, and the
exchange of gradients those of every rank; the norm by which they are clipped anyway tells. Only then do the
ranks tell each other which of them, and which rows, it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from lingotune.config.problems import NUMERIC_FAILED, ConfigError, Problem
from lingotune.training import distributed, failure
from lingotune.training.dataloader import MicroBatch
from lingotune.training.distributed import Rank

_SHOWN = 8
"""Rows named in a message."""


class FiniteGuard:
    """Guard of one process's updates.

    lr: as it was set, for the advice. max_skipped: updates in a row that the loss scaling of fp16 may skip.
    ids_of: returns the ids of training rows by their numbers. skipped: updates skipped so far.
    """

    def __init__(
        self,
        rank: Rank,
        lr: float,
        max_skipped: int,
        ids_of: Callable[[Sequence[int]], list[str]],
    ) -> None:
        self._rank, self._lr, self._max_skipped, self._ids_of = rank, lr, max_skipped, ids_of
        self._losses: list[tuple[MicroBatch | None, torch.Tensor]] = []
        self._in_a_row = self.skipped = 0
        self._scaled = self._clips = self._looked = False

    def poisoned(self, loss: torch.Tensor, rows: MicroBatch | None) -> torch.Tensor:
        """Return a micro-batch's loss, the same value, whose gradients are NaN unless it is finite."""
        value = loss.detach()
        self._losses.append((rows, value))
        return loss * (1 + 0 * value)  # exactly 1 for any finite loss

    def watch(self, trainer: Any, optimizer: Any) -> None:
        """Look at the norm by which a Trainer clips, or at the gradients before each step where it does so
        by other means (transformers before 4.30)."""
        self._scaled = trainer.args.fp16
        accelerator = getattr(trainer, "accelerator", None)
        if accelerator is not None and not self._clips:
            clip, self._clips = accelerator.clip_grad_norm_, True
            accelerator.clip_grad_norm_ = lambda *a, **k: self._clipped(clip(*a, **k))
        optimizer.register_step_pre_hook(lambda *_: self._before_step(optimizer))

    def check_weights(self, model: Any, what_for: str) -> None:
        """Raise ConfigError, on every rank, if a weight of any rank is not finite."""
        found = distributed.gather(self._rank, not_finite(model.named_parameters())[:1])
        if name := next((name for names in found for name in names), None):
            what = (
                f"{name} is not finite, so it is no {what_for}; the last finite checkpoint is kept"
            )
            raise self._error(what)

    def _clipped(self, norm: Any) -> Any:
        self._looked = True
        self._check(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        return norm

    def _before_step(self, optimizer: Any) -> None:
        if not self._looked:
            given = [p for group in optimizer.param_groups for p in group["params"]]
            self._check(torch.nn.utils.clip_grad_norm_(given, math.inf))  # clips nothing
        self._looked = False

    def _check(self, norm: Any) -> None:
        losses, self._losses = self._losses, []
        if math.isfinite(norm := float(norm)):
            self._in_a_row = 0
        elif self._scaled:
            self._skip()
        else:
            raise self._error(self._told(losses, norm))

    def _skip(self) -> None:
        """Count an update that fp16's loss scaling skips: it has tried a scale that is too large."""
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row > self._max_skipped:
            what = (
                f"fp16 has skipped {self._in_a_row} updates in a row: gradients are infinite or NaN at any"
                " scale of the loss"
            )
            where = f"training.max_skipped={self._max_skipped}"
            fix = f"training.precision=fp32, or lr={self._lr / 10:g}"
            raise ConfigError([Problem(where, what, fix, code=NUMERIC_FAILED)])

    def _told(self, losses: Sequence[tuple[MicroBatch | None, torch.Tensor]], norm: float) -> str:
        """Say what is not finite, and on which rows; every rank has to call this."""
        bad = [(rows, float(loss)) for rows, loss in losses if not math.isfinite(float(loss))]
        numbers = [n for rows, _ in bad or losses for n in (rows.rows.tolist() if rows else ())]
        own = (bad[0][1] if bad else None, self._ids_of(numbers))
        found = distributed.gather(self._rank, own)
        guilty = [(rank, loss, ids) for rank, (loss, ids) in enumerate(found) if loss is not None]
        if guilty:
            rank, loss, ids = guilty[0]
            return f"the loss is {loss} on rank {rank}, {_rows(ids)}; {_KEPT}"
        ids = [one for _, few in found for one in few]
        return f"the gradient's norm is {norm}, {_rows(ids)}; {_KEPT}"

    def _error(self, what: str) -> ConfigError:
        fix = f"lr={self._lr / 10:g}; if it is these rows each time, look at them"
        return ConfigError([Problem(failure.stage(), what, fix, key="lr", code=NUMERIC_FAILED)])


def check_loss(loss: float, step: int, lr: float) -> None:
    """Raise ConfigError if a loss that was logged is not finite."""
    if not math.isfinite(loss):
        what, fix = f"the loss became {loss} at step {step}", f"lr={lr / 10:g}"
        raise ConfigError([Problem(f"lr={lr:g}", what, fix, code=NUMERIC_FAILED)])


_KEPT = "the update was not made, and the last checkpoint is kept"


def _rows(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"rows {', '.join(ids[:_SHOWN])}{more}"


def not_finite(weights: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Name the weights, of any type and device, that are not finite; one transfer to the CPU in all."""
    named = [(name, getattr(value, "_local_tensor", value).detach()) for name, value in weights]
    named = [(name, value) for name, value in named if value.is_floating_point() and value.numel()]
    if not named:
        return []
    # The sum of a tensor is finite only if all of it is; a sum that overflows is looked at closely.
    sums = torch.stack([value.sum(dtype=torch.float32) for _, value in named])
    doubtful = [one for one, fine in zip(named, torch.isfinite(sums).tolist()) if not fine]
    return [name for name, value in doubtful if not torch.isfinite(value).all()]
