"""Gradient checkpointing: layers that keep their input, and are computed again in the backward pass.

transformers' own switch belongs to the layers that it made, whose arguments and marks differ between its
versions, and knows nothing of the layers that replace them here. Dropout draws the same numbers both
times, so that the result is the same to the last bit (Chen et al. 2016, arXiv:1604.06174).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from lingotune.config.problems import ConfigError, Problem
from lingotune.modeling.load import layer_list


def checkpoint_layers(model: Any) -> str:
    """Let a model's layers keep their inputs alone while it is trained; returns a line for the log.

    ConfigError if the model has no list of layers.
    """
    layers = layer_list(model)
    if layers is None:
        where = "training.gradient_checkpointing=true"
        what = f"{type(model).__name__} has no list of layers to compute again"
        raise ConfigError([Problem(where, what, "training.gradient_checkpointing=false")])
    for layer in layers:
        layer.forward = partial(_computed_again, layer, layer.forward)
    return f"gradient checkpointing: {len(layers)} layers are computed again in the backward pass"


def _computed_again(layer: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not (layer.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return checkpoint(partial(forward, **kwargs), *args, use_reentrant=False)
