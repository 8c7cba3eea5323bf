"""Training and evaluation proper: tokens in, weights and scores out, with the Trainer in between."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers

from lingotune.catalog.hardware import resolve_precision
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Balance, JobConfig, Precision, TrainingConfig
from lingotune.data.loader.sampling import Sampling, class_weights, plan_sampling
from lingotune.data.loader.store import Split, Store
from lingotune.data.loader.tokenizer import tokenizer_of
from lingotune.data.rows.labels import class_stars
from lingotune.estimate.batch import BatchPlan, StepPlan
from lingotune.estimate.bucketing import batching_lines, shape_of
from lingotune.estimate.throughput import samples_trained
from lingotune.evaluation.metrics import Classes, Predictions, probabilities_of, scores_by_language
from lingotune.evaluation.predictions import FILE, write_predictions
from lingotune.hub.background_push import PushWhileTraining
from lingotune.modeling.compact_embedding import choose_embeddings
from lingotune.modeling.lean_encoder import Packing, choose_encoder
from lingotune.modeling.load import layer_classes, load_model
from lingotune.runs.environment import environment_of
from lingotune.runs.folder import Folders, write_history
from lingotune.runs.results import Outcome, SplitScores
from lingotune.system.machine import cpu_has_bf16
from lingotune.training import distributed as ranks
from lingotune.training import failure
from lingotune.training.arguments import training_arguments
from lingotune.training.dataloader import Batches, Epochs, Updates, draws_line, to_tensors
from lingotune.training.distributed import Rank
from lingotune.training.measurements import measured, training_figures
from lingotune.training.resume import CheckpointKeeper, find_start, node_folder, owner_of
from lingotune.training.sparse_gradients import RowExchange
from lingotune.training.timing import Stopwatch
from lingotune.training.tracking import Tracking, hyperparameters
from lingotune.training.trainer import LINES, ClassifierTrainer, ProgressLines


def fit(
    job: JobConfig,
    batch: BatchPlan,
    steps: StepPlan,
    store: Store,
    splits: Mapping[str, Split],
    rank: Rank,
    folders: Folders,
    pusher: PushWhileTraining | None = None,
) -> Outcome:
    """Train on `train`, choose by `validation`, score `test` once; rank 0 saves the model.

    `splits` are those of the store, or a part of each. Returns the scores and the training's
    figures, the same on every rank.
    """
    _quiet_libraries(show_bars=rank.first and sys.stderr.isatty())
    transformers.set_seed(job.seed)
    failure.enter("loading the model")
    classes = _classes(job)
    labels = list(classes.names)
    tokenizer, model = _load(job, labels, store, rank)
    parameters = sum(value.numel() for value in model.parameters())
    packing = Packing() if job.batching.padding_free else None
    lean, last_layer = choose_encoder(model, job.training, packing)
    embeddings = choose_embeddings(model, splits.values(), job.training)
    stopwatch = Stopwatch(
        len(splits["validation"]), partial(samples_trained, steps, batch.global_batch)
    )
    root = node_folder(job, folders.checkpoints, rank)
    sampling = _sampling(job, splits["train"])
    shape = shape_of(batch, job.batching, job.training, has_gpu=torch.cuda.is_available())
    sets = {
        name: Batches(
            split if name == "train" else split.longest_first(), shape.multiple, packed=shape.packed
        )
        for name, split in splits.items()
    }
    updates = Updates(splits["train"], job.batching, shape, job.seed, rank.rank, sampling)
    if rank.first:
        print(f"model {job.model.name}: {parameters / 1e6:.2f} M parameters")
        print(embeddings, last_layer, sep="\n")
        if job.training.shard:
            print(f"sharded over {rank.world_size} processes, which gather a layer at a time")
        print(*batching_lines(job.batching, shape, updates.efficiency()), sep="\n")
        if sampling:
            print(draws_line(splits["train"], updates.drawn, labels))
    trainer = _trainer(
        job, batch, steps, sets, updates, tokenizer, model, packing, rank, root, stopwatch
    )
    failure.enter("looking for checkpoints")
    owner = owner_of(job, splits)
    ranks.agree(rank, "the sha256 of what is trained on", owner.data)
    start = find_start(root, owner, rank)
    keeper = CheckpointKeeper(root, owner, job.training, steps, rank, start)
    epochs = Epochs(updates, steps.steps_per_epoch)
    for callback in (epochs, keeper, stopwatch, _progress(job, steps, rank)):
        trainer.add_callback(callback)  # in this order: committing a checkpoint is no training
    if rank.first:
        settings = hyperparameters(job, batch, steps, _precision(job).value)
        tracking = Tracking(job, folders, settings)
        tracking.attach(trainer)
        if pusher:
            trainer.add_callback(pusher.with_tokenizer(tokenizer))
        if start:
            print(f"resuming at step {start.step} of {steps.total_steps}", flush=True)
    started = time.monotonic()
    trainer.go_on(start, steps.total_steps)
    seconds = time.monotonic() - started
    failure.enter("evaluating")
    scores: dict[str, SplitScores] = {}
    for name in ("validation", "test"):
        ids, stars = store.ids_and_stars(name, sets[name].split)
        loss, predictions = _predict(trainer, sets[name], stars, stopwatch)
        resamples = job.evaluation.resamples
        scored = scores_by_language(predictions, classes, resamples, job.seed)
        scores[name] = SplitScores(loss=loss, **vars(scored))
        if name == "test" and rank.first:
            places = np.argsort(sets[name].split.place)
            in_order = [ids[place] for place in places.tolist()]
            write_predictions(predictions.select(places), in_order, classes, folders.run / FILE)
    figures = measured(trainer, batch, steps, splits["train"], stopwatch, parameters, lean=lean)
    outcome = Outcome(
        resumed_from_step=start.step if start else None,
        training=training_figures(trainer, batch, steps, seconds, figures),
        validation=scores["validation"],
        test=scores["test"],
        measured=figures,
        environment=environment_of(),
    )
    failure.enter("saving the model")
    trainer.save_whole(folders.model)
    if rank.first:
        write_history(trainer.state.log_history, folders)
        tracking.finish(outcome.test)
        tokenizer.save_pretrained(str(folders.model))
    ranks.barrier(rank)
    return outcome


def _load(job: JobConfig, labels: list[str], store: Store, rank: Rank) -> tuple[Any, Any]:
    """Rank 0 loads first, so that a model from the hub is fetched once and found by the others."""
    if not rank.first:
        ranks.barrier(rank)
    tokenizer = tokenizer_of(job.model, store)
    tokenizer.model_max_length = job.data.max_length  # whoever cuts texts later cuts them as here
    model = load_model(job.model, labels, tokenizer, job.data.max_length)
    if rank.first:
        ranks.barrier(rank)
    return tokenizer, model


def _quiet_libraries(*, show_bars: bool) -> None:
    """Bars belong on a terminal, once, not in a log file; notes about new heads are no news."""
    transformers.utils.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # accelerate's to mend
    warnings.filterwarnings("ignore", "The PyTorch API of nested tensors is in prototype stage")
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # nested tensors' to mend
    switch = "enable" if show_bars else "disable"
    getattr(transformers.utils.logging, f"{switch}_progress_bar")()
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
    job: JobConfig,
    batch: BatchPlan,
    steps: StepPlan,
    sets: Mapping[str, Batches],
    updates: Updates,
    tokenizer: Any,
    model: Any,
    packing: Packing | None,
    rank: Rank,
    checkpoints: Path,
    stopwatch: Stopwatch,
) -> ClassifierTrainer:
    args = training_arguments(
        job,
        batch,
        steps,
        _precision(job),
        checkpoints,
        capability=torch.cuda.get_device_capability() if torch.cuda.is_available() else None,
        show_progress=rank.first and sys.stderr.isatty(),
        layers=layer_classes(model) if job.training.shard else (),
    )
    labels = [label.name for label in job.data.labels]
    weights = _class_weights(job, sets["train"].split, updates)
    if rank.first and weights:
        told = (f"{name} {weight:.3f}" for name, weight in zip(labels, weights))
        print(f"weights in the loss: {', '.join(told)}")
    trainer = _trainer_class(job.training)(
        tokenizer=tokenizer,
        class_weights=weights,
        label_smoothing=job.training.label_smoothing,
        layer_decay=job.training.layer_decay,
        pace=stopwatch.pace,
        updates=updates,
        compress=job.training.compress_gradients,
        phases=stopwatch.phases,
        packing=packing,
        model=model,
        args=args,
        train_dataset=stopwatch.reading(sets["train"]),
        eval_dataset=sets["validation"],
        data_collator=stopwatch.counted(to_tensors),
        compute_metrics=_metrics(sets["validation"].split, labels),
    )
    if job.training.sparse_exchange and batch.world_size > 1:
        RowExchange(trainer.model, lambda: trainer.model_wrapped)
    return trainer


def _trainer_class(training: TrainingConfig) -> type[ClassifierTrainer]:
    if not training.shard:
        return ClassifierTrainer
    try:  # older libraries run every other job
        from lingotune.training.fsdp import ShardedTrainer
    except ImportError as error:
        what = f"the libraries here are too old for it: {error}"
        raise ConfigError([Problem("training.shard=true", what, "training.shard=false")]) from error
    return ShardedTrainer


def _class_weights(job: JobConfig, train: Split, updates: Updates) -> list[float] | None:
    """Weight of each class in the loss, where that was asked for."""
    if job.data.balance is not Balance.weights:
        return None
    labels = train.label[updates.drawn]
    weights: list[float] = class_weights(labels, len(job.data.labels)).tolist()
    return weights


def _progress(job: JobConfig, steps: StepPlan, rank: Rank) -> ProgressLines:
    # SageMaker makes metrics of the log: there every logged step has its line.
    lines = None if job.cluster.instance_type else LINES
    return ProgressLines(job.lr, steps.total_steps, rank.first, lines)


def _precision(job: JobConfig) -> Precision:
    wanted = job.training.precision
    if torch.cuda.is_available():
        return resolve_precision(wanted, torch.cuda.get_device_capability())
    if wanted is Precision.fp16:
        return Precision.fp32  # a job for GPUs that is rehearsed here
    return resolve_precision(wanted, None, cpu_has_bf16=cpu_has_bf16())


def _metrics(rows: Split, labels: list[str]) -> Callable[[Any], dict[str, float]]:
    """What the Trainer logs of an evaluation of `rows`: overall, and macro-F1 of each language."""
    codes, classes = np.array(rows.codes, object), Classes(tuple(labels))
    stars = np.full(len(rows), np.nan)

    def compute(prediction: Any) -> dict[str, float]:
        true = np.asarray(prediction.label_ids)
        said = Predictions(true, probabilities_of(prediction.predictions), codes, stars)
        scored = scores_by_language(said, classes)
        return {**scored.headline(), **scored.macro_f1_by_language()}

    return compute


def _classes(job: JobConfig) -> Classes:
    names = tuple(label.name for label in job.data.labels)
    return Classes(names, class_stars(job.data.labels))


def _predict(
    trainer: ClassifierTrainer, rows: Batches, stars: np.ndarray, stopwatch: Stopwatch
) -> tuple[float, Predictions]:
    """The loss, and the predictions in the order of the rows."""
    trainer.compute_metrics = None
    with stopwatch.evaluating(len(rows)):
        output = trainer.predict(rows)
    true = rows.split.label
    # Row order is what ties a prediction to its language: prove it by the labels.
    assert np.array_equal(output.label_ids, true), "predictions came back in another order"
    codes = np.array(rows.split.codes, object)
    predictions = Predictions(true, probabilities_of(output.predictions), codes, stars)
    return float((output.metrics or {})["test_loss"]), predictions
