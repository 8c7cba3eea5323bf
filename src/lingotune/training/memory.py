"""Micro-batches that fit into memory, found by trying: before the first update, or after one has failed.

The longest texts need the most memory. A trial is a forward and a backward pass over as many of them as a
micro-batch has, beside all else that training holds: weights, AdamW's moments and, among processes, the
buckets in which gradients are exchanged. It leaves weights, gradients and random numbers as they were, and
waits for no other process.
"""

from __future__ import annotations

import gc
import resource
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lingotune.config.faults import is_memory, one_line
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import JobConfig, Resume
from lingotune.estimate.batch import BatchPlan, plan_batches
from lingotune.estimate.micro_batches import (
    overrides_of,
    smaller_micro_batches,
    with_micro_batch,
)
from lingotune.runs.folder import resume_command
from lingotune.training import distributed, failure
from lingotune.training.context import RunContext
from lingotune.training.dataloader import Batch, Batches, to_tensors
from lingotune.training.resume import micro_batch_before
from lingotune.training.trainer import ClassifierTrainer

SPARE = 0.05
"""Share of all memory that a trial leaves to fragments of it, and to other libraries."""
_PIECE = 4 << 20
"""Bytes of a piece of what is left free."""
_BROKEN = "could not create a primitive"
"""What oneDNN says, on CPUs, where memory ends within it; after that no other size would work either."""
_MOMENTS = 2
"""Numbers that AdamW keeps for each weight."""
_LESS = "a smaller data.max_length, a smaller model, or more memory"


def is_limited() -> bool:
    """Tell whether memory ends with an error here, and not with a kill: a GPU's, or below `ulimit -v`."""
    return torch.cuda.is_available() or _address_space() is not None


def _address_space() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


# --- before the first update --------------------------------------------------------------------


def fitted(
    context: RunContext, trainer: ClassifierTrainer, batches: Batches, checkpoints: Path
) -> RunContext:
    """Find the largest micro-batch that fits on all processes (training.fit_memory); rank 0 says it.

    trainer: that of the planned job. batches: what it trains on. checkpoints: this node's; a run that is
    resumed keeps what was found before. ConfigError on every rank if not even one text fits.
    """
    job, rank = context.job, context.rank
    failure.enter("trying what fits into memory")
    before = _before(context, checkpoints)
    if before:
        job = with_micro_batch(job, before)
    if is_limited():
        sizes = distributed.gather(
            rank, _largest(trainer, batches, [job, *smaller_micro_batches(job)])
        )
        if None in sizes:
            raise ConfigError([_nothing_fits(context.job, sizes.index(None))])
        job = with_micro_batch(job, min(sizes))
    batch = plan_batches(job)
    if rank.first:
        print(_said(context, batch, before), flush=True)
    return replace(context, batch=batch)


def _before(context: RunContext, checkpoints: Path) -> int | None:
    """Return the micro-batch, smaller than planned, with which the run has been trained so far, if any."""
    known = (
        None if context.resume is Resume.never else micro_batch_before(checkpoints, context.batch)
    )
    known = min((n for n in distributed.gather(context.rank, known) if n), default=None)
    return known if known and known < context.job.per_device_bs else None


def _said(context: RunContext, batch: BatchPlan, before: int | None) -> str:
    planned, size = context.batch.per_device_batch, batch.per_device_batch
    if size != planned:
        why = (
            "as before"
            if size == before
            else f"{planned} of the longest texts at a time do not fit"
        )
        return f"memory: {why}, {batch.arithmetic[0]}"
    if not is_limited():
        return "memory: not tried, as this machine sets no limit to it (training.fit_memory)"
    return f"memory: {planned} of the longest texts at a time fit (training.fit_memory)"


def _nothing_fits(job: JobConfig, rank: int) -> Problem:
    what = f"not even one text of {job.data.max_length} tokens at a time fits on rank {rank}"
    return Problem("training.fit_memory=true", what, _LESS)


def _largest(trainer: ClassifierTrainer, batches: Batches, jobs: Iterable[JobConfig]) -> int | None:
    """Find the largest micro-batch that fits; one text is tried first, while there is room for kernels."""
    if not fits(trainer, batches, 1):
        return None
    sizes = (job.per_device_bs for job in jobs)
    return next((size for size in sizes if fits(trainer, batches, size)), None)


# --- after an update that did not fit ------------------------------------------------------------


@contextmanager
def told(
    context: RunContext, trainer: ClassifierTrainer, batches: Mapping[str, Batches]
) -> Iterator[None]:
    """Raise ConfigError, with overrides that fit, if the block ends because memory is used up.

    batches: those of train and validation, which the block trains on and scores.
    """
    oldest = _oldest()
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if not is_memory(error):
            raise
        raise _told(context, trainer, batches, error, oldest) from error


def _told(
    context: RunContext,
    trainer: ClassifierTrainer,
    batches: Mapping[str, Batches],
    error: Exception,
    oldest: torch.Tensor,
) -> ConfigError:
    said, scores = (
        one_line(error, 160) or type(error).__name__,
        failure.stage() == failure.EVALUATING,
    )
    _forget(error, oldest)
    _give_back()
    if scores:
        size = trainer.args.per_device_eval_batch_size
        typed, fix = _for_scoring(trainer, batches["validation"], size)
    else:
        size = context.batch.per_device_batch
        typed, fix = _for_training(context, trainer, batches["train"])
    memory = "GPU" if torch.cuda.is_available() else "machine"
    what = f"the {memory} has not enough memory for {size} texts at a time: {said}"
    problem = Problem(failure.stage(), what, fix, key="per_device_bs")
    resumable = typed and not context.folders.in_container
    return ConfigError(
        [problem], f"{resume_command(context.folders.run)} {typed}" if resumable else ""
    )


def _for_training(
    context: RunContext, trainer: ClassifierTrainer, batches: Batches
) -> tuple[str, str]:
    """Find the overrides that fit, '' for none, and what to say about them."""
    job = with_micro_batch(context.job, context.batch.per_device_batch)
    smaller = list(smaller_micro_batches(job))
    if not smaller:
        return "", _LESS
    half = overrides_of(smaller[0])
    untried = half, f"{half}, the same update in smaller parts; or {_LESS}"
    if job.training.shard or job.training.compile:
        return untried
    try:
        size = _largest(trainer, batches, smaller)
    except Exception as error:  # a library that is broken by then, see `_BROKEN`
        if not is_memory(error):
            raise
        return untried
    if size is None:
        return "", _LESS
    if job.cluster.fallback:  # each machine of the list has its own
        return _FIT, f"{_FIT}, which finds the part of an update that fits"
    typed = overrides_of(with_micro_batch(job, size))
    found = "" if job.training.fit_memory else f"; or {_FIT}, which finds that by itself"
    return typed, f"{typed}, which fits and is the same update{found}"


def _for_scoring(trainer: ClassifierTrainer, batches: Batches, size: int) -> tuple[str, str]:
    while size := size // 2:
        if fits(trainer, batches, size, scoring=True):
            typed = f"evaluation.per_device_bs={size}"
            return typed, f"{typed}, which fits"
    return "", _LESS


_FIT = "training.fit_memory=true"


# --- a trial -------------------------------------------------------------------------------------


def fits(trainer: ClassifierTrainer, batches: Batches, size: int, *, scoring: bool = False) -> bool:
    """Try a pass over so many of the longest texts, beside what training holds; True if memory is enough.

    scoring: a forward pass alone.
    """
    oldest = _oldest()
    try:
        _try(trainer, batches.longest(size), scoring=scoring)
        return True
    except Exception as error:
        if not is_memory(error) or _BROKEN in str(error):
            raise
        _forget(error, oldest)
        return False
    finally:
        _give_back()


def _try(trainer: ClassifierTrainer, batch: Batch, *, scoring: bool) -> None:
    model = trainer.model
    trained = [p for p in model.parameters() if p.requires_grad]
    was_training = model.training
    model.train(not scoring)
    try:
        with _random_numbers_kept(), torch.set_grad_enabled(not scoring), _autocast(trainer):
            held = _held_besides(trainer, trained)
            inputs = trainer._prepare_inputs(to_tensors(batch))
            loss, _ = trainer.compute_loss(model, inputs, return_outputs=True)
        if not scoring:  # leaves .grad alone, and so wakes no exchange of gradients
            torch.autograd.grad(loss, trained, allow_unused=True)
        del held
    finally:
        model.train(was_training)


def _held_besides(
    trainer: ClassifierTrainer, trained: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Take the memory that training will hold besides weights and gradients, as far as it does not yet."""
    if trainer.optimizer is not None and trainer.optimizer.state:
        return _spare()
    copies = _MOMENTS + (1 if trainer.args.world_size > 1 else 0)
    states = (torch.empty(copies * p.numel(), dtype=p.dtype, device=p.device) for p in trained)
    return [*_spare(), *states]


def _spare() -> list[torch.Tensor]:
    """Take the share of memory that is to stay free, in pieces: no large one need be free at once."""
    device, total = "cpu", _address_space() or 0
    if torch.cuda.is_available():
        device = "cuda"
        total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    pieces = range(int(SPARE * total) // _PIECE)
    return [torch.empty(_PIECE, dtype=torch.uint8, device=device) for _ in pieces]


def _random_numbers_kept() -> AbstractContextManager[None]:
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    kept: AbstractContextManager[None] = torch.random.fork_rng(devices)
    return kept


def _autocast(trainer: ClassifierTrainer) -> AbstractContextManager[Any]:
    """Compute in the number format of the training, to which accelerate sets the model only later."""
    accelerator = getattr(trainer, "accelerator", None)  # transformers before 4.30 have none
    autocast = accelerator.autocast if accelerator else trainer.autocast_smart_context_manager
    found: AbstractContextManager[Any] = autocast()
    return found


def _oldest() -> torch.Tensor:
    """Make a result for `_forget`, before the pass that may fail."""
    return torch.zeros((), requires_grad=True) * 1


def _forget(error: BaseException | None, oldest: torch.Tensor) -> None:
    """Let go of what an error holds: all tensors of the pass that it ended.

    Its frames hold some. On a CPU, autograd's queue of this thread holds the rest where a backward pass
    failed: the nodes that it did not come to. The queue skips these in the next backward pass, but takes
    the youngest nodes first and stops at the pass's last one, so it is emptied by one that is older.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
    oldest.backward()


def _give_back() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
