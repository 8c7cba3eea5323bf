"""Where a run's seconds go: training, evaluating and the rest, and how much of it was padding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from lingotune.data.store import Split
from lingotune.throughput import cpu_machine


class Stopwatch(TrainerCallback):
    """Counts one process's seconds and tokens; add it to the Trainer before `train`.

    The Trainer evaluates and saves between two steps, and tells when it is done: what lies between
    these moments is training. `train_seconds` ends with the last step, evaluation or checkpoint.
    """

    def __init__(self, validation_rows: int, samples_at: Callable[[int], int]) -> None:
        """samples_at: training samples of all processes up to a step."""
        self.train_seconds = self.eval_seconds = 0.0
        self.eval_samples = 0
        self.first_step = 0
        self._validation_rows = validation_rows
        self._training = False
        self._mark = 0.0
        self._tokens = self._real_tokens = 0
        self._samples_at = samples_at
        self._step = 0
        self._told = (0.0, 0, 0, 0)

    @property
    def padding(self) -> float | None:
        """Share of this process's training tokens that was padding; None = none was seen."""
        return 1 - self._real_tokens / self._tokens if self._tokens else None

    def pace(self) -> dict[str, float]:
        """Since it was asked last: samples a second of all processes, and this one's padding."""
        now = (self.train_seconds, self._samples_at(self._step), self._tokens, self._real_tokens)
        seconds, samples, tokens, real = (a - b for a, b in zip(now, self._told))
        self._told = now
        found = {"samples_per_second": round(samples / seconds, 2)} if seconds > 0 else {}
        return found | ({"padding": round(1 - real / tokens, 4)} if tokens else {})

    def counted(self, collator: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The collator, with the tokens of training batches counted on the way."""

        def collate(examples: Any) -> Any:
            batch = collator(examples)
            if self._training:
                self._tokens += batch["attention_mask"].numel()
                self._real_tokens += int(batch["attention_mask"].sum())
            return batch

        return collate

    @contextmanager
    def evaluating(self, rows: int) -> Iterator[None]:
        """Count the block as the evaluation of so many rows."""
        started = self._now()
        yield
        self.eval_seconds += self._now() - started
        self.eval_samples += rows

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Training starts, or goes on from a checkpoint."""
        self._mark = self._now()
        self.first_step = self._step = state.global_step
        self._told = (0.0, self._samples_at(self._step), 0, 0)
        self._training = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An update is done. GPUs work behind the program's back: wait where another thing follows."""
        halts = control.should_evaluate or control.should_save or control.should_training_stop
        self.train_seconds += self._lap(wait=halts)
        self._step = state.global_step
        self._training = not control.should_evaluate

    on_epoch_end = on_step_end

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The validation split has been scored."""
        self.eval_seconds += self._lap()
        self.eval_samples += self._validation_rows
        self._training = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint has been written; that is neither training nor evaluating."""
        self._lap()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """What is collated from here on is evaluated."""
        self._training = False

    def _lap(self, *, wait: bool = True) -> float:
        """Seconds since the last lap."""
        before, self._mark = self._mark, self._now(wait=wait)
        return self._mark - before

    def _now(self, *, wait: bool = True) -> float:
        if wait and torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.monotonic()


def machine_name() -> str:
    """The GPU that this process trains on, or this machine's CPU."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return cpu_machine()


def token_figures(rows: Split) -> dict[str, float]:
    """Mean and 95th percentile of the lengths of the tokenised texts."""
    return {
        "tokens_mean": round(float(rows.lengths.mean()), 2),
        "tokens_p95": round(float(np.percentile(rows.lengths, 95)), 1),
    }
