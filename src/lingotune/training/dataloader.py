"""Batches for the Trainer, assembled from prepared tokens: no tokenizer, no worker processes.

An update trains on a global batch. Each process takes its share of it as one or more micro-batches,
whose sizes may differ (see estimate/bucketing.py, which plans them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

Batch = dict[str, Any]
"""Arrays of a batch by name, or tensors once collated, and with `SHARE` a float."""


class Batches(Dataset[Batch]):
    """A split as a dataset that makes whole batches of rows given by their numbers.

    multiple: widths are rounded up to a multiple of it. packed: batches also say where their real tokens
    are (see `lean_encoder.Packing`), so that the model can skip padding.
    """

    def __init__(self, split: Split, multiple: int, *, packed: bool = False) -> None:
        self.split = split
        self._multiple, self._packed = multiple, packed

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, rows: Sequence[int] | Array | MicroBatch) -> Batch:
        """Make a padded batch, from row numbers or from the MicroBatch that the sampler yields."""
        if isinstance(rows, MicroBatch):
            batch = rows.batch(self._multiple)
        else:
            batch = self.split.batch(rows, self._multiple)
        if self._packed:
            lengths = batch["attention_mask"].sum(axis=1)  # (rows,)
            # Places of the real tokens in the batch read row by row: (tokens of all rows,).
            batch[REAL] = np.flatnonzero(batch["attention_mask"])
            # Where each row begins in REAL, and the end of the last: (rows + 1,).
            batch[OFFSETS] = np.append(0, np.cumsum(lengths))
        if isinstance(rows, MicroBatch):
            batch[SHARE] = Share(rows.share)
            batch[SHARE].rows = rows
        return batch

    def longest(self, count: int) -> Batch:
        """Make a batch of the longest texts, at most `count`: no batch of so many needs more memory."""
        return self.__getitems__(np.argsort(-self.split.lengths, kind="stable")[:count])


SHARE = "share"
"""Key of a training batch that the model does not take: see `MicroBatch.share`."""


class Share(float):
    """Share of a micro-batch, which travels with its rows: they are named if the loss is not finite."""

    rows: MicroBatch | None = None


@dataclass(frozen=True)
class MicroBatch:
    """The texts that one process trains on in one forward and backward pass.

    rows: their numbers, int64. share: weight of its mean loss, so that the mean over the micro-batches
    of all processes is the mean over the update's texts: texts of this micro-batch x micro-batches of
    the update / texts of the update. prefetched, number: where its batch is made, and its place there.
    """

    rows: Array
    share: float
    prefetched: PrefetchedBatches
    number: int = 0

    def batch(self, multiple: int) -> Batch:
        """Make its padded batch, as `Split.batch` does."""
        return self.prefetched.batch(self.number, multiple)


class PrefetchedBatches:
    """Consecutive batches of a split, made together when the first is asked for.

    rows: of all batches, one batch after the other. sizes: rows of each batch.
    """

    def __init__(self, split: Split, rows: Array, sizes: Sequence[int]) -> None:
        self._split, self._rows, self._sizes = split, rows, sizes
        self._made: list[dict[str, Array]] | None = None

    def batch(self, number: int, multiple: int) -> dict[str, Array]:
        """Return one of the batches; `multiple` has to be the same for all."""
        if self._made is None:
            self._made = self._split.batches(self._rows, self._sizes, multiple)
        return self._made[number]


PREFETCHED_TOKENS = 1 << 17
"""Tokens of the batches that are made together, about: 2 MB, and one or two milliseconds of work."""


PLANNED_TEXTS = 1 << 16
"""Texts of the updates that are split into micro-batches at once, about."""


class Updates:
    """Batch sampler that yields this process's micro-batches of an epoch, update by update.

    sampling: which rows an epoch draws; None = each row once.
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
        """Plan an epoch; the plan is the same in every process, and after an interruption."""
        if epoch == self._entered:
            return  # the first epoch is planned before the training begins
        self._entered = epoch
        self._drawn = None if self._sampling is None else self._sampling.places(epoch)
        self.epoch = plan_epoch(self._lengths(), self._batching, self._shape, self._seed, epoch)

    def efficiency(self) -> Efficiency:
        """Measure padding and waiting in the planned epoch."""
        return efficiency(self.epoch, self._lengths())

    @property
    def drawn(self) -> Array:
        """Rows that the epoch draws, int64; its plan numbers them."""
        return np.arange(len(self._split)) if self._drawn is None else self._drawn

    def _lengths(self) -> Array:
        """Lengths of the rows that the epoch draws, which a whole split has already."""
        lengths = self._split.lengths
        return lengths if self._drawn is None else lengths[self._drawn]

    def word_pieces(self, count: int) -> int:
        """Count the word pieces that an update's texts consist of: the median over `count` updates at even
        distances in the planned epoch."""
        planned, split = self.epoch, self._split
        ends = planned.cuts[:: self._shape.parts]
        found = []
        for update in np.unique(np.linspace(0, planned.updates - 1, count).astype(np.int64)):
            rows = self.drawn[planned.order[ends[update] : ends[update + 1]]]
            starts, lengths = split.starts[rows], split.lengths[rows]
            tokens = [split.tokens[a : a + n] for a, n in zip(starts.tolist(), lengths.tolist())]
            found.append(len(np.unique(np.concatenate(tokens))))
        return int(np.median(found))

    def __len__(self) -> int:
        return self.epoch.updates * self._shape.accumulation

    def __iter__(self) -> Iterator[MicroBatch]:
        for first in range(0, self.epoch.updates, self._planned_ahead):
            yield from self._of_updates(first, min(first + self._planned_ahead, self.epoch.updates))

    @property
    def _planned_ahead(self) -> int:
        """Number of updates whose micro-batches are found at once: those of an epoch may be millions."""
        return -(-PLANNED_TEXTS // self._shape.batch)

    def _of_updates(self, begin: int, end: int) -> Iterator[MicroBatch]:
        """Yield this process's micro-batches of the updates from `begin` to before `end`."""
        # rows: (texts,). sizes, shares: (micro-batches,). Number i has rows[ends[i] - sizes[i] : ends[i]].
        rows, sizes, shares = self._micro_batches(begin, end)
        ends = np.cumsum(sizes)
        # Padded tokens up to the end of each micro-batch: its longest text times its texts, summed up.
        longest = np.maximum.reduceat(self._split.lengths[rows], ends - sizes)
        tokens = np.cumsum(sizes * longest)
        # Cut them into stretches of about PREFETCHED_TOKENS. One begins with each micro-batch that
        # crosses a multiple of it; a micro-batch that crosses several begins one stretch only.
        starts = np.searchsorted(tokens, np.arange(0, tokens[-1], PREFETCHED_TOKENS), side="right")
        for first, last in pairwise([*np.unique(starts).tolist(), len(sizes)]):
            begin, counts = int(ends[first] - sizes[first]), sizes[first:last].tolist()
            stretch = rows[begin : int(ends[last - 1])]
            prefetched, at = PrefetchedBatches(self._split, stretch, counts), 0
            for number, (count, share) in enumerate(zip(counts, shares[first:last].tolist())):
                yield MicroBatch(stretch[at : at + count], share, prefetched, number)
                at += count

    def _micro_batches(self, begin: int, end: int) -> tuple[Array, Array, Array]:
        """Find this process's micro-batches: all their rows in turn, and size and share of each."""
        shape, planned = self._shape, self.epoch
        # The plan numbers all parts update by update, process by process; keep this process's numbers.
        cuts = planned.cuts[begin * shape.parts : end * shape.parts + 1]
        numbers = np.arange(len(cuts) - 1).reshape(-1, shape.world, shape.accumulation)
        mine = numbers[:, self._process].ravel()  # (updates x accumulation,)
        sizes = np.diff(cuts)  # texts of each part of these updates
        # Texts of the whole update that each of this process's parts belongs to.
        texts = np.repeat(sizes.reshape(-1, shape.parts).sum(axis=1), shape.accumulation)
        # A process whose part is empty trains all the same, as the others wait for its gradient: on the
        # epoch's first text, with share 0.
        taken = np.maximum(sizes[mine], 1)
        first = np.where(sizes[mine] > 0, cuts[mine], 0)
        # Concatenate arange(first[i], first[i] + taken[i]) over all i, without a loop: in one arange over
        # all texts, each part's stretch is shifted by the difference of its two starts.
        at = np.repeat(first - (np.cumsum(taken) - taken), taken) + np.arange(int(taken.sum()))
        rows = planned.order[at]
        if self._drawn is not None:
            rows = self._drawn[rows]
        return rows, taken, sizes[mine] * shape.parts / texts


def to_tensors(batch: Batch) -> Batch:
    """Turn the arrays of a batch into tensors: the collator."""
    return {
        name: torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        for name, values in batch.items()
    }


class Loader(DataLoader[Batch]):
    """DataLoader of the whole batches that `Batches` makes, in this process.

    torch's own iterator spends longer around each batch (mostly on a profiler mark) than making it takes;
    see benchmarks/reader.py.
    """

    def __init__(
        self,
        batches: Dataset[Batch],
        updates: Any,
        collate: Callable[[Any], Batch],
        *,
        pin_memory: bool = False,
    ) -> None:
        """updates: a batch sampler, an iterable with a length of what `batches` is indexed with."""
        super().__init__(
            batches,
            batch_sampler=updates,
            collate_fn=collate,
            pin_memory=pin_memory,
            # torch's own iterator (used on resuming) draws its seed from this generator, and so
            # leaves the training's random numbers alone.
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[Batch]:
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
    """Format how many rows an epoch draws of each language and class, and how many there are."""
    named = [
        (split.languages, split.language, split.language[drawn]),
        *([] if split.several else [(labels, split.label, split.label[drawn])]),
    ]
    counts = [
        f"{name} {np.sum(after == place)} (has {np.sum(before == place)})"
        for names, before, after in named
        for place, name in enumerate(names)
    ]
    return f"an epoch draws: {', '.join(counts)}"


class Epochs(TrainerCallback):
    """Callback that plans each epoch as it begins; after a resume, the epoch that was interrupted."""

    def __init__(self, updates: Updates, steps_per_epoch: int) -> None:
        self._updates, self._steps_per_epoch = updates, steps_per_epoch

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Plan the epoch before its first batch is asked for."""
        self._updates.enter(state.global_step // self._steps_per_epoch)
