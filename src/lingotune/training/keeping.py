"""Committing the checkpoints that the Trainer saves, and deleting old ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from lingotune.config.jobfile import dump_job
from lingotune.config.schema import EvalStrategy, JobConfig
from lingotune.estimate.batch import StepPlan
from lingotune.runs.results import EmbeddingExchange
from lingotune.training import distributed
from lingotune.training.checkpoints import Checkpoint, commit, name_of, rotate
from lingotune.training.distributed import Rank
from lingotune.training.identity import Identity
from lingotune.training.time_limit import TimeLimit


class CheckpointKeeper(TrainerCallback):
    """Callback that also saves between evaluations, commits every checkpoint, and deletes old ones."""

    def __init__(
        self,
        root: Path,
        identity: Identity,
        job: JobConfig,
        steps: StepPlan,
        rank: Rank,
        start: Checkpoint | None,
        limit: TimeLimit | None = None,
        exchange: EmbeddingExchange | None = None,
    ) -> None:
        """limit: knows the seconds of training, if they are limited. exchange: of the word embeddings'
        gradient, to which the run keeps."""
        self._limit, self._exchange = limit, exchange
        self._root, self._identity, self._rank, self._start = root, identity, rank, start
        self._job_file, self._steps = dump_job(job), steps
        self._keep, self._every = job.training.keep_checkpoints, job.training.save_steps
        self._saves_at_epochs = job.training.eval_strategy is not EvalStrategy.steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Correct the path of the best weights: they moved with the run, and into newer checkpoints."""
        if self._start and self._start.best:
            state.best_model_checkpoint = str(self._start.best)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save every `save_steps` steps, but leave the end of an epoch to be saved after its evaluation."""
        step = state.global_step
        ends = step % self._steps.steps_per_epoch == 0 or step == self._steps.total_steps
        ends = ends or control.should_training_stop
        if self._every and step % self._every == 0 and not (ends and self._saves_at_epochs):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Commit the checkpoint that the Trainer wrote, once every rank has written its part."""
        distributed.barrier(self._rank)
        best = state.best_model_checkpoint
        kept = self._commit(state, control) if self._rank.local_rank == 0 else None
        if best is None:
            return
        # Older checkpoints are deleted, so the best weights are those in the newest from now on.
        kept = distributed.gather(self._rank, kept)[self._rank.rank - self._rank.local_rank]
        if kept is None:
            _forget_best(state, self._rank)
        else:
            state.best_model_checkpoint = str(kept)

    def _commit(self, state: Any, control: Any) -> Path | None:
        step, best = state.global_step, state.best_model_checkpoint
        notes = self._start.not_exact if self._start else ()
        # By whichever callback: early stopping is exact over kills, a user's own too.
        ended = control.should_training_stop and step < self._steps.total_steps
        kept = commit(
            self._root / name_of(step), self._identity, Path(best).name if best else None,
            job_file=self._job_file, not_exact=notes, ended=ended,
            seconds=self._limit.seconds if self._limit else None,
            touched_rows_only=self._exchange.touched_only if self._exchange else None,
        )  # fmt: skip
        rotate(self._root, self._keep, self._identity.run)
        return kept


def _forget_best(state: Any, rank: Rank) -> None:
    """Let the next evaluation be the best so far: every copy of the best weights is damaged."""
    if rank.first:
        lost = Path(state.best_model_checkpoint).name
        print(f"warning: {lost}, the best so far, is damaged; a later one is chosen", flush=True)
    state.best_model_checkpoint = state.best_metric = None
    if hasattr(state, "best_global_step"):
        state.best_global_step = None
