"""The prepared data of a job on the machine that trains: from a folder that holds it, or made there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig
from lingotune.data.loader.store import Store
from lingotune.data.prepared.manifest import misfits
from lingotune.data.prepared.prepare import prepare
from lingotune.data.transfer import fetch


def open_store(
    job: JobConfig, folder: str | None, root: Path, tell: Callable[[str], None]
) -> Store:
    """The store in `folder` (or at an s3:// prefix), which was filled before; without one, the one in
    `root`, which is made unless it is there: by the process that comes first, while the others wait.

    ConfigError if the folder's data was prepared for another job, or the source is not sound.
    """
    if folder is None:
        made, _ = prepare(job.data, job.model, job.seed, root, tell, trains=True)
        return Store(made)
    store = Store(fetch(folder, root, tell) if folder.startswith("s3://") else folder)
    problems = misfits(store.manifest, job.data, job.seed)
    if problems:
        raise ConfigError(problems)
    return store
