"""Known models: their parameters, layers and vocabulary, and what suits their kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lingotune.catalog import load
from lingotune.config.schema import ModelConfig


@dataclass(frozen=True)
class ModelSize:
    """Sizes that an encoder's memory and speed depend on.

    dim: hidden size. embeddings: parameters for words and positions. vocabulary: number of words.
    """

    parameters: int
    layers: int
    dim: int
    heads: int
    embeddings: int
    vocabulary: int


@dataclass(frozen=True)
class ModelKind:
    """Settings that suit models of one kind: from scratch, or pretrained and small, base or large.

    said: the kind in words. lr, per_device_bs, epochs: what such a model is trained with where nothing
    is said. low, high: learning rates that train it. limit: the highest that has ever trained one.
    """

    said: str
    lr: float
    per_device_bs: int
    epochs: int
    low: float
    high: float
    limit: float


@lru_cache(maxsize=1)
def model_kinds() -> dict[str, ModelKind]:
    """Map scratch, small, base and large to what suits them."""
    return {name: ModelKind(**found) for name, found in load("models")["kinds"].items()}


def kind_of(model: ModelConfig) -> ModelKind:
    """Tell the kind of a model by its hidden size, or by its name where that is not known here."""
    return model_kinds()[_kind_name(model)]


_SMALL, _LARGE = 512, 1024
"""Hidden sizes: up to the first a model is small, from the second on large."""
_NAMES = {"tiny": "small", "mini": "small", "small": "small", "large": "large", "xl": "large",
          "xxl": "large", "huge": "large"}  # fmt: skip


def _kind_name(model: ModelConfig) -> str:
    if model.name_or_path is None:
        return "scratch"
    size = model_size(model)
    dim = size.dim if size else _hidden_size(Path(model.name_or_path, "config.json"))
    if dim:
        return "small" if dim <= _SMALL else "large" if dim >= _LARGE else "base"
    words = re.split(r"[^a-z0-9]+", model.name_or_path.lower())
    return next((_NAMES[word] for word in words if word in _NAMES), "base")


@lru_cache(maxsize=100)
def _hidden_size(config: Path) -> int | None:
    """Read the hidden size of a model's folder; None where there is none to be read."""
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
        sizes = [found.get(name) for name in ("hidden_size", "dim", "d_model", "n_embd")]
    except (OSError, ValueError, AttributeError):
        return None
    return next((size for size in sizes if isinstance(size, int)), None)


def model_size(model: ModelConfig) -> ModelSize | None:
    """Look up the size of a known model, or compute that of one from scratch; None if it is unknown."""
    if model.name_or_path is not None:
        config = load("models")["models"].get(model.name_or_path)
        return size_of(config) if config else None
    scratch = model.scratch
    return size_of({
        "vocab_size": scratch.vocab_size, "max_positions": 512, "dim": scratch.dim,
        "hidden_dim": scratch.hidden_dim, "layers": scratch.layers, "heads": scratch.heads,
        "types": 0, "head_layers": 1,
    })  # fmt: skip


def size_of(config: Mapping[str, int]) -> ModelSize:
    """Count the parameters of an encoder with a classification head of three classes.

    In `config`, `types` is the number of token types, and `head_layers` the number of dim x dim layers
    before the classifier (the pooler, or a hidden layer of the head).
    """
    dim, inner = config["dim"], config["hidden_dim"]
    embeddings = (config["vocab_size"] + config["max_positions"] + config["types"]) * dim
    attention = 4 * (dim * dim + dim) + 2 * dim
    feed_forward = dim * inner + inner + inner * dim + dim + 2 * dim
    head = config["head_layers"] * (dim * dim + dim) + 3 * dim + 3
    layers = config["layers"]
    parameters = embeddings + 2 * dim + layers * (attention + feed_forward) + head
    return ModelSize(parameters, layers, dim, config["heads"], embeddings, config["vocab_size"])
