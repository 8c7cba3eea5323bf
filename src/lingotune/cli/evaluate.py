"""Entry of `lingotune evaluate`: the data is named by overrides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import DataConfig
from lingotune.evaluation.classifier import trained_model
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.overrides import TypedOverride
from lingotune.preflight import check_secrets


def data_typed(run: str, typed: Sequence[str], conf_dir: Path) -> DataConfig | None:
    """Compose the data that overrides name; None without any.

    The classes are those of the run, if none are typed. ConfigError for other overrides.
    """
    if not typed:
        return None
    trained = trained_model(run)
    overrides = [*map(TypedOverride.read, typed)]
    others = [o for o in overrides if o.section != "data" or o.key == "data.prepared"]
    if others:
        what = "has no effect here: overrides name the data that the model is scored on"
        raise ConfigError([o.refused(what, "data=files data.path=...") for o in others])
    config = compose_all(list(typed), conf_dir, check_secrets, multirun=False)[0].config
    data: DataConfig = job_of(config).data
    if trained.job is None or any(o.key == "data.labels" for o in overrides):
        return data
    return replace(data, labels=trained.job.data.labels)


def typed_length(data: DataConfig | None, typed: Sequence[str]) -> int | None:
    """Tokens to read of each text, where they were typed."""
    given = any(o.key == "data.max_length" for o in map(TypedOverride.read, typed))
    return data.max_length if data and given else None
