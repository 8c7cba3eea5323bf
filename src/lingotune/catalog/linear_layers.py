"""Linear layers of the encoders of known architectures, and the adapters that LoRA puts beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from lingotune.catalog.model_sizes import ModelSize, sizes_in
from lingotune.catalog.models import config_of
from lingotune.config.schema import LoraConfig, ModelConfig

Shape = tuple[int, int]
"""Widths of what goes into a layer and of what comes out."""
Sizes = Mapping[str, int]


def linear_layers(config: Mapping[str, object]) -> dict[str, Shape] | None:
    """Map the names of the linear layers within one layer of an encoder to their shapes; None if the
    architecture, or a size, is not known."""
    known = _LAYERS.get(str(config.get("model_type")))
    try:
        return known(sizes_in(config)) if known else None
    except KeyError:  # the size that it names is not there
        return None


def linear_layers_of(model: ModelConfig) -> dict[str, Shape] | None:
    """Map the linear layers of a model's encoder, see `linear_layers`; of a DistilBERT from scratch too."""
    if model.name_or_path is not None:
        return linear_layers(config_of(model))
    scratch = model.scratch
    return _distilbert({"dim": scratch.dim, "hidden_dim": scratch.hidden_dim})


def is_target(name: str, targets: Sequence[str]) -> bool:
    """Tell whether a layer gets an adapter: its name ends with one of the targets; without any, all do."""
    return not targets or any(name == one or name.endswith(f".{one}") for one in targets)


def no_target(lora: LoraConfig, of: str, names: Iterable[str]) -> tuple[str, str, str]:
    """Write what was typed, what is wrong, and what works, where no layer is called as the targets say."""
    known = ",".join(dict.fromkeys(names))
    what = f"no linear layer of {of} is called so"
    fix = f"training.lora.targets=[], for all of {known}"
    return f"training.lora.targets=[{','.join(lora.targets)}]", what, fix


def adapter_parameters(model: ModelConfig, size: ModelSize, lora: LoraConfig) -> int | None:
    """Count the parameters of the adapters: two matrices, in x rank and rank x out, beside each layer."""
    layers = linear_layers_of(model)
    if layers is None or lora.rank is None:
        return None
    widths = sum(sum(shape) for name, shape in layers.items() if is_target(name, lora.targets))
    return size.layers * lora.rank * widths


def _bert(sizes: Sizes) -> dict[str, Shape]:
    return _like_bert(sizes, "attention.self.{}")


def _deberta(sizes: Sizes) -> dict[str, Shape]:
    return _like_bert(sizes, "attention.self.{}_proj")


def _like_bert(sizes: Sizes, projection: str) -> dict[str, Shape]:
    dim, inner = sizes["dim"], sizes["hidden_dim"]
    return {
        **{projection.format(name): (dim, dim) for name in ("query", "key", "value")},
        "attention.output.dense": (dim, dim),
        "intermediate.dense": (dim, inner),
        "output.dense": (inner, dim),
    }


def _distilbert(sizes: Sizes) -> dict[str, Shape]:
    dim, inner = sizes["dim"], sizes["hidden_dim"]
    return {
        **{f"attention.{name}_lin": (dim, dim) for name in ("q", "k", "v", "out")},
        "ffn.lin1": (dim, inner),
        "ffn.lin2": (inner, dim),
    }


def _modernbert(sizes: Sizes) -> dict[str, Shape]:
    dim, inner = sizes["dim"], sizes["hidden_dim"]
    return {
        "attn.Wqkv": (dim, 3 * dim),
        "attn.Wo": (dim, dim),
        "mlp.Wi": (dim, 2 * inner),
        "mlp.Wo": (inner, dim),
    }


def _like_llama(sizes: Sizes) -> dict[str, Shape]:
    """Keys and values may have fewer heads."""
    dim, inner, heads = sizes["dim"], sizes["hidden_dim"], sizes["heads"]
    narrow = dim // heads * sizes.get("key_value_heads", heads)
    return {
        "self_attn.q_proj": (dim, dim),
        "self_attn.k_proj": (dim, narrow),
        "self_attn.v_proj": (dim, narrow),
        "self_attn.o_proj": (dim, dim),
        "mlp.gate_proj": (dim, inner),
        "mlp.up_proj": (dim, inner),
        "mlp.down_proj": (inner, dim),
    }


_LAYERS: dict[str, Callable[[Sizes], dict[str, Shape]]] = {
    **dict.fromkeys(("bert", "camembert", "electra", "roberta", "xlm-roberta"), _bert),
    "deberta-v2": _deberta,
    "distilbert": _distilbert,
    "modernbert": _modernbert,
    "eurobert": _like_llama,
    "gte": _like_llama,
}
"""Architecture -> the linear layers within one of its layers."""
