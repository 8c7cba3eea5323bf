"""Known models: their parameters, layers and vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
