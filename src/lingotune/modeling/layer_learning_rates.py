"""Layer-wise learning rates: lower layers, which know the language, change less than the classifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lingotune.config.problems import ConfigError, Problem

_LAYER = re.compile(r"\.(?:layers?|h|blocks?)\.(\d+)\.")
_EMBEDDINGS = re.compile(r"\bembed|_embed|\bw[tp]e\b")


def by_layers(optimizer: Any, model: Any, decay: float) -> None:
    """Give each layer `decay` times the learning rate of the layer above (ELECTRA, arXiv:2003.10555).

    Splits the parameter groups of a new optimizer. ConfigError if the model's layers cannot be told from
    the names of its parameters.
    """
    depths = depths_of([name for name, _ in model.named_parameters()])
    depth = {id(value): depths[name] for name, value in model.named_parameters()}
    split = []
    for group in optimizer.param_groups:
        for level in sorted({depth[id(value)] for value in group["params"]}):
            values = [value for value in group["params"] if depth[id(value)] == level]
            split.append((level, {**group, "params": values, "lr": group["lr"] * decay**level}))
    # The classifier first, as the Trainer logs the rate of the first group.
    optimizer.param_groups[:] = [group for _, group in sorted(split, key=lambda one: one[0])]


def depths_of(
    names: list[str], setting: str = "training.layer_decay", off: str = "1"
) -> Mapping[str, int]:
    """Map each parameter to the number of layers above its own: 0 in the classifier, most in embeddings.

    setting: what asks for it, and `off` its value for what does without, in the ConfigError that is raised
    where the names tell no layers.
    """
    layer = {name: int(found[1]) for name in names if (found := _LAYER.search(name))}
    if not layer:
        what = "the model's layers are not known by the names of its parameters"
        raise ConfigError([Problem(setting, what, f"{setting}={off}")])
    count = max(layer.values()) + 1

    def depth(name: str) -> int:
        if name in layer:
            return count - layer[name]
        return count + 1 if _EMBEDDINGS.search(name) else 0

    return {name: depth(name) for name in names}


def layers_in(depths: Mapping[str, int]) -> int:
    """Count the layers whose parameters `depths_of` has mapped; those above it are embeddings."""
    return max(depth for name, depth in depths.items() if _LAYER.search(name))
