"""Freezing the first layers of an encoder, which know the language, so that only the upper ones learn."""

from __future__ import annotations

from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import TrainingConfig
from lingotune.modeling.layer_learning_rates import depths_of, layers_in

_SETTING = "training.freeze_layers"


def freeze_layers(model: Any, training: TrainingConfig) -> str:
    """Freeze as many layers as the job asks, from the first; returns a line for the log.

    With `freeze_embeddings` all embeddings are frozen, those of positions too, so that no gradient goes
    below the first trained layer. ConfigError if the model has no more layers than that, or if they cannot
    be told from the names of its parameters.
    """
    wanted = training.freeze_layers
    depths = depths_of([name for name, _ in model.named_parameters()], _SETTING, "0")
    layers = layers_in(depths)
    if wanted >= layers:
        what = f"the model has {layers} {'layer' if layers == 1 else 'layers'}; one has to learn"
        fix = f"{_SETTING}={max(0, layers - 1)}"
        raise ConfigError([Problem(f"{_SETTING}={wanted}", what, fix)])
    for name, value in model.named_parameters():
        is_embedding = depths[name] > layers
        if depths[name] > layers - wanted and (training.freeze_embeddings or not is_embedding):
            value.requires_grad_(requires_grad=False)
    below = ", and all embeddings" if training.freeze_embeddings else ""
    return f"layers: the first {wanted} of {layers} are frozen{below}"
