"""Everything that is known about a run before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lingotune.config.schema import JobConfig, Resume
from lingotune.data.loader.store import Split, Store
from lingotune.estimate.batch import BatchPlan, StepPlan, plan_batches, plan_steps
from lingotune.plugins.loading import NO_CODE, OwnCode
from lingotune.runs.folder import Folders
from lingotune.training.distributed import Rank


@dataclass(frozen=True)
class RunContext:
    """A job, its data, its plan, this process's place in it, and the folders that it writes to.

    splits: train, validation and test of the store, or a selection of the rows of each (a rehearsal's).
    own: the user's own code. resume: what to do about checkpoints that are there.
    """

    job: JobConfig
    store: Store
    splits: Mapping[str, Split]
    rank: Rank
    folders: Folders
    batch: BatchPlan
    steps: StepPlan
    own: OwnCode = NO_CODE
    resume: Resume = Resume.auto

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return tuple(label.name for label in self.job.data.labels)

    @property
    def trained_languages(self) -> frozenset[str]:
        """Codes of the languages that are trained on."""
        return frozenset(self.splits["train"].language_rows)


def plan_run(
    job: JobConfig,
    store: Store,
    splits: Mapping[str, Split],
    rank: Rank,
    folders: Folders,
    own: OwnCode = NO_CODE,
    resume: Resume = Resume.auto,
) -> RunContext:
    """Plan the batches and steps of a job on its rows. ConfigError if the batch cannot be split."""
    batch = plan_batches(job)
    steps = plan_steps(job, batch, len(splits["train"]))
    return RunContext(job, store, splits, rank, folders, batch, steps, own, resume)
