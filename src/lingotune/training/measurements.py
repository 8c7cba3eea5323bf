"""Measurements of the training, for `metrics.json` and the throughput record; scores are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from lingotune.catalog.gpus import find_gpu
from lingotune.config.schema import JobConfig
from lingotune.data.loader.store import Split
from lingotune.estimate.batch import BatchPlan, StepPlan
from lingotune.estimate.step_time import operations, utilisation
from lingotune.estimate.throughput import samples_trained
from lingotune.modeling.load import size_of_model
from lingotune.runs.results import EmbeddingExchange, Measured, MicroBatch, TrainingFigures
from lingotune.training.timing import Stopwatch, machine_name, token_figures
from lingotune.training.trainer import ClassifierTrainer


def training_figures(
    trainer: ClassifierTrainer,
    job: JobConfig,
    batch: BatchPlan,
    steps: StepPlan,
    seconds: float,
    found: Measured,
    skipped: int = 0,
    ended_by: str | None = None,
    exchange: EmbeddingExchange | None = None,
) -> TrainingFigures:
    """Collect length, batch, learning rate and time of the training, planned and actual.

    batch: that it trained with. skipped: updates that fp16 skipped. ended_by: the setting that ended it
    before its last step. exchange: of the word embeddings' gradient.
    """
    fitted = batch.per_device_batch != job.per_device_bs
    state = trainer.state
    best, args = state.best_model_checkpoint, trainer.args
    is_cost = args.greater_is_better is False and args.metric_for_best_model != "eval_loss"
    return TrainingFigures(
        steps=state.global_step,
        epochs=round(float(state.epoch or 0), 3),
        global_batch=batch.global_batch,
        world_size=batch.world_size,
        fitted=MicroBatch(size=batch.per_device_batch, accumulation=batch.accumulation)
        if fitted
        else None,
        learning_rate=batch.learning_rate,
        warmup_steps=steps.warmup_steps,
        best_step=int(Path(best).name.rsplit("-", 1)[1]) if best else state.global_step,
        precision=_format(trainer),
        selected_by_cost=is_cost or None,
        skipped_updates=skipped or None,
        ended_by=ended_by,
        exchange=exchange,
        seconds=round(seconds, 1),
        samples_per_second=found.samples_per_second,
    )


def measured(
    trainer: ClassifierTrainer,
    batch: BatchPlan,
    steps: StepPlan,
    train: Split,
    stopwatch: Stopwatch,
    parameters: int,
    trained: int,
    *,
    lean: bool,
) -> Measured:
    """Collect what throughput.jsonl records; samples_per_second excludes evaluating and saving.

    trained: parameters that are trained, of those in the whole model.
    """
    done = samples_trained(steps, batch.global_batch, trainer.state.global_step)
    updates = trainer.state.global_step - stopwatch.first_step
    before = samples_trained(steps, batch.global_batch, stopwatch.first_step)
    samples, spent = done - before, stopwatch.train_seconds
    exposed = trainer.communication_seconds()
    figures = token_figures(train)
    speed = samples / spent if samples else 0.0
    return Measured(
        machine=machine_name(),
        parameters=parameters,
        trained_parameters=trained,
        **figures,
        padding=None if stopwatch.padding is None else round(stopwatch.padding, 4),
        tokens_per_second=round(speed * figures["tokens_mean"], 1),
        padded_tokens_per_second=round(stopwatch.padded(speed * figures["tokens_mean"]), 1),
        utilisation=_utilisation(trainer, batch, figures, speed, lean=lean),
        checkpoints=stopwatch.checkpoints,
        phases={
            **stopwatch.phases.seconds(),
            **({} if exposed is None else {"communication": round(exposed * updates, 3)}),
            "evaluation": round(stopwatch.eval_seconds, 3),
            "saving": round(stopwatch.save_seconds, 3),
        },
        train_samples=samples,
        eval_samples=stopwatch.eval_samples,
        train_seconds=round(spent, 3),
        eval_seconds=round(stopwatch.eval_seconds, 3),
        samples_per_second=round(speed, 1) if samples else None,
        eval_samples_per_second=round(stopwatch.eval_samples / stopwatch.eval_seconds, 1),
    )


def _utilisation(
    trainer: ClassifierTrainer,
    batch: BatchPlan,
    figures: Mapping[str, float],
    speed: float,
    *,
    lean: bool,
) -> float | None:
    """Compute the share of peak FLOPs that went into real tokens; None if GPU or model is unknown."""
    gpu = find_gpu(machine_name()) if torch.cuda.is_available() else None
    size = size_of_model(trainer.model)
    peak = gpu and gpu.peaks.get(_format(trainer))
    if not peak or size is None:
        return None
    each = operations(size, figures["tokens_mean"], figures["tokens_square"], first_token_only=lean)
    return round(utilisation(each, speed, peak * batch.world_size), 4)


def _format(trainer: ClassifierTrainer) -> str:
    return "fp16" if trainer.args.fp16 else "bf16" if trainer.args.bf16 else "fp32"
