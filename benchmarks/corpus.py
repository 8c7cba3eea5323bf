"""Token ids as a trainer reads them, with the lengths and the vocabulary of the article's reviews: made up,
for nothing else decides how long a step takes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from transformers.trainer_pt_utils import LengthGroupedSampler

from lingotune.data.loader.store import Split
from lingotune.estimate.bucketing import BatchShape, Epoch
from lingotune.launch.plan.lengths import published
from lingotune.system.machine import cpu_has_bf16

VOCABULARY = 119_547
"""Of multilingual BERT."""
USED = 42_000
"""Word pieces that occur in 1.2 million reviews, about."""
PADDING = 0


def corpus(rows: int, seed: int = 0, most: int = 512) -> Split:
    """Rows in random order; word pieces as frequent as words are (Zipf's law)."""
    draw = np.random.default_rng(seed)
    lengths = draw.permutation(np.minimum(published("amazon_reviews_multi", rows), most))
    rows = len(lengths)
    ends = np.cumsum(lengths)
    weights = 1 / (np.arange(USED) + 2.7)
    places = np.searchsorted(np.cumsum(weights / weights.sum()), draw.random(ends[-1]))
    ids = np.sort(draw.permutation(VOCABULARY - 1)[:USED] + 1)
    frequent_first = draw.permutation(USED).astype(np.uint16)
    return Split(
        frequent_first[np.minimum(places, USED - 1)], ids, ends - lengths, lengths,
        draw.integers(0, 3, rows), np.zeros(rows, np.int16), np.arange(rows), ("all",), PADDING,
    )  # fmt: skip


def half_precision() -> AbstractContextManager[Any]:
    """bf16 on a CPU that computes in it; elsewhere nothing, for it would be emulated."""
    return torch.autocast("cpu", torch.bfloat16) if cpu_has_bf16() else nullcontext()


def real_dimensions(**others: Any) -> Any:
    """The configuration of distilbert-base-multilingual-cased, with three classes; others: what differs."""
    from transformers import DistilBertConfig

    return DistilBertConfig(vocab_size=VOCABULARY, num_labels=3, **others)


def grouped(lengths: Any, shape: BatchShape, epoch: int) -> Epoch:
    """transformers' group_by_length, its batches dealt out to the processes in turn as accelerate does."""
    generator = torch.Generator().manual_seed(epoch)
    sampler: Any = LengthGroupedSampler(shape.size, lengths=lengths.tolist(), generator=generator)
    order = np.array(list(sampler))
    order = order[: len(order) // shape.batch * shape.batch]
    return Epoch(order, np.arange(0, len(order) + 1, shape.size), shape)


def at_quantiles(cost: Any, count: int) -> Any:
    """Places (int64) of so many values at even quantiles."""
    order = np.argsort(cost, kind="stable")
    return order[((np.arange(count) + 0.5) * len(cost) / count).astype(int)]
