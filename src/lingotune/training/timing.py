"""Timers for a run: seconds spent on training, evaluating and the rest, and the share of padding."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import TrainerCallback

from lingotune.data.loader.store import Split
from lingotune.modeling.lean_encoder import REAL
from lingotune.system.machine import cpu_machine
from lingotune.training.progress import SCORING, UPDATE, progress


class Phases:
    """Seconds that one process spends in each phase; on a GPU measured by CUDA events, without waiting."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._pending: deque[tuple[str, Any, Any]] = deque()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Add the duration of the block to the phase `name`."""
        if not torch.cuda.is_available():
            begun = time.perf_counter()
            yield
            self._add(name, time.perf_counter() - begun)
            return
        begun, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        yield
        done.record()
        self._pending.append((name, begun, done))
        while len(self._pending) > _EVENTS and self._pending[0][2].query():
            self._take()

    def seconds(self) -> dict[str, float]:
        """Return the total seconds per phase."""
        if self._pending:
            torch.cuda.synchronize()
        while self._pending:
            self._take()
        return {name: round(value, 3) for name, value in self._seconds.items()}

    def _take(self) -> None:
        name, begun, done = self._pending.popleft()
        self._add(name, begun.elapsed_time(done) / 1000)

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds


_EVENTS = 1000
"""Pairs of events to keep before those that have completed are read."""


class Stopwatch(TrainerCallback):
    """Callback that counts one process's seconds and tokens; add it to the Trainer before `train`.

    The Trainer evaluates and saves between two steps, and calls back when each of these is done; the time
    in between is training. `train_seconds` ends with the last step, evaluation or checkpoint.
    """

    def __init__(self, validation_rows: int, samples_at: Callable[[int], int]) -> None:
        """samples_at: returns the samples that all processes have trained on up to a step."""
        self.train_seconds = self.eval_seconds = self.save_seconds = 0.0
        self.phases = Phases()
        self.eval_samples = self.checkpoints = 0
        self.first_step = 0
        self._validation_rows = validation_rows
        self._training = False
        self._mark = 0.0
        self._tokens = self._real_tokens = 0
        self._samples_at = samples_at
        self._step = 0
        self._last_pace = (0.0, 0, 0, 0)

    @property
    def padding(self) -> float | None:
        """Share of this process's training tokens that was padding; None if it has seen no tokens."""
        return 1 - self._real_tokens / self._tokens if self._tokens else None

    def padded(self, tokens: float) -> float:
        """Scale a token count by the padding ratio observed so far."""
        return tokens * self._tokens / self._real_tokens if self._real_tokens else tokens

    def pace(self) -> dict[str, float]:
        """Measure since the last call: samples per second of all processes, and this one's padding."""
        now = (self.train_seconds, self._samples_at(self._step), self._tokens, self._real_tokens)
        seconds, samples, tokens, real = (a - b for a, b in zip(now, self._last_pace))
        self._last_pace = now
        found = {"samples_per_second": round(samples / seconds, 2)} if seconds > 0 else {}
        return found | ({"padding": round(1 - real / tokens, 4)} if tokens else {})

    def counted(self, collator: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Wrap a collator so that the tokens of training batches are counted."""

        def collate(examples: Any) -> Any:
            batch = self._timed(collator, examples)
            if self._training:
                mask = batch["attention_mask"]
                real = int(mask.sum())
                self._tokens += real if REAL in batch else mask.numel()
                self._real_tokens += real
            return batch

        return collate

    def reading(self, batches: Dataset[Any]) -> Dataset[Any]:
        """Wrap a dataset so that the time to make training batches is counted."""
        return _Timed(batches, self)

    def _timed(self, make: Callable[[Any], Any], given: Any) -> Any:
        if not self._training:
            return make(given)
        with self.phases.of("data"), progress.computing():
            return make(given)

    @contextmanager
    def evaluating(self, rows: int) -> Iterator[None]:
        """Count the block as evaluating `rows` rows."""
        started = self._now()
        yield
        self.eval_seconds += self._now() - started
        self.eval_samples += rows

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock, at step 0 or at the step of the checkpoint."""
        self._mark = self._now()
        self.first_step = self._step = state.global_step
        self._last_pace = (0.0, self._samples_at(self._step), 0, 0)
        self._training = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the update; GPUs work asynchronously, so wait for them if something else comes next."""
        halts = control.should_evaluate or control.should_save or control.should_training_stop
        self.train_seconds += self._lap(wait=halts)
        self._step = state.global_step
        self._training = not control.should_evaluate

    on_epoch_end = on_step_end

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the time as evaluating: the validation split has been scored."""
        self.eval_seconds += self._lap()
        self.eval_samples += self._validation_rows
        self._training = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the time as saving: a checkpoint has been written."""
        self.save_seconds += self._lap()
        self.checkpoints += 1

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop counting tokens: batches from here on are for evaluation."""
        self._training = False

    def _lap(self, *, wait: bool = True) -> float:
        """Return the seconds since the last lap, and start the next."""
        before, self._mark = self._mark, self._now(wait=wait)
        return self._mark - before

    def _now(self, *, wait: bool = True) -> float:
        if wait and torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.monotonic()


class Moves(TrainerCallback):
    """Callback that notes the progress of the main thread: each batch that is trained on or scored."""

    def __init__(self) -> None:
        self._scored = 0

    def pause(self, *args: Any, **kwargs: Any) -> None:
        """Note that something else comes."""
        self._scored = 0
        progress.pause()

    on_train_begin = on_epoch_end = on_evaluate = on_predict = on_save = on_train_end = pause

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note a micro-batch: the first of an update, or the one after `on_substep_end`."""
        progress.move(UPDATE)

    on_substep_end = on_step_begin

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pause if the model is evaluated or saved."""
        if control.should_evaluate or control.should_save or control.should_training_stop:
            self.pause()

    def on_prediction_step(
        self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **kwargs: Any
    ) -> None:
        """Note a batch that was scored; behind the last one scores are computed."""
        self._scored += 1
        progress.move(SCORING)
        if eval_dataloader is None or self._scored >= len(eval_dataloader):
            self.pause()


class _Timed(Dataset[Any]):
    def __init__(self, batches: Any, stopwatch: Stopwatch) -> None:
        self._batches, self._stopwatch = batches, stopwatch

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return self._batches[index]

    def __getitems__(self, rows: Any) -> Any:
        return self._stopwatch._timed(self._batches.__getitems__, rows)


def machine_name() -> str:
    """Name the GPU that this process trains on, or this machine's CPU."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return cpu_machine()


def token_figures(rows: Split) -> dict[str, float]:
    """Compute mean, mean square and 95th percentile of the texts' lengths in tokens."""
    return {
        "tokens_mean": round(float(rows.lengths.mean()), 2),
        "tokens_square": round(float((rows.lengths.astype(float) ** 2).mean()), 1),
        "tokens_p95": round(float(np.percentile(rows.lengths, 95)), 1),
    }
