"""Low-rank adapters (LoRA, arXiv:2106.09685) beside the linear layers of an encoder, by peft.

The model stays of its own class: adapters are put into it, trained with its head, and merged into its
weights at the end, after which it is as any other. peft finds no layers by itself in some architectures
(`all-linear` raises on DistilBERT), so it is given their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lingotune.catalog.linear_layers import is_target, no_target
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import LoraConfig
from lingotune.modeling.load import layer_list

_NAME = "default"
"""Name by which peft calls the only adapter."""
_BASE, _DOWN, _UP = ".base_layer", f".lora_A.{_NAME}.weight", f".lora_B.{_NAME}.weight"
"""What stands in the names of weights for the layer itself and for both matrices of its adapter."""
_OF_PEFT = "base_model.model."
"""How names begin in a file of peft's."""
_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapters:
    """Adapters in a model. layers: names of the linear layers that have one. head: names of the parameters
    that are trained beside them. scale: factor of the product of an adapter's matrices."""

    layers: tuple[str, ...]
    head: tuple[str, ...]
    scale: float
    config: Any


def add_adapters(model: Any, lora: LoraConfig) -> Adapters:
    """Put adapters into a model, from torch's generator, and let only them and the head be trained.

    ConfigError if the model has no such layers.
    """
    from peft import LoraConfig as PeftConfig
    from peft import TaskType, inject_adapter_in_model

    assert lora.rank is not None, "LoRA is asked for"
    layers, head = _targets(model, lora), _head(model)
    alpha = 2 * lora.rank if lora.alpha is None else lora.alpha
    config = PeftConfig(
        task_type=TaskType.SEQ_CLS,
        r=lora.rank,
        lora_alpha=alpha,
        lora_dropout=lora.dropout,
        target_modules=list(layers),
    )
    inject_adapter_in_model(config, model, adapter_name=_NAME)
    values = dict(model.named_parameters())
    for name in head:
        values[name].requires_grad_()
    return Adapters(layers, head, alpha / lora.rank, config)


def _targets(model: Any, lora: LoraConfig) -> tuple[str, ...]:
    layers, kind = layer_list(model), type(model).__name__
    if layers is None:
        what = f"a {kind} has no list of layers to put adapters into"
        where = f"training.lora.rank={lora.rank}"
        raise ConfigError([Problem(where, what, "training.lora.rank=null")])
    start = next(name for name, module in model.named_modules() if module is layers)
    linear = {
        f"{start}.{name}": name.partition(".")[2]
        for name, module in layers.named_modules()
        if isinstance(module, nn.Linear)
    }
    found = tuple(full for full, name in linear.items() if is_target(name, lora.targets))
    if not found:
        raise ConfigError([Problem(*no_target(lora, f"a {kind}", linear.values()))])
    return found


def _head(model: Any) -> tuple[str, ...]:
    """Name the parameters outside of the encoder, and those of its pooler, which many checkpoints lack."""
    start = f"{model.base_model_prefix}."
    names = (name for name, _ in model.named_parameters())
    return tuple(name for name in names if not name.startswith(start) or "pool" in name)


def adapters_line(adapters: Adapters, lora: LoraConfig) -> str:
    """Describe the adapters for the log."""
    kinds = dict.fromkeys(name.rpartition(".")[2] for name in adapters.layers)
    return (
        f"LoRA: rank {lora.rank}, scale {adapters.scale:g}, beside {len(adapters.layers)} linear layers"
        f" ({', '.join(kinds)}); trained with the head"
    )


# --- at the end ---------------------------------------------------------------------------------


def merge_adapters(model: Any, adapters: Adapters) -> None:
    """Add the adapters to the weights of their layers, and take them out of the model."""
    for name in adapters.layers:
        layer = model.get_submodule(name)
        plain = layer.get_base_layer()
        with torch.no_grad():
            down, up = (getattr(layer, part)[_NAME].weight for part in ("lora_A", "lora_B"))
            plain.weight.copy_(_sum(plain.weight, down, up, adapters.scale))
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, plain)
    del model.peft_config


def merged(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Merge the adapters in a checkpoint's weights; returns those of the model without adapters."""
    plain = {}
    for name, value in weights.items():
        if name.endswith((_DOWN, _UP)):
            continue
        layer, base, kind = name.rpartition(_BASE)
        if not base:
            plain[name] = value
        elif kind == ".weight":
            plain[layer + kind] = _sum(value, weights[layer + _DOWN], weights[layer + _UP], scale)
        else:
            plain[layer + kind] = value
    return plain


def _sum(weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """Add scale x up x down to a weight, in double precision: (out, in)."""
    return (weight.double() + scale * (up.double() @ down.double())).to(weight.dtype)


def write_merged(source: Path, place: Path, scale: float) -> None:
    """Write the weights of a checkpoint, one file or several, with their adapters merged in."""
    weights: dict[str, Tensor] = {}
    for file in sorted(source.glob("model*.safetensors")):
        weights |= load_file(file)
    save_file(merged(weights, scale), place / "model.safetensors", {"format": "pt"})


def _module(name: str) -> str:
    """Name the outermost module of the head that a parameter lies in: classifier, bert.pooler."""
    parts = name.split(".")
    inside = next((place for place, part in enumerate(parts) if "pool" in part), 0)
    return ".".join(parts[: inside + 1])


def save_adapters(model: Any, adapters: Adapters, base: str | None, folder: Path) -> None:
    """Save the adapters and the head as peft does: `PeftModel.from_pretrained(BASE, folder)` loads them.

    base: the base model, as hub id or folder.
    """
    values = dict(model.named_parameters())
    saved = {name: values[name] for name in adapters.head}
    for name in adapters.layers:
        saved[f"{name}.lora_A.weight"] = values[f"{name}{_DOWN}"]
        saved[f"{name}.lora_B.weight"] = values[f"{name}{_UP}"]
    folder.mkdir(parents=True, exist_ok=True)
    cpu = {f"{_OF_PEFT}{k}": v.detach().cpu().contiguous() for k, v in saved.items()}
    save_file(cpu, folder / _WEIGHTS, {"format": "pt"})
    adapters.config.base_model_name_or_path = base
    adapters.config.modules_to_save = sorted(set(map(_module, adapters.head)))
    adapters.config.inference_mode = True
    adapters.config.save_pretrained(str(folder))
