"""Lengths of a job's texts before it runs, from prepared data or from published figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from lingotune.catalog import load
from lingotune.config.schema import (
    BatchingConfig,
    BatchMode,
    DataConfig,
    JobConfig,
    Source,
    TrainingConfig,
)
from lingotune.data.prepared.manifest import Manifest
from lingotune.data.rows.training_rows import trained_languages
from lingotune.data.sources.patterns import patterns_in
from lingotune.estimate.batch import BatchPlan
from lingotune.estimate.bucketing import (
    Efficiency,
    batching_lines,
    efficiency,
    plan_epoch,
    shape_of,
)
from lingotune.system.arrays import Array

ROWS = 100_000
"""Number of texts for an estimate; more would not change it."""


@dataclass(frozen=True)
class BatchingEstimate:
    """Cost of the job's batches, and of random ones.

    basis: where the lengths are from. word_pieces: number of word pieces that occur in the data; None =
    unknown.
    """

    planned: Efficiency
    random: Efficiency
    basis: str
    word_pieces: int | None
    arithmetic: tuple[str, ...]


def estimate_batching(
    job: JobConfig, batch: BatchPlan, manifest: Manifest | None
) -> BatchingEstimate | None:
    """Estimate padding and waiting in an epoch of the job; None if the lengths of its texts are unknown.

    manifest: of its prepared data, if there is any.
    """
    found = _of_manifest(manifest, job.data) if manifest else _published(job.data)
    if found is None:
        return None
    lengths, basis, pieces = np.minimum(found[0], job.data.max_length), *found[1:]
    stock, has_gpu = BatchingConfig(BatchMode.random), job.cluster.gpus_per_node > 0
    shape, usual = (
        shape_of(batch, batching, training, has_gpu=has_gpu)
        for batching, training in ((job.batching, job.training), (stock, TrainingConfig()))
    )
    planned, random = (
        efficiency(plan_epoch(lengths, batching, one, 0, 0), lengths)
        for batching, one in ((job.batching, shape), (stock, usual))
    )
    mode, tokens = batching_lines(job.batching, shape, planned)
    if job.batching.mode is not BatchMode.random:
        ratio = random.critical / planned.critical
        tokens += f"; {random.critical:.1f} with random batches: {ratio:.2f} times as many"
    return BatchingEstimate(planned, random, basis, pieces, (mode, tokens, f"lengths of {basis}"))


def _of_manifest(manifest: Manifest, data: DataConfig) -> tuple[Array, str, None] | None:
    """Read the lengths of the training texts from a manifest, evenly thinned out if there are many."""
    counts = np.zeros(1, np.int64)
    for language in trained_languages(data, manifest.lengths["train"]):
        more = np.array(manifest.lengths["train"][language], np.int64)
        counts = np.pad(counts, (0, max(0, len(more) - len(counts))))
        counts[: len(more)] += more
    total = int(counts.sum())
    if not total:
        return None
    at = (np.arange(min(total, ROWS)) + 0.5) * (total / min(total, ROWS))
    lengths: Array = np.searchsorted(np.cumsum(counts), at).astype(np.int64)
    return lengths, f"the {total} prepared texts", None


def published(name: str, rows: int, languages: Sequence[str] = ()) -> Array:
    """Draw `rows` lengths (tokens, int64) with the published percentiles of a corpus.

    languages: those of the corpus to include, in equal shares; empty = all. KeyError if nothing is
    published for it.
    """
    of_language = load("lengths", "lingotune.launch")["data"][name]
    chosen = [of_language[code] for code in languages or of_language]
    return np.concatenate([_spread(one, rows // len(chosen)) for one in chosen])


def _published(data: DataConfig) -> tuple[Array, str, int | None] | None:
    known = load("lengths", "lingotune.launch")["data"]
    name = next((name for name in known if name in " ".join(patterns_in(data.train))), None)
    if data.source is not Source.hub or name is None or not set(data.languages) <= set(known[name]):
        return None
    basis = f"{name}: its published percentiles in multilingual BERT's tokens"
    return (
        published(name, ROWS, data.languages),
        basis,
        load("lengths", "lingotune.launch")["word_pieces"].get(name),
    )


def _spread(percentiles: Mapping[str, int], rows: int) -> Array:
    """Draw lengths with these percentiles.

    Between the percentiles the logarithm of the length is linear in the quantiles of a normal
    distribution; beyond the outermost ones the lines continue.
    """
    middle, high, top = (math.log(percentiles[name]) for name in ("median", "p95", "p99"))
    slope = (top - middle) / NormalDist().inv_cdf(0.99)
    normal = NormalDist().inv_cdf
    known = [(-4.0, middle - 4 * slope), (0.0, middle), (normal(0.95), high), (normal(0.99), top)]
    known.append((4.0, top + (4 - normal(0.99)) * slope))
    at = [normal((n + 0.5) / 1000) for n in range(1000)]
    quantiles = np.interp(np.linspace(0, 1, rows), (np.arange(1000) + 0.5) / 1000, at)
    logarithms = np.interp(quantiles, [z for z, _ in known], [y for _, y in known])
    lengths: Array = np.maximum(np.exp(logarithms).round(), 3).astype(np.int64)
    return lengths
