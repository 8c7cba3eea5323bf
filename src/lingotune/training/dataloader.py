"""Batches for the Trainer, put together from prepared tokens: no tokenizer, no worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerCallback

from lingotune.config.schema import BatchingConfig
from lingotune.data.loader.sampling import Sampling
from lingotune.data.loader.store import Split
from lingotune.estimate.bucketing import BatchShape, Efficiency, efficiency, plan_epoch
from lingotune.modeling.lean_encoder import OFFSETS, REAL
from lingotune.system.arrays import Array


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

    def __getitems__(self, rows: Sequence[int] | Array | MicroBatch) -> dict[str, Any]:
        """A padded batch; torch asks for it by the numbers of all its rows, or as the sampler has it."""
        if isinstance(rows, MicroBatch):
            batch = rows.batch(self._multiple)
        else:
            batch = self.split.batch(rows, self._multiple)
        if self._packed:
            lengths = batch["attention_mask"].sum(axis=1)
            batch[REAL] = np.flatnonzero(batch["attention_mask"])
            batch[OFFSETS] = np.append(0, np.cumsum(lengths))
        if isinstance(rows, MicroBatch):
            batch[SHARE] = rows.share
        return batch


SHARE = "share"
"""Key of a training batch: see `MicroBatch.share`; not for the model."""


@dataclass(frozen=True)
class MicroBatch:
    """What a process takes of an update at once.

    rows: their numbers. share: how much its mean loss counts, so that the mean over all parts of all
    processes is that over the update's texts: texts of the part x parts / texts of the update.
    ahead, number: what makes its batch, and as which one.
    """

    rows: Array
    share: float
    ahead: PrefetchedBatches
    number: int = 0

    def batch(self, multiple: int) -> dict[str, Any]:
        """As `Split.batch`."""
        return self.ahead.batch(self.number, multiple)


class PrefetchedBatches:
    """Batches of rows of a split, `sizes` of them each, made together once the first is asked for, and
    given away one by one."""

    def __init__(self, split: Split, rows: Array, sizes: Sequence[int]) -> None:
        self._split, self._rows, self._sizes = split, rows, sizes
        self._made: list[dict[str, Array]] | None = None

    def batch(self, number: int, multiple: int) -> dict[str, Array]:
        """One of them; the same multiple for all."""
        if self._made is None:
            self._made = self._split.batches(self._rows, self._sizes, multiple)
        return self._made[number]


TOKENS_AHEAD = 1 << 17
"""Of batches that are made together, about: 2 MB, and a millisecond's work or two."""


class Updates:
    """This process's parts of an epoch's updates, one after the other: what torch calls a batch sampler.

    sampling: which rows an epoch draws; None = each once.
    """

    def __init__(
        self,
        split: Split,
        batching: BatchingConfig,
        shape: BatchShape,
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

    def __iter__(self) -> Iterator[MicroBatch]:
        rows, sizes, shares = self._parts()
        ends = np.cumsum(sizes)
        tokens = np.cumsum(sizes * np.maximum.reduceat(self._split.lengths[rows], ends - sizes))
        # A stretch ends with the part that its last token is of.
        stretch = np.searchsorted(tokens, np.arange(0, tokens[-1], TOKENS_AHEAD), side="right")
        bounds = [*np.unique(stretch).tolist(), len(sizes)]
        for first, last in pairwise(bounds):
            begin, counts = int(ends[first] - sizes[first]), sizes[first:last].tolist()
            of_stretch = rows[begin : int(ends[last - 1])]
            ahead, at = PrefetchedBatches(self._split, of_stretch, counts), 0
            for number, (count, share) in enumerate(zip(counts, shares[first:last].tolist())):
                yield MicroBatch(of_stretch[at : at + count], share, ahead, number)
                at += count

    def _parts(self) -> tuple[Array, Array, Array]:
        """Rows of this process's parts, one after the other; how many each has; what each counts."""
        shape, planned = self._shape, self.epoch
        of_part = np.arange(len(planned.cuts) - 1).reshape(-1, shape.world, shape.accumulation)
        mine = of_part[:, self._process].ravel()
        sizes = np.diff(planned.cuts)
        texts = np.repeat(sizes.reshape(-1, shape.parts).sum(axis=1), shape.accumulation)
        # A process without rows takes part too, with one that does not count.
        taken = np.maximum(sizes[mine], 1)
        first = np.where(sizes[mine] > 0, planned.cuts[mine], 0)
        at = np.repeat(first - (np.cumsum(taken) - taken), taken) + np.arange(int(taken.sum()))
        return self.drawn[planned.order[at]], taken, sizes[mine] * shape.parts / texts


def to_tensors(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The batch with its arrays as the model takes them: what a collator is for."""
    return {
        name: torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        for name, values in batch.items()
    }


class Loader(DataLoader[dict[str, Any]]):
    """torch's, of whole batches as `Batches` makes them, in this process.

    What torch does around each batch (the profiler's mark above all) would take longer than making it;
    see benchmarks/reader.py.
    """

    def __init__(
        self,
        batches: Dataset[dict[str, Any]],
        updates: Any,
        collate: Callable[[Any], dict[str, Any]],
        *,
        pin_memory: bool = False,
    ) -> None:
        """updates: iterable, of what `batches` is asked for, with a length: a batch sampler."""
        super().__init__(
            batches,
            batch_sampler=updates,
            collate_fn=collate,
            pin_memory=pin_memory,
            # Where torch's own iterator is used (on resuming), it draws a seed from this one, and
            # none from the training's.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches: Any = self.dataset
        for rows in self.batch_sampler or ():
            batch = self.collate_fn(batches.__getitems__(rows))
            if self.pin_memory:
                batch = {
                    name: value.pin_memory() if isinstance(value, torch.Tensor) else value
                    for name, value in batch.items()
                }
            yield batch


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
