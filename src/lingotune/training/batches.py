"""Batches for the Trainer, put together from prepared tokens: no tokenizer, no worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import TrainerCallback

from lingotune.batching import Efficiency, Shape, efficiency, plan_epoch
from lingotune.data.sampling import Sampling
from lingotune.data.store import Split
from lingotune.schema import BatchingConfig
from lingotune.training.encoder import OFFSETS, REAL

Array = np.ndarray[Any, np.dtype[Any]]


class Batches(Dataset[dict[str, Any]]):
    """A split as a dataset that makes whole batches, of rows given by their numbers.

    multiple: what widths are rounded up to. packed: batches tell where their tokens lie, so that the
    model can leave padding out.
    """

    def __init__(self, split: Split, multiple: int, *, packed: bool = False) -> None:
        self.split = split
        self._multiple, self._packed = multiple, packed

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])

    def __getitems__(self, rows: Sequence[int] | Array | Part) -> dict[str, Any]:
        """A padded batch; torch asks for it by the numbers of all its rows, or as the sampler has it."""
        given = rows.rows if isinstance(rows, Part) else rows
        batch = self.split.batch(given, self._multiple)
        if self._packed:
            lengths = batch["attention_mask"].sum(axis=1)
            batch[REAL] = np.flatnonzero(batch["attention_mask"])
            batch[OFFSETS] = np.append(0, np.cumsum(lengths))
        if isinstance(rows, Part):
            batch[SHARE] = np.array(rows.share, np.float32)
        return batch


SHARE = "share"
"""Key of a training batch: see `Part.share`; not for the model."""


@dataclass(frozen=True)
class Part:
    """What a process takes of an update at once.

    rows: their numbers. share: how much its mean loss counts, so that the mean over all parts of all
    processes is that over the update's texts: texts of the part x parts / texts of the update.
    """

    rows: Array
    share: float


class Updates:
    """This process's parts of an epoch's updates, one after the other: what torch calls a batch sampler.

    sampling: which rows an epoch draws; None = each once.
    """

    def __init__(
        self,
        split: Split,
        batching: BatchingConfig,
        shape: Shape,
        seed: int,
        process: int,
        sampling: Sampling | None = None,
    ) -> None:
        self._split, self._batching, self._shape = split, batching, shape
        self._seed, self._process, self._sampling = seed, process, sampling
        self._entered: int | None = None
        self.enter(0)

    def enter(self, epoch: int) -> None:
        """Plan an epoch: the same in every process, and after an interruption."""
        if epoch == self._entered:
            return  # the first one is planned before the training begins
        self._entered = epoch
        if self._sampling is None:
            self.drawn = np.arange(len(self._split))
        else:
            self.drawn = self._sampling.places(epoch)
        lengths = self._split.lengths[self.drawn]
        self.epoch = plan_epoch(lengths, self._batching, self._shape, self._seed, epoch)

    def efficiency(self) -> Efficiency:
        """Of the planned epoch."""
        return efficiency(self.epoch, self._split.lengths[self.drawn])

    def __len__(self) -> int:
        return self.epoch.updates * self._shape.accumulation

    def __iter__(self) -> Iterator[Part]:
        shape, planned = self._shape, self.epoch
        for update in range(planned.updates):
            texts = planned.rows_of(update)
            for turn in range(shape.accumulation):
                part = planned.part(update, self._process, turn)
                # A process without rows takes part too, with one that does not count.
                rows = part if len(part) else planned.order[:1]
                yield Part(self.drawn[rows], len(part) * shape.parts / texts)


def to_tensors(batch: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The batch as the model takes it: what a collator is for."""
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def draws_line(split: Split, drawn: Array, labels: Sequence[str]) -> str:
    """What an epoch draws of each language and class, beside what there is."""
    named = [
        (split.languages, split.language, split.language[drawn]),
        (labels, split.label, split.label[drawn]),
    ]
    told = [
        f"{name} {np.sum(after == place)} (has {np.sum(before == place)})"
        for names, before, after in named
        for place, name in enumerate(names)
    ]
    return f"an epoch draws: {', '.join(told)}"


class Epochs(TrainerCallback):
    """Lets each epoch be planned; on going on from a checkpoint, that epoch."""

    def __init__(self, updates: Updates, steps_per_epoch: int) -> None:
        self._updates, self._steps_per_epoch = updates, steps_per_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before the first batch of an epoch is asked for."""
        self._updates.enter(state.global_step // self._steps_per_epoch)
