"""The model, its batches and the Trainer of a run, made ready to train."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from lingotune.catalog.hardware import resolve_precision
from lingotune.config.console import say
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Balance, JobConfig, LabelsMode, Precision, TrainingConfig
from lingotune.data.loader.sampling import (
    Sampling,
    class_weights,
    plan_sampling,
    positive_weights,
)
from lingotune.data.loader.store import Split
from lingotune.data.loader.tokenizer import tokenizer_of
from lingotune.estimate.bucketing import BatchShape, batching_lines, shape_of
from lingotune.estimate.throughput import samples_trained
from lingotune.evaluation.metrics import (
    Classes,
    Predictions,
    classes_of,
    probabilities_of,
    scores_by_language,
)
from lingotune.evaluation.own_metrics import try_metrics, values_of
from lingotune.modeling.checkpointed_layers import checkpoint_layers
from lingotune.modeling.compact_embedding import choose_embeddings
from lingotune.modeling.frozen_layers import freeze_layers
from lingotune.modeling.lean_encoder import Packing, choose_encoder
from lingotune.modeling.load import layer_classes, load_model, trained_in
from lingotune.modeling.lora import (
    Adapters,
    adapters_line,
    add_adapters,
)
from lingotune.modeling.own_model import build_model
from lingotune.modeling.segments import has_segments
from lingotune.system.machine import cpu_has_bf16
from lingotune.training import distributed, failure, memory
from lingotune.training.arguments import training_arguments
from lingotune.training.base_model import located
from lingotune.training.context import RunContext
from lingotune.training.dataloader import Batches, Updates, draws_line, to_tensors
from lingotune.training.distributed import Rank, computed_by_first
from lingotune.training.finite import FiniteGuard
from lingotune.training.resume import node_folder
from lingotune.training.schedules import shaped_schedule
from lingotune.training.timing import Stopwatch
from lingotune.training.trainer import ClassifierTrainer


@dataclass(frozen=True)
class Training:
    """A model, its data and the Trainer, ready to train; made by `build`.

    batches: by split; train in the order of its rows, the others longest first. checkpoints: this node's
    folder for them. parameters: the number in the whole model. trained: those of them, or of adapters, that
    are trained. lean: whether the last layer computes only the first token. adapters: LoRA's.
    """

    context: RunContext
    trainer: ClassifierTrainer
    tokenizer: Any
    batches: Mapping[str, Batches]
    updates: Updates
    stopwatch: Stopwatch
    guard: FiniteGuard
    checkpoints: Path
    parameters: int
    trained: int
    lean: bool
    adapters: Adapters | None


def build(context: RunContext) -> Training:
    """Load the model, plan the batches and make the Trainer; rank 0 prints what it found."""
    job, rank = context.job, context.rank
    _quiet_libraries(show_bars=_shows_progress(rank))
    transformers.set_seed(job.seed)
    failure.enter("loading the model")
    model = _load_model(context)
    context = _with_segments(context, model.model)
    failure.enter("trying the metrics")
    _try_metrics(context)
    stopwatch = Stopwatch(
        len(context.splits["validation"]),
        partial(samples_trained, context.steps, context.batch.global_batch),
    )
    _quiet_libraries(show_bars=False)  # from here on there is one bar, and its name is ours
    checkpoints = node_folder(job, context.folders.checkpoints, rank)
    guard = FiniteGuard(rank, job.lr, job.training.max_skipped, partial(_row_ids, context))
    make = partial(_data_and_trainer, model, stopwatch, guard, checkpoints)
    data, trainer = make(context)
    if job.training.fit_memory:
        fitted = memory.fitted(context, trainer, data.batches["train"], checkpoints)
        if fitted.batch != context.batch:
            context = fitted
            data, trainer = make(context)
    if rank.first:
        _announce(context, model, data)
    return Training(
        context, trainer, model.tokenizer, data.batches, data.updates, stopwatch, guard, checkpoints,
        model.parameters, trained_in(model.model), model.lean, model.adapters,
    )  # fmt: skip


# --- the model ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Model:
    """The classifier and its tokenizer. adapters: LoRA's. lines: where its head is from, how its layers
    compute and what of it is trained, for the log."""

    model: Any
    tokenizer: Any
    packing: Packing | None
    parameters: int
    lean: bool
    adapters: Adapters | None
    lines: tuple[str, ...]


def _load_model(context: RunContext) -> _Model:
    job = context.job
    tokenizer, model, head = _load(context)
    parameters = sum(value.numel() for value in model.parameters())
    packing = Packing() if job.batching.padding_free else None
    lean, last_layer = choose_encoder(model, job.training, packing)
    training = job.training
    if context.own.builder and training.compact_vocabulary is None:
        # What an unknown model does with its embeddings cannot be told.
        training = replace(training, compact_vocabulary=False)
    lora = training.lora
    adapters = add_adapters(model, lora) if lora.rank is not None else None
    told = [adapters_line(adapters, lora)] if adapters else []
    if training.freeze_layers:
        told.append(freeze_layers(model, training))
    embeddings = choose_embeddings(model, context.splits.values(), training)
    if training.gradient_checkpointing:
        told.append(checkpoint_layers(model))
    lines = (*([head] if head else []), *told, embeddings, last_layer)
    return _Model(model, tokenizer, packing, parameters, lean, adapters, lines)


def _with_segments(context: RunContext, model: Any) -> RunContext:
    """Leave token types out of the splits where the model has none, whatever its tokenizer says."""
    if has_segments(model):
        return context
    splits = {name: replace(split, first=None) for name, split in context.splits.items()}
    return replace(context, splits=splits)


def _load(context: RunContext) -> tuple[Any, Any, str | None]:
    """Load on rank 0 first, so that a model is fetched from the hub once.

    Returns tokenizer, model, and what became of the model's head.
    """
    job, rank = context.job, context.rank
    if not rank.first:
        distributed.barrier(rank)
    base = located(job.model, os.environ)
    tokenizer = tokenizer_of(base, context.store)
    # Saved with the model, so that texts to predict are truncated like those it was trained on.
    tokenizer.model_max_length = job.data.max_length
    given = (base, list(context.label_names), tokenizer, job.data.max_length)
    several = job.data.labels_mode is LabelsMode.multi
    if builder := context.own.builder:
        in_parallel = rank.world_size > 1
        model, head = build_model(builder, *given, several=several, in_parallel=in_parallel)
    else:
        model, head = load_model(*given, several=several)
    if rank.first:
        distributed.barrier(rank)
    return tokenizer, model, head


# --- the data -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """The batches of each split, and this process's updates. sampling: None = each row once per epoch.
    weights: of the classes in the loss; None unless data.balance=weights."""

    batches: Mapping[str, Batches]
    updates: Updates
    shape: BatchShape
    sampling: Sampling | None
    weights: list[float] | None


def _data_and_trainer(
    model: _Model, stopwatch: Stopwatch, guard: FiniteGuard, checkpoints: Path, context: RunContext
) -> tuple[_Data, ClassifierTrainer]:
    data = _plan_data(context)
    return data, _trainer(context, model, data, stopwatch, guard, checkpoints)


def _plan_data(context: RunContext) -> _Data:
    job, splits = context.job, context.splits
    sampling = _sampling(job, splits["train"])
    has_gpu = torch.cuda.is_available()
    shape = shape_of(context.batch, job.batching, job.training, has_gpu=has_gpu)
    batches = {
        name: Batches(
            split if name == "train" else split.longest_first(), shape.multiple, packed=shape.packed
        )
        for name, split in splits.items()
    }
    rank = context.rank.rank
    updates = Updates(splits["train"], job.batching, shape, job.seed, rank, sampling)
    weights = _class_weights(job, splits["train"], updates)
    return _Data(batches, updates, shape, sampling, weights)


def _announce(context: RunContext, model: _Model, data: _Data) -> None:
    """Print the model's size, how its layers compute, and how batches are made."""
    job = context.job
    print(f"model {job.model.name}: {model.parameters / 1e6:.2f} M parameters")
    print(*model.lines, sep="\n")
    if job.training.shard:
        count = context.rank.world_size
        print(f"sharded over {count} processes, which gather a layer at a time")
    print(*batching_lines(job.batching, data.shape, data.updates.efficiency()), sep="\n")
    if data.sampling:
        print(draws_line(context.splits["train"], data.updates.drawn, context.label_names))
    if data.weights:
        listed = (f"{name} {weight:.3f}" for name, weight in zip(context.label_names, data.weights))
        print(f"weights in the loss: {', '.join(listed)}")


def _shows_progress(rank: Rank) -> bool:
    return rank.first and sys.stderr.isatty()


def _quiet_libraries(*, show_bars: bool) -> None:
    """Show progress bars on a terminal only; silence warnings that no user can act on."""
    transformers.utils.logging.set_verbosity_error()
    warnings.filterwarnings(
        "ignore", "`broadcast_buffers` is deprecated"
    )  # to be fixed in accelerate
    warnings.filterwarnings("ignore", "The PyTorch API of nested tensors is in prototype stage")
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # to be fixed in torch
    switch = "enable" if show_bars else "disable"
    getattr(transformers.utils.logging, f"{switch}_progress_bar")()
    if datasets := sys.modules.get("datasets"):  # imported by transformers, or by the user's code
        plural = f"{switch}_progress_bars"  # its name since datasets 2.15
        getattr(datasets, plural if hasattr(datasets, plural) else f"{switch}_progress_bar")()


def _sampling(job: JobConfig, train: Split) -> Sampling | None:
    return plan_sampling(
        train.label,
        train.language,
        language_alpha=job.data.language_alpha,
        resample=job.data.balance is Balance.resample,
        seed=job.seed,
    )


def _trainer(
    context: RunContext,
    model: _Model,
    data: _Data,
    stopwatch: Stopwatch,
    guard: FiniteGuard,
    checkpoints: Path,
) -> ClassifierTrainer:
    job = context.job
    args = training_arguments(
        job,
        context.batch,
        context.steps,
        precision_of(job),
        checkpoints,
        capability=torch.cuda.get_device_capability() if torch.cuda.is_available() else None,
        show_progress=_shows_progress(context.rank),
        layers=layer_classes(model.model) if job.training.shard else (),
        greater_is_better=_greater_is_better(context),
    )
    return _trainer_class(job.training)(
        tokenizer=model.tokenizer,
        class_weights=data.weights,
        labels_mode=job.data.labels_mode,
        label_smoothing=job.training.label_smoothing,
        distillation=job.distillation,
        layer_decay=job.training.layer_decay,
        schedule=shaped_schedule(job.training),
        pace=stopwatch.pace,
        updates=data.updates,
        compress=job.training.compress_gradients,
        phases=stopwatch.phases,
        packing=model.packing,
        guard=guard,
        model=model.model,
        args=args,
        train_dataset=stopwatch.reading(data.batches["train"]),
        eval_dataset=data.batches["validation"],
        data_collator=stopwatch.counted(to_tensors),
        compute_metrics=_metrics(context, data.batches["validation"].split),
    )


def _trainer_class(training: TrainingConfig) -> type[ClassifierTrainer]:
    if not training.shard:
        return ClassifierTrainer
    try:  # older libraries can run every other job
        from lingotune.training.fsdp import ShardedTrainer
    except ImportError as error:
        what = f"the libraries here are too old for it: {error}"
        raise ConfigError([Problem("training.shard=true", what, "training.shard=false")]) from error
    return ShardedTrainer


def _class_weights(job: JobConfig, train: Split, updates: Updates) -> list[float] | None:
    """Compute the weight of each class in the loss; None unless data.balance=weights."""
    if job.data.balance is not Balance.weights:
        return None
    drawn = train.select(updates.drawn)
    if drawn.several:
        found = positive_weights(drawn.true)
    else:
        found = class_weights(drawn.label, len(job.data.labels))
    weights: list[float] = found.tolist()
    return weights


def precision_of(job: JobConfig) -> Precision:
    """Return the precision that a job trains in here."""
    wanted = job.training.precision
    if torch.cuda.is_available():
        return resolve_precision(wanted, torch.cuda.get_device_capability())
    if wanted is Precision.fp16:
        return Precision.fp32  # a job for GPUs, rehearsed on a CPU
    return resolve_precision(wanted, None, cpu_has_bf16=cpu_has_bf16())


def _metrics(context: RunContext, rows: Split) -> Callable[[Any], dict[str, float]]:
    """Make the Trainer's `compute_metrics` for `rows`: scores, own metrics, macro-F1 by language."""
    codes, classes = rows.codes_array, classes_of(context.job.data)
    stars, own = _stars_for_own(context, rows), context.own.metrics
    trained = context.trained_languages

    def compute(prediction: Any) -> dict[str, float]:
        shares = probabilities_of(prediction.predictions, several=rows.several)
        found = Predictions(rows.true, shares, codes, stars)
        scored = scores_by_language(found, classes, trained=trained)
        mine = computed_by_first(
            context.rank,
            lambda: values_of(own, found, classes, "validation", say, context.job.code.select),
        ) if own else {}  # fmt: skip
        return {**scored.headline(), **mine, **scored.macro_f1_by_language()}

    return compute


def _row_ids(context: RunContext, numbers: Sequence[int]) -> list[str]:
    """Return the ids of training rows by their numbers; the numbers themselves if they cannot be read."""
    try:
        ids, _ = context.store.ids_and_stars("train", context.splits["train"])
    except (ConfigError, OSError):
        return [str(number) for number in numbers]
    return [ids[number] for number in numbers]


def _stars_for_own(context: RunContext, rows: Split) -> np.ndarray:
    """Read the ratings of validation rows, NaN for none; not read unless a metric may look at them."""
    if not context.own.metrics:
        return np.full(len(rows), np.nan)
    stars: np.ndarray = context.store.ids_and_stars("validation", rows)[1]
    return stars


def _try_metrics(context: RunContext) -> None:
    """Compute own metrics on random predictions, so that a mistake in one ends the run at once."""
    rows, names = context.splits["validation"], context.label_names
    if not context.own.metrics:
        return
    uniform = np.full((len(rows), len(names)), 1 / len(names))
    stars = _stars_for_own(context, rows)
    given = Predictions(rows.true, uniform, rows.codes_array, stars)
    computed_by_first(context.rank, lambda: try_metrics(context.own.metrics, given, Classes(names)))


def _greater_is_better(context: RunContext) -> bool:
    select = context.job.code.select
    return all(m.mark.greater_is_better for m in context.own.metrics if m.name == select)
