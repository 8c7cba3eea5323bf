"""Batches for the Trainer, put together from prepared tokens: no tokenizer, no worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import TrainerCallback

from lingotune.data.sampling import Sampling
from lingotune.data.store import Split


class Batches(Dataset[dict[str, Any]]):
    """A split as a dataset that makes whole batches; its examples are rows, or an epoch's draws.

    multiple: what widths are rounded up to. sampling: which rows an epoch draws; None = each once.
    """

    def __init__(self, split: Split, multiple: int, sampling: Sampling | None = None) -> None:
        self.split = split
        self._multiple, self._sampling = multiple, sampling
        self._places: np.ndarray | None = None
        self.enter(0)

    def enter(self, epoch: int) -> None:
        """Draw the rows of an epoch: the same ones in every process, and after an interruption."""
        if self._sampling is not None:
            self._places = self._sampling.places(epoch)

    @property
    def drawn(self) -> np.ndarray:
        """Rows that the epoch draws, int64; each epoch has as many of each language and class."""
        return np.arange(len(self.split)) if self._places is None else self._places

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        """A padded batch; torch asks for it by the indices of all its examples."""
        at = np.asarray(indices, np.int64)
        rows = at if self._places is None else self._places[at]
        return self.split.batch(rows, self._multiple)


def to_tensors(batch: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The batch as the model takes it: what a collator is for."""
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def draws_line(train: Batches, labels: Sequence[str]) -> str:
    """What an epoch draws of each language and class, beside what there is."""
    split, drawn = train.split, train.drawn
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


class EpochDraws(TrainerCallback):
    """Lets the training set draw anew at each epoch; on going on from a checkpoint, that epoch's."""

    def __init__(self, train: Batches, steps_per_epoch: int) -> None:
        self._train, self._steps_per_epoch = train, steps_per_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before the first batch of an epoch is asked for."""
        self._train.enter(state.global_step // self._steps_per_epoch)
