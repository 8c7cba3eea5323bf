"""The training itself, in five steps: build, resume, train, score, save."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from functools import partial

from lingotune.config.schema import EvalStrategy, JobConfig, further_metrics
from lingotune.estimate.batch import StepPlan
from lingotune.hub.background_push import PushWhileTraining
from lingotune.modeling.lora import (
    merge_adapters,
    save_adapters,
    write_merged,
)
from lingotune.modeling.own_names import own_names
from lingotune.runs.decision import AS_TRAINED, Decision
from lingotune.runs.decision_file import write_decision
from lingotune.runs.environment import environment_of
from lingotune.runs.folder import write_history
from lingotune.runs.results import EmbeddingExchange, Outcome, SplitScores
from lingotune.training import distributed, failure, memory, signals
from lingotune.training.adapters import FOLDER
from lingotune.training.base_model import located
from lingotune.training.building import Training, build, precision_of
from lingotune.training.checkpoints import Checkpoint
from lingotune.training.context import RunContext
from lingotune.training.dataloader import Epochs, to_tensors
from lingotune.training.distributed import Rank
from lingotune.training.early_stopping import EarlyStopping, is_stalled
from lingotune.training.embedding_exchange import exchange_embeddings
from lingotune.training.identity import base_of, identify
from lingotune.training.keeping import CheckpointKeeper
from lingotune.training.measurements import measured, training_figures
from lingotune.training.own_callbacks import own_callbacks
from lingotune.training.progress import progress
from lingotune.training.resume import digest_of, find_start
from lingotune.training.scoring import Scored, differing, score_splits
from lingotune.training.stopping import StopTogether
from lingotune.training.time_limit import TimeLimit
from lingotune.training.timing import Moves
from lingotune.training.tracking import History, Tracking, hyperparameters
from lingotune.training.trainer import LINES, GroupGradients, ProgressLines


def fit(context: RunContext, pusher: PushWhileTraining | None = None) -> Outcome:
    """Train on `train`, select by `validation`, score `test` once; rank 0 saves the model.

    Returns the scores and the measurements of the training, the same on every rank.
    """
    training = build(context)
    start, limit, exchange = resume(training)
    for callback in own_callbacks(context.own.callbacks, context.rank):
        training.trainer.add_callback(callback)
    tracking = track(training, pusher)
    seconds = train(training, start)
    merge(training)
    scored = score(training)
    outcome = _outcome(training, start, seconds, scored, limit, exchange)
    save(training, tracking, scored.decision, outcome.test)
    return outcome


def resume(
    training: Training,
) -> tuple[Checkpoint | None, TimeLimit | None, EmbeddingExchange | None]:
    """Find the checkpoint to resume from, None = step 0, and attach the callbacks that keep checkpoints;
    also returns the limit of time, None without one, and how the embeddings' gradient is exchanged.

    CheckpointError if the checkpoints belong to another run, ConfigError if the ranks disagree about the
    data.
    """
    failure.enter("looking for checkpoints")
    context = training.context
    job, rank, steps = context.job, context.rank, context.steps
    data = digest_of(context.splits)
    distributed.agree(rank, "the sha256 of what is trained on", data)
    base = base_of(located(job.model, os.environ), training.trainer.model.config)
    identity = identify(job, context.batch, data, base)
    start = find_start(training.checkpoints, identity, rank, context.resume)
    limit = None if job.training.max_hours is None else TimeLimit(job, rank, start)
    before = start.touched_rows_only if start else None
    exchange = exchange_embeddings(context, training.trainer, training.updates, before)
    keeper = CheckpointKeeper(
        training.checkpoints, identity, job, steps, rank, start, limit, exchange
    )
    epochs = Epochs(training.updates, steps.steps_per_epoch)
    # The order matters: the time to commit a checkpoint is not training time.
    saves_at_epochs = job.training.eval_strategy is not EvalStrategy.steps
    stop = StopTogether(rank, steps, saves_at_epochs=saves_at_epochs)
    progress.steady = not job.training.compile  # a batch of another width may compile for minutes
    lines = _progress(job, steps, rank)
    ending = (
        [limit] if limit else []
    )  # before what saves: a checkpoint says that it is the last one
    for callback in (epochs, *ending, keeper, training.stopwatch, lines, Moves(), stop):
        training.trainer.add_callback(callback)
    if start and context.batch.world_size > 2:
        batch = to_tensors(training.batches["train"].longest(1))
        training.trainer.add_callback(GroupGradients(training.trainer, batch))
    if job.training.patience:
        training.trainer.add_callback(EarlyStopping(job, show=rank.first))
    return start, limit, exchange


def track(training: Training, pusher: PushWhileTraining | None) -> Tracking | None:
    """Attach the trackers, and the callback that pushes to the hub if there is one; rank 0 only."""
    context = training.context
    if not context.rank.first:
        return None
    job = context.job
    settings = hyperparameters(job, context.batch, context.steps, precision_of(job).value)
    tracking = Tracking(job, context.folders, settings)
    tracking.attach(training.trainer)
    training.trainer.add_callback(History(context.folders))
    if pusher:
        adapters = training.adapters
        plain = partial(write_merged, scale=adapters.scale) if adapters else None
        training.trainer.add_callback(pusher.with_model(training.tokenizer, plain))
    return tracking


def train(training: Training, start: Checkpoint | None) -> float:
    """Train to the last step, from a checkpoint if there is one; returns the seconds it took."""
    context, trainer = training.context, training.trainer
    total = context.steps.total_steps
    if context.rank.first and start:
        where = ", where it was ended" if start.ended else ""
        print(f"resuming at step {start.step} of {total}{where}", flush=True)
    started = time.monotonic()
    told = memory.told(context, trainer, training.batches)
    with signals.deferred(context.job.training.stop_timeout), told:
        trainer.train_or_resume(start, start.step if start and start.ended else total)
    return time.monotonic() - started


def merge(training: Training) -> None:
    """Save LoRA's adapters in the run folder, on rank 0, and merge them into the model, which is scored and
    saved as it then is."""
    adapters, context = training.adapters, training.context
    if adapters is None:
        return
    failure.enter("merging the adapters")
    model = training.trainer.model
    training.guard.check_weights(model, "model")
    if context.rank.first:
        base = context.job.model.name_or_path
        save_adapters(model, adapters, base, context.folders.run / FOLDER)
    merge_adapters(model, adapters)


def score(training: Training) -> Scored:
    """Score validation, and test if there is one, with the best checkpoint; rank 0 writes predictions."""
    failure.enter(failure.EVALUATING)
    context, trainer, batches = training.context, training.trainer, training.batches
    with memory.told(context, trainer, batches):
        return score_splits(context, trainer, batches, training.stopwatch)


def save(
    training: Training, tracking: Tracking | None, decision: Decision, test: SplitScores | None
) -> None:
    """Save model, decision, tokenizer and history, and close the trackers with the scores on test."""
    failure.enter("saving the model")
    training.guard.check_weights(training.trainer.model, "model")
    trainer, folders, rank = training.trainer, training.context.folders, training.context.rank
    if rank.local_rank == 0:
        folders.check_there()
    with own_names(trainer.model) if training.context.own.builder else nullcontext():
        trainer.save_whole(folders.model)  # a builder's model is loaded by its own names
    if tracking:  # rank 0
        write_history(trainer.state.log_history, folders)
        tracking.finish(test)
        write_decision(decision, folders.model)
        training.tokenizer.save_pretrained(str(folders.model))
        training.context.own.keep_in(folders.model)
    distributed.barrier(rank)


def _outcome(
    training: Training,
    start: Checkpoint | None,
    seconds: float,
    scored: Scored,
    limit: TimeLimit | None,
    exchange: EmbeddingExchange | None,
) -> Outcome:
    """Assemble the part of the run's results that comes from training."""
    context = training.context
    batch, steps = context.batch, context.steps
    found = measured(
        training.trainer, batch, steps, context.splits["train"], training.stopwatch,
        training.parameters, training.trained, lean=training.lean,
    )  # fmt: skip
    return Outcome(
        resumed_from_step=start.step if start else None,
        not_exact=start.not_exact or None if start else None,
        training=training_figures(
            training.trainer,
            context.job,
            batch,
            steps,
            seconds,
            found,
            training.guard.skipped,
            ended_by=_ended_by(training, limit),
            exchange=exchange,
        ),
        validation=scored.decided["validation"],
        test=scored.decided.get("test"),
        decision=None if scored.decision == AS_TRAINED else scored.decision,
        as_trained=differing(scored),
        measured=found,
        environment=environment_of(),
    )


def _ended_by(training: Training, limit: TimeLimit | None) -> str | None:
    """Name the setting that ended the training before its last step; None if none did."""
    if limit and limit.reached:
        return "training.max_hours"
    context, trainer = training.context, training.trainer
    early = trainer.state.global_step < context.steps.total_steps
    return (
        "training.patience"
        if early and is_stalled(context.job, trainer.args, trainer.state)
        else None
    )


def _progress(job: JobConfig, steps: StepPlan, rank: Rank) -> ProgressLines:
    # SageMaker extracts metrics from the log: there every logged step gets its line.
    lines = None if job.cluster.instance_type else LINES
    return ProgressLines(job.lr, steps.total_steps, rank.first, lines, further_metrics(job))
