"""Parameters of encoders with a classification head of three classes, counted from their configs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

NAMES = {
    "vocab_size": ("vocab_size",),
    "max_positions": ("max_position_embeddings",),
    "types": ("type_vocab_size",),
    "dim": ("hidden_size", "dim"),
    "hidden_dim": ("intermediate_size", "hidden_dim"),
    "layers": ("num_hidden_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_heads"),
    "key_value_heads": ("num_key_value_heads", "num_attention_heads"),
    "buckets": ("position_buckets",),
}
"""Our names for sizes -> those in config.json."""


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


def size_of(config: Mapping[str, int]) -> ModelSize:
    """Count the parameters of an encoder of BERT's make; `types` is the number of its token types."""
    dim, inner = config["dim"], config["hidden_dim"]
    embeddings = (config["vocab_size"] + config["max_positions"] + config["types"]) * dim
    attention = 4 * (dim * dim + dim) + 2 * dim
    feed_forward = dim * inner + inner + inner * dim + dim + 2 * dim
    return _size(config, embeddings, 2 * dim + head_parameters(dim), attention + feed_forward)


def size_from(config: Mapping[str, object]) -> ModelSize | None:
    """Count the parameters of a model by its config.json; None for another architecture, or a size that
    is not there."""
    count = _COUNTS.get(str(config.get("model_type")))
    if count is None:
        return None
    try:
        return count(sizes_in(config))
    except KeyError:  # the size that it names is not there
        return None


def sizes_in(config: Mapping[str, object]) -> dict[str, int]:
    """Read the sizes that a config.json names, by our names."""
    sizes = {name: _first(config, names) for name, names in NAMES.items()}
    return {name: size for name, size in sizes.items() if size is not None}


def head_parameters(dim: int, classes: int = 3) -> int:
    """Count the parameters of the head: a dense layer (the pooler, where the head has none) and the
    classifier."""
    return dim * dim + dim + classes * (dim + 1)


def _first(config: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    found = (config.get(name) for name in names)
    return next((size for size in found if isinstance(size, int) and size > 0), None)


def _like_bert(sizes: Mapping[str, int]) -> ModelSize:
    return size_of({"types": 0, **sizes})


def _distilbert(sizes: Mapping[str, int]) -> ModelSize:
    return size_of({**sizes, "types": 0})


def _deberta(sizes: Mapping[str, int]) -> ModelSize:
    """Distances, in buckets to both sides, have vectors in place of positions; these have a norm."""
    buckets = 2 * sizes["buckets"]
    size = size_of({"types": 0, **sizes, "max_positions": buckets})
    return replace(size, parameters=size.parameters + 2 * sizes["dim"])


def _gte(sizes: Mapping[str, int]) -> ModelSize:
    """Positions turn queries and keys; the feed-forward is gated, and one of its matrices has no bias."""
    dim, inner = sizes["dim"], sizes["hidden_dim"]
    embeddings = (sizes["vocab_size"] + sizes.get("types", 0)) * dim
    layer = 4 * (dim * dim + dim) + 3 * dim * inner + dim + 4 * dim
    return _size(sizes, embeddings, 2 * dim + head_parameters(dim), layer)


def _modernbert(sizes: Mapping[str, int]) -> ModelSize:
    """The first layer has no norm before its attention, but the embeddings have one."""
    return _gated(sizes, sizes["dim"])


def _eurobert(sizes: Mapping[str, int]) -> ModelSize:
    """Keys and values have fewer heads."""
    return _gated(sizes, sizes["dim"] // sizes["heads"] * sizes["key_value_heads"])


def _gated(sizes: Mapping[str, int], narrow: int) -> ModelSize:
    """Count an encoder without positions and biases, its feed-forward gated by a third matrix.

    narrow: width of keys and of values.
    """
    dim, inner = sizes["dim"], sizes["hidden_dim"]
    layer = 2 * dim * dim + 2 * dim * narrow + 3 * dim * inner + 2 * dim
    ends = dim + head_parameters(dim)  # the last norm, and the head
    return _size(sizes, sizes["vocab_size"] * dim, ends, layer)


_COUNTS = {
    "bert": _like_bert,
    "camembert": _like_bert,
    "roberta": _like_bert,
    "xlm-roberta": _like_bert,
    "distilbert": _distilbert,
    "deberta-v2": _deberta,
    "gte": _gte,
    "new": _gte,
    "modernbert": _modernbert,
    "eurobert": _eurobert,
}
"""Architecture -> how its parameters are counted."""


def _size(sizes: Mapping[str, int], embeddings: int, ends: int, layer: int) -> ModelSize:
    """Sum up what lies before and behind the layers, and the layers."""
    parameters = embeddings + ends + sizes["layers"] * layer
    return ModelSize(
        parameters, sizes["layers"], sizes["dim"], sizes["heads"], embeddings, sizes["vocab_size"]
    )
