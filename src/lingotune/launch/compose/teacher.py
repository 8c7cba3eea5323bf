"""The teacher of a composed job: it is looked at, and gets its digest; it is not loaded."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import LaunchConfig

_TYPED = {"distillation", "distillation.teacher"}


def with_teacher(
    config: LaunchConfig, typed: Collection[str]
) -> tuple[LaunchConfig, list[Problem]]:
    """Fill in the digest of a job's teacher. typed: the keys of the overrides.

    Returns the config as it is, and what is wrong, for a teacher that cannot be used. One that is not here
    any more stays as the job has it: its probabilities may be with the prepared data.
    """
    wanted = config.distillation
    if wanted.teacher is None:
        return config, []
    from lingotune.serving.teacher import (  # few jobs have one
        changed_teacher,
        other_classes,
        trained_teacher,
    )

    anew = bool(_TYPED & set(typed)) and "distillation.sha256" not in typed
    known = None if anew else wanted.sha256
    if known is not None and not Path(wanted.teacher).exists():
        return config, []
    try:
        found = trained_teacher(wanted.teacher)
    except ConfigError as error:
        return config, error.problems
    digest = _digest(found.folder, _marks(found.folder))
    if known not in (None, digest):
        return config, [changed_teacher(wanted, digest)]
    labels = [label.name for label in config.data.labels]
    problems = other_classes(wanted.teacher, found, labels) if labels else []
    return replace(config, distillation=replace(wanted, sha256=digest)), problems


def _marks(folder: Path) -> tuple[tuple[str, int, int], ...]:
    found = ((path.name, path.stat()) for path in sorted(folder.iterdir()))
    return tuple((name, of.st_size, of.st_mtime_ns) for name, of in found)


@functools.lru_cache(maxsize=16)
def _digest(folder: Path, marks: tuple[tuple[str, int, int], ...]) -> str:
    """Hash a teacher once for all jobs of a sweep. marks: of its files, which tell when it has changed."""
    from lingotune.serving.served_model import model_digest

    return model_digest(folder)
