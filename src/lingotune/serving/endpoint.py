"""The functions by which SageMaker's inference toolkit loads and asks a model that serves itself."""

from __future__ import annotations

import json
from pathlib import Path

from lingotune.config.console import format_error
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.typed_json import from_json
from lingotune.evaluation.classifier import trained_model
from lingotune.runs.folder import CODE
from lingotune.serving.code_folder import PACKED, Packed
from lingotune.serving.served_model import ServedModel


class NotServed(RuntimeError):
    """Model that cannot be loaded, with all that is wrong, for the endpoint's log."""


def model_fn(model_dir: str) -> ServedModel:
    """Load the model of a folder; NotServed if it is damaged, or is not the one that was packed."""
    folder = Path(model_dir)
    try:
        packed = _packed(folder)
        model = ServedModel(trained_model(folder, job=packed.job))
        if model.digest != packed.model:
            what = f"is another model than was packed: {packed.model[:12]} then, {model.digest[:12]} now"
            raise ConfigError([Problem(model_dir, what, "lingotune package RUN")])
    except ConfigError as error:
        raise NotServed(format_error(error)) from error
    return model


def _packed(folder: Path) -> Packed:
    path = folder / CODE / PACKED
    try:
        return from_json(Packed, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        what = f"cannot be read: {error}"
        raise ConfigError([Problem(str(path), what, "lingotune package RUN")]) from error


def transform_fn(
    model: ServedModel, body: bytes | str, content_type: str | None, accept: str | None
) -> str:
    """Answer a request in the form that `accept` names; BadRequest, a ValueError, tells what is wrong."""
    return model.answer(body, content_type, accept)[0]
