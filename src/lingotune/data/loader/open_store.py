"""Opening a job's prepared data on the machine that trains, and preparing it there if need be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig, split_seed
from lingotune.data.loader.store import Store
from lingotune.data.prepared.manifest import misfits, other_teacher
from lingotune.data.prepared.prepare import prepare
from lingotune.data.prepared.teacher import Teacher
from lingotune.data.transfer import fetch, fetch_sources


def open_store(
    job: JobConfig,
    folder: str | None,
    root: Path,
    tell: Callable[[str], None],
    teacher: Teacher | None = None,
) -> Store:
    """Open the prepared data in `folder` (or at an s3:// prefix); without one, that in `root`.

    Data that is missing in `root` is prepared by the first process that comes, while the others wait.
    tell: called with lines about the progress. teacher: that of a distilled job, where the data is
    prepared. ConfigError if the folder's data was prepared for another job, or if the source is faulty.
    """
    if folder is None:
        fetch_sources(job.data, tell)
        made, _ = prepare(
            job.data, job.model, split_seed(job), root, tell, trains=True, teacher=teacher
        )
        return Store(made)
    store = Store(fetch(folder, root, tell) if folder.startswith("s3://") else folder)
    problems = misfits(store.manifest, job.data, split_seed(job))
    problems += other_teacher(store.manifest, job.distillation)
    if problems:
        raise ConfigError(problems)
    return store
