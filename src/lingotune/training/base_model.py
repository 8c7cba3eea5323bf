"""The model that a run begins with, as this machine finds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lingotune.config.schema import JobConfig, ModelConfig, Source
from lingotune.contract.container import MODEL_CHANNEL
from lingotune.hub.token import find_token

_TOKEN_VARIABLES = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)  # the second for huggingface_hub before 0.19


def channel_of(model: ModelConfig, environment: Mapping[str, str]) -> str | None:
    """Find the folder in which SageMaker has laid a model of the user's own; None without one."""
    if model.name_or_path is None:
        return None
    return environment.get(f"SM_CHANNEL_{MODEL_CHANNEL.upper()}")


def located(model: ModelConfig, environment: Mapping[str, str]) -> ModelConfig:
    """Name the folder that a model is loaded from here; the job keeps the name that was typed."""
    channel = channel_of(model, environment)
    return replace(model, name_or_path=channel, revision=None) if channel else model


def sign_in(job: JobConfig) -> None:
    """Give the hub's libraries the token of the job's secret, if model or data come from the hub.

    It lives in this process's environment alone. ConfigError if the secret cannot be read.
    """
    name = job.model.name_or_path
    own = name is None or channel_of(job.model, os.environ) or Path(name).is_dir()
    if job.hub.token_secret and not (own and job.data.source is not Source.hub):
        token = find_token(job.hub)
        os.environ.update(dict.fromkeys(_TOKEN_VARIABLES, token))
