"""Speed of an exported model beside the one it was made of: interleaved, medians."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lingotune.evaluation.classifier import Classifier

SIZES = (1, 8, 32)
"""Texts that are given together."""
THREADS = (1, 2)
_ROUNDS = 7
_PATIENCE = 20.0
"""Seconds for a row of the table, after which the rounds so far do; never fewer than 2."""


@dataclass(frozen=True)
class Speed:
    """Median seconds for some texts together on some threads, as trained and as exported."""

    texts: int
    threads: int
    before: float
    after: float


def compare_speed(before: Classifier, after: Classifier, texts: Sequence[str]) -> Iterator[Speed]:
    """Measure both models on texts of real lengths, tokenising included; threads are by default after."""
    try:
        for threads in THREADS:
            before.model.use_threads(threads)
            after.model.use_threads(threads)
            for size in SIZES:
                yield Speed(size, threads, *_medians((before, after), texts, size))
    finally:
        before.model.use_threads(None)


def _medians(models: Sequence[Classifier], texts: Sequence[str], size: int) -> list[float]:
    spent: list[list[float]] = [[] for _ in models]
    rounds = itertools.cycle(texts)
    ends = time.monotonic() + _PATIENCE
    for done in range(_ROUNDS + 1):
        batch = [*itertools.islice(rounds, size)]
        for model, seconds in zip(models, spent):
            started = time.perf_counter()
            model.logits(batch)
            seconds.append(time.perf_counter() - started)
        if done >= 2 and time.monotonic() > ends:
            break
    return [statistics.median(seconds[1:]) for seconds in spent]  # the first warms up
