"""How the processes exchange the word embeddings' gradient: decided once per run, before its first update.

Exchanging only the rows that an update touches pays where the network is slow relative to the embeddings.
Both are known here: the rows from the planned updates, the network from a short measurement. For more than
two processes the two ways differ by rounding, so checkpoints keep the decision.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import distributed

from lingotune.config.problems import ConfigError, Problem
from lingotune.estimate.batch import trains_no_rows
from lingotune.estimate.row_exchange import (
    FP32,
    Link,
    Traffic,
    as_typed,
    asked_for,
    pays,
    touched_seconds,
    unproven,
)
from lingotune.runs.results import EmbeddingExchange
from lingotune.training.context import RunContext
from lingotune.training.dataloader import Updates
from lingotune.training.distributed import from_first
from lingotune.training.trainer import ClassifierTrainer

MEASURED, KEPT = "measured", "as before"
"""Why a way was chosen, beside settings and obstacles: see `EmbeddingExchange.because`."""
_SAMPLED = 16
"""Updates whose word pieces are counted."""
_SIZES = (1 << 18, 1 << 21, 1 << 24)
"""Numbers to sum up, fp32: the next one if this took less than `_ENOUGH`."""
_ENOUGH = 0.01
"""Seconds beside which a latency is small."""
_REPEATED = 3


def exchange_embeddings(
    context: RunContext, trainer: ClassifierTrainer, updates: Updates, before: bool | None
) -> EmbeddingExchange | None:
    """Let the processes exchange only touched rows of the embeddings' gradient if that was asked for, or
    pays; rank 0 prints which. Every rank has to call this, before the training.

    before: decision of the checkpoint to resume from; None without one. Returns None where nothing is to be
    decided: for a single process, for embeddings that stay as they are, and for sharded models. ConfigError
    if touched rows were asked for but are impossible.
    """
    training, rank = context.job.training, context.rank
    if context.batch.world_size == 1 or trains_no_rows(training) or training.shard:
        return None
    sent_as = trainer.half_precision if training.compress_gradients else None
    weight = trainer.model.get_input_embeddings().weight
    width = torch.finfo(sent_as or weight.dtype).bits // 8
    traffic = Traffic(len(weight), updates.word_pieces(_SAMPLED), weight.shape[1], width)
    only, because, link = _choose(context, trainer.model, traffic, before)
    found: EmbeddingExchange = from_first(rank, _record(only, because, traffic, link))
    if rank.first:
        print(line_of(found), flush=True)
    if found.touched_only:
        trainer.exchange_rows(sent_as)
    return found


def _choose(
    context: RunContext, model: Any, traffic: Traffic, before: bool | None
) -> tuple[bool, str, Link | None]:
    """Decide whether to exchange touched rows only; also returns why, and the network if measured."""
    training, obstacle = context.job.training, _obstacle(model)
    wanted = asked_for(training)
    if wanted is not None:
        typed, fix = as_typed(training)
        if wanted and obstacle:
            raise ConfigError([Problem(typed, f"is impossible: {obstacle}", fix)])
        return wanted, typed, None
    if before is not None:
        return before, KEPT, None
    obstacle = obstacle or unproven(context.job)
    if obstacle:
        return False, obstacle, None
    link = measure_link(model.device)
    return pays(traffic, link), MEASURED, link


def _obstacle(model: Any) -> str | None:
    """Describe why touched rows cannot be exchanged; None if they can."""
    embeddings = model.get_input_embeddings()
    weight = embeddings.weight
    shared = [v for _, v in model.named_parameters(remove_duplicate=False) if v is weight]
    if not hasattr(weight, "register_post_accumulate_grad_hook"):
        return f"PyTorch {torch.__version__} does not signal finished gradients"
    if not weight.requires_grad:
        return "they are not trained"
    if len(shared) > 1:
        return "another layer has the same weights"
    if getattr(embeddings, "sparse", False):
        return "their gradient is sparse"
    return None


def measure_link(device: Any) -> Link:
    """Measure how fast the processes sum up numbers, in a fraction of a second; the same on every rank.

    Every rank has to call this. The times are those of the slowest rank, of the best of a few tries.
    """
    latency = _seconds_to_sum(1, device)
    for size in _SIZES:
        seconds = _seconds_to_sum(size, device)
        if seconds > _ENOUGH:
            break
    return Link(latency, size * FP32 / max(seconds - latency, 1e-9))


def _seconds_to_sum(size: int, device: Any) -> float:
    numbers = torch.zeros(size, device=device)
    best = float("inf")
    for number in range(_REPEATED + 1):
        distributed.barrier()
        begun = time.perf_counter()
        distributed.all_reduce(numbers)
        if numbers.is_cuda:
            torch.cuda.synchronize()
        if number:  # the first one sets up connections and buffers
            best = min(best, time.perf_counter() - begun)
    slowest = torch.tensor([best], dtype=torch.float64, device=device)
    distributed.all_reduce(slowest, distributed.ReduceOp.MAX)
    return float(slowest)


def _record(only: bool, because: str, traffic: Traffic, link: Link | None) -> EmbeddingExchange:
    return EmbeddingExchange(
        touched_only=only,
        because=because,
        rows=traffic.rows,
        touched=traffic.touched,
        whole_bytes=traffic.whole_bytes,
        touched_bytes=traffic.touched_bytes,
        whole_seconds=round(link.seconds(traffic.whole_bytes), 6) if link else None,
        touched_seconds=round(touched_seconds(traffic, link), 6) if link else None,
    )


def line_of(found: EmbeddingExchange) -> str:
    """Format a decision for the log."""
    touched = _cost(found.touched_bytes, found.touched_seconds)
    whole = _cost(found.whole_bytes, found.whole_seconds)
    if found.touched_only:
        text = (
            f"about {found.touched} of {found.rows} rows per update, {touched} instead of {whole}"
        )
    else:
        text = f"all {found.rows} rows per update, {whole}; the {found.touched} touched ones: {touched}"
    return f"exchange of the word embeddings' gradient: {text} ({found.because})"


def _cost(size: int, seconds: float | None) -> str:
    taken = "" if seconds is None else f" in {1000 * seconds:.1f} ms"
    return f"{size / 1e6:.3g} MB{taken}"
