"""Entry of `lingotune evaluate`: the data is named by overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import DataConfig
from lingotune.evaluation.classifier import trained_model
from lingotune.launch.compose.compose import compose_all


def data_typed(run: str, typed: Sequence[str], conf_dir: Path) -> DataConfig | None:
    """Compose the data that overrides name; None without any.

    The classes are those of the run, if none are typed. ConfigError for other overrides.
    """
    if not typed:
        return None
    trained = trained_model(run)
    others = [
        key
        for key in typed
        if not key.lstrip("+~").startswith(("data=", "data.")) or key.startswith("data.prepared")
    ]
    if others:
        what = "has no effect here: overrides name the data that the model is scored on"
        raise ConfigError([Problem(key, what, "data=files data.path=...") for key in others])
    config = compose_all(list(typed), conf_dir, lambda config: [], multirun=False)[0].config
    data: DataConfig = job_of(config).data
    typed_labels = any(key.startswith("data.labels=") for key in typed)
    if typed_labels or trained.job is None:
        return data
    return replace(data, labels=trained.job.data.labels)


def typed_length(data: DataConfig | None, typed: Sequence[str]) -> int | None:
    """Tokens to read of each text, where they were typed."""
    given = any(override.startswith("data.max_length=") for override in typed)
    return data.max_length if data and given else None
