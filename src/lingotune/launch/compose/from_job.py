"""A job that ran as the base of a new one: overrides go on top of its settings, groups included.

Hydra composes as usual, but onto the job's values instead of the schema's defaults, and without the
shipped choices of groups that are part of a job. A section whose group is chosen starts from the schema's
defaults, so that cluster=p3_16xl does not inherit settings from the job's p4d_24xl.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from lingotune.config.schema import (
    BY_MODEL,
    MISSING,
    JobConfig,
    LaunchClusterConfig,
    LaunchConfig,
    LaunchDataConfig,
    split_seed,
)
from lingotune.config.settings import field_types
from lingotune.config.yaml_text import read_yaml

PRIMARY = "from_job"
"""Name of the primary config in that case, instead of conf/config.yaml."""
_BASE = "job_settings"


def register(job: JobConfig, conf_dir: Path, chosen: Collection[str] = ()) -> None:
    """Register `PRIMARY` with Hydra, based on the job; sections in `chosen` start from their defaults."""
    base = launch_config(job)
    for name in chosen:
        if name in field_types(JobConfig):
            setattr(base, name, field_types(LaunchConfig)[name]())
    if "model" in chosen:  # what suited the old one
        for item in fields(JobConfig):
            if item.metadata == BY_MODEL:
                setattr(base, item.name, MISSING)
    store = ConfigStore.instance()
    store.store(name=_BASE, node=base)
    store.store(name=PRIMARY, node={"defaults": _defaults(conf_dir)})


def launch_config(job: JobConfig) -> LaunchConfig:
    """Extend a job to a launch config, the inverse of `job_of`, with defaults for the laptop's part.

    If the job's name is the default, made of model and data, it keeps following these.
    """
    own = _fields(job)
    own["cluster"] = LaunchClusterConfig(**_fields(job.cluster))
    # the first is the job's own machine, and the batches follow from the job's
    own["cluster"].fallback = [
        replace(row, per_device_bs=None, accumulation=None) for row in job.cluster.fallback[1:]
    ]
    # whatever seed is typed on top, the rows stay where they are
    own["data"] = LaunchDataConfig(**{**_fields(job.data), "split_seed": split_seed(job)})
    if job.name == f"{job.model.name}-{job.data.name}":
        own["name"] = "${model.name}-${data.name}"
    return LaunchConfig(**own)


def _fields(section: Any) -> dict[str, Any]:
    return {field.name: getattr(section, field.name) for field in fields(section)}


def _defaults(conf_dir: Path) -> list[Any]:
    """Read the defaults list of conf/config.yaml, without the choices that the job contains."""
    return [_undecided(entry) for entry in _shipped_defaults(conf_dir)]


def default_options(conf_dir: Path) -> dict[str, str | None]:
    """Read the option of each group that is chosen where none is typed; None = no option."""
    return {name: option for entry in _shipped_defaults(conf_dir) if isinstance(entry, dict)
            for name, option in entry.items()}  # fmt: skip


def _shipped_defaults(conf_dir: Path) -> list[Any]:
    content, _ = read_yaml((conf_dir / "config.yaml").read_text(encoding="utf-8"))
    return list(content["defaults"])


def _undecided(entry: Any) -> Any:
    if entry == "schema":
        return _BASE
    if not isinstance(entry, dict):
        return entry
    return {group: None if group in field_types(JobConfig) else option
            for group, option in entry.items()}  # fmt: skip
