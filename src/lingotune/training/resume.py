"""Resuming from a checkpoint, the same one on all ranks, and committing those the Trainer saves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from lingotune.config.jobfile import job_digest
from lingotune.config.problems import ConfigError
from lingotune.config.schema import EvalStrategy, JobConfig, TrainingConfig
from lingotune.data.loader.store import Split
from lingotune.estimate.batch import StepPlan, processes_per_node
from lingotune.training import distributed
from lingotune.training.checkpoints import Checkpoint, Owner, commit, rotate, set_aside, whole
from lingotune.training.distributed import Rank


def owner_of(job: JobConfig, splits: Mapping[str, Split]) -> Owner:
    """Identify the checkpoints this job may resume from: its own, trained on the same tokens."""
    digests = "\n".join(f"{name} {split.digest()}" for name, split in splits.items())
    return Owner(job_digest(job), hashlib.sha256(digests.encode()).hexdigest())


def node_folder(job: JobConfig, checkpoints: Path, rank: Rank) -> Path:
    """Return this node's folder of checkpoints; each has its own, as SageMaker copies all to one place."""
    if job.cluster.nodes == 1:
        return checkpoints
    return checkpoints / f"node-{rank.rank // processes_per_node(job.cluster)}"


def find_start(root: Path, owner: Owner, rank: Rank) -> Checkpoint | None:
    """Find the newest checkpoint that is complete on every node; None = start at step 0.

    Returns the same step on every rank, in the folder of the rank's node. Checkpoints that are damaged,
    unfinished or newer are moved out of the way, with a warning. ConfigError on every rank if the
    checkpoints belong to another job.
    """
    good: dict[int, Checkpoint] = {}
    bad: dict[int, str] = {}
    problems = []
    if rank.local_rank == 0:
        root.mkdir(parents=True, exist_ok=True)
        try:
            good, bad = whole(root, owner)
        except ConfigError as error:
            problems = error.problems
    found = distributed.gather(rank, (rank.local_rank, sorted(good), bad, problems))
    if any(problems for _, _, _, problems in found):
        raise ConfigError([problem for _, _, _, problems in found for problem in problems])
    nodes = [set(steps) for local_rank, steps, _, _ in found if local_rank == 0]
    step = max(set.intersection(*nodes), default=0)
    if rank.local_rank == 0:
        set_aside(root, [*bad, *(other for other in good if other > step)])
    if rank.first:
        _warn(root, {k: v for _, _, bad, _ in found for k, v in bad.items()}, step)
    chosen: list[Checkpoint | None] = distributed.gather(rank, good.get(step))
    return chosen[rank.rank - rank.local_rank]


def _warn(root: Path, bad: Mapping[int, str], step: int) -> None:
    for number, why in sorted(bad.items()):
        print(f"warning: checkpoint-{number} {why}; it is not used")
    if bad and not step:
        print(f"warning: no checkpoint in {root} is whole: training starts over, at step 0")


class CheckpointKeeper(TrainerCallback):
    """Callback that also saves between evaluations, commits every checkpoint, and deletes old ones."""

    def __init__(
        self,
        root: Path,
        owner: Owner,
        training: TrainingConfig,
        steps: StepPlan,
        rank: Rank,
        start: Checkpoint | None,
    ) -> None:
        self._root, self._owner, self._rank, self._start = root, owner, rank, start
        self._keep, self._every = training.keep_checkpoints, training.save_steps
        self._saves_at_epochs = training.eval_strategy is not EvalStrategy.steps
        self._steps = steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Correct the path of the best checkpoint: the run folder may have moved since it was saved."""
        if self._start and self._start.best:
            state.best_model_checkpoint = str(self._start.best)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save every `save_steps` steps, but leave the end of an epoch to be saved after its evaluation."""
        step = state.global_step
        ends = step % self._steps.steps_per_epoch == 0 or step == self._steps.total_steps
        if self._every and step % self._every == 0 and not (ends and self._saves_at_epochs):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Commit the checkpoint that the Trainer wrote, once every rank has written its part."""
        distributed.barrier(self._rank)
        if self._rank.local_rank == 0:
            best = state.best_model_checkpoint
            folder = self._root / f"checkpoint-{state.global_step}"
            commit(folder, self._owner, Path(best).name if best else None)
            rotate(self._root, self._keep)
