"""Known models: their parameters, layers and vocabulary, and what suits their kinds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lingotune.catalog import load
from lingotune.catalog.model_sizes import ModelSize, size_from, size_of
from lingotune.config.schema import JobConfig, ModelConfig
from lingotune.config.typed_json import parse_json


@dataclass(frozen=True)
class ModelKind:
    """Settings that suit models of a kind: from scratch, T5, or pretrained and mini, small, base or large.

    said: the kind in words. lr, per_device_bs, epochs: what such a model is trained with where nothing
    is said. low, high: learning rates that train it. limit: the highest that has ever trained one.
    """

    said: str
    lr: float
    per_device_bs: int
    epochs: float
    low: float
    high: float
    limit: float


@lru_cache(maxsize=1)
def model_kinds() -> dict[str, ModelKind]:
    """Map scratch, mini, small, base, large and t5 to what suits them."""
    return {name: ModelKind(**found) for name, found in load("models")["kinds"].items()}


def epochs_for(model: ModelConfig, rows: int | None) -> float:
    """Look up the epochs that suit a model on so many training rows: of a pretrained one the more, the
    fewer rows there are; None = their number is not known."""
    usual = kind_of(model).epochs
    if rows is None or model.name_or_path is None:
        return usual
    table = load("models")["epochs_by_rows"]
    return next(float(epochs) for most, epochs in table if most is None or rows <= most)


def kind_of(model: ModelConfig) -> ModelKind:
    """Tell the kind of a model by its hidden size, or by its name where that is not known here."""
    return model_kinds()[_kind_name(model)]


_LORA_RATE = 10
"""Factor by which LoRA's best learning rate is above that of all weights, whatever the rank: Schulman and
Thinking Machines Lab 2025, "LoRA Without Regret"."""


def kind_for(job: JobConfig) -> ModelKind:
    """Tell what suits a job: the kind of its model, by LoRA at its learning rates."""
    return kind_of(job.model) if job.training.lora.rank is None else lora_kind_of(job.model)


def lora_kind_of(model: ModelConfig) -> ModelKind:
    """Tell the kind of a model that is trained by LoRA, which far below its rate learns next to nothing."""
    kind = kind_of(model)
    if model.name_or_path is None:
        return kind
    lr, high = (min(_times(_LORA_RATE, rate), kind.limit) for rate in (kind.lr, kind.high))
    return replace(kind, said=f"{kind.said}, by LoRA,", lr=lr, low=_times(0.3, lr), high=high)


def _times(factor: float, rate: float) -> float:
    """Multiply, and round to digits that a person would type."""
    return float(f"{factor * rate:.3g}")


_MINI = 15_000_000
"""Parameters beside the embeddings up to which a model is very small."""
_SMALL, _LARGE = 512, 1024
"""Hidden sizes: up to the first a model is small, from the second on large."""
_FEW, _MANY = 60, 300
"""Millions of parameters: up to the first a model is small, from the second on large."""
_NAMES = {
    **dict.fromkeys(("tiny", "mini", "minilm", "small"), "small"),
    **dict.fromkeys(("large", "xl", "xxl", "xlarge", "xxlarge", "huge"), "large"),
}
_T5 = re.compile("(m|um|by)?t5")
_HIDDEN = re.compile(
    r"(?<![a-z0-9])h[-_]?(\d{2,5})(?![a-z0-9])|(?<![a-z0-9])(\d{3,5})d(?![a-z0-9])"
)
"""Hidden size in a name, as in MiniLM-L12-H384."""
_COUNT = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([mb])(?![a-z0-9])")
"""Parameters in a name, as in 135M or 0.5B."""


def _kind_name(model: ModelConfig) -> str:
    if model.name_or_path is None:
        return "scratch"
    config, name = config_of(model), model.name_or_path.lower()
    if _T5.fullmatch(str(config.get("model_type", ""))) or (not config and _named_t5(name)):
        return "t5"
    size = model_size(model)
    if size and size.parameters - size.embeddings <= _MINI:
        return "mini"
    dim = size.dim if size else _hidden_size(config)
    return _kind_of_size(dim, _SMALL, _LARGE) if dim else _kind_by_name(name)


def _kind_of_size(size: float, small: float, large: float) -> str:
    return "small" if size <= small else "large" if size >= large else "base"


def _kind_by_name(name: str) -> str:
    """Tell the kind of a model of the hub, of whose config nothing is here."""
    hidden, count = _HIDDEN.search(name), _COUNT.search(name)
    if hidden:
        return _kind_of_size(int(hidden[1] or hidden[2]), _SMALL, _LARGE)
    if count:
        millions = float(count[1]) * (1000 if count[2] == "b" else 1)
        return _kind_of_size(millions, _FEW, _MANY)
    words = re.split(r"[^a-z0-9]+", name)
    return next((_NAMES[word] for word in words if word in _NAMES), "base")


def _named_t5(name: str) -> bool:
    return any(map(_T5.fullmatch, re.split(r"[^a-z0-9]+", name)))


def config_of(model: ModelConfig) -> Mapping[str, object]:
    """Tell a pretrained model's config.json: the one in its folder, what the facts say of a known model of
    the hub, or the one in this machine's copy of the hub's files; empty where there is none."""
    folder = Path(model.name_or_path or "")
    if folder.is_dir():
        return _read(folder / "config.json")
    if known := _known(model):
        found: Mapping[str, object] = known["config"]
        return found
    cached = _cached_config(model)
    return _read(cached) if cached else {}


def _known(model: ModelConfig) -> Mapping[str, Any]:
    """Look up what the facts say of a model of the hub; empty for another."""
    facts, name = load("models"), str(model.name_or_path)
    found: Mapping[str, Any] = facts["models"].get(facts["aliases"].get(name, name), {})
    return found


@dataclass(frozen=True)
class Card:
    """What the card of a model on the hub says.

    languages: how many it was trained on. licence: as the hub names it.
    """

    languages: int
    licence: str


def card_of(model: ModelConfig) -> Card | None:
    """Look up the card of a known model of the hub; None for another."""
    known = _known(model)
    if "languages" not in known:
        return None
    return Card(known["languages"], known["licence"])


def _cached_config(model: ModelConfig) -> Path | None:
    name = model.name_or_path or ""
    if "://" in name:
        return None
    with suppress(ImportError, ValueError):  # not installed; no name that a model could have
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "config.json", revision=model.revision)
        return Path(found) if isinstance(found, str) else None
    return None


@lru_cache(maxsize=100)
def _read(config: Path) -> Mapping[str, object]:
    try:
        found = parse_json(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _hidden_size(config: Mapping[str, object]) -> int | None:
    sizes = [config.get(name) for name in ("hidden_size", "dim", "d_model", "n_embd", "emb_dim")]
    return next((size for size in sizes if isinstance(size, int)), None)


def usable_positions(config: Mapping[str, Any]) -> int | None:
    """Count the tokens that a model has positions for, by its config.json; None if it has no end, or does
    not say."""
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions < 0:  # XLNet has no end
        return None
    if "roberta" not in str(config.get("model_type")):
        return positions
    # Its positions start after the padding id.
    return positions - (int(config.get("pad_token_id") or 0) + 1)


def model_size(model: ModelConfig) -> ModelSize | None:
    """Look up the size of a known model, or compute that of one from scratch; None if it is unknown."""
    if model.name_or_path is not None:
        return size_from(config_of(model))
    scratch = model.scratch
    return size_of({
        "vocab_size": scratch.vocab_size, "max_positions": 512, "dim": scratch.dim,
        "hidden_dim": scratch.hidden_dim, "layers": scratch.layers, "heads": scratch.heads,
        "types": 0,
    })  # fmt: skip
