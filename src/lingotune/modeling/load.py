"""Loading the classifier, pretrained or from scratch; its tokenizer is the one of the prepared data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.nn import ModuleList
from transformers import AutoConfig, AutoModelForSequenceClassification, DistilBertConfig

from lingotune.catalog.models import ModelSize
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ArchitectureConfig, ModelConfig
from lingotune.data.prepared.tokenizer import not_loaded


def load_model(model: ModelConfig, labels: Sequence[str], tokenizer: Any, max_length: int) -> Any:
    """Load a classifier over `labels`; their names and ids become part of its config."""
    names = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    if model.name_or_path is None:
        config = _scratch_config(model.scratch, names, tokenizer, max_length)
        return AutoModelForSequenceClassification.from_config(config)
    with_revision = {"revision": model.revision} if model.revision else {}
    try:
        config = AutoConfig.from_pretrained(model.name_or_path, **names, **with_revision)
        _check_length(config, model, max_length)
        loaded = AutoModelForSequenceClassification.from_pretrained(
            model.name_or_path,
            config=config,
            ignore_mismatched_sizes=True,  # replace a head for other classes by a new one
            **with_revision,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise not_loaded(model, error) from error
    # transformers 5 keeps a checkpoint's own dtype, but half-precision weights do not train.
    return loaded.float()


def layer_classes(model: Any) -> list[str]:
    """Find the class names of the layers that make up most of a model, the units of sharding.

    transformers' own lists of such modules lack DistilBERT, and split XLM-R's layers.
    """
    lists = [module for module in model.modules() if isinstance(module, ModuleList)]
    if not lists:
        what = f"{type(model).__name__} has no list of layers to shard by"
        raise ConfigError([Problem("training.shard=true", what, "training.shard=false")])
    most = max(lists, key=lambda one: sum(value.numel() for value in one.parameters()))
    return sorted({type(layer).__name__ for layer in most})


def size_of_model(model: Any) -> ModelSize | None:
    """Read the size of a model; None if its config lacks the usual names."""
    config = model.config
    layers, heads = (
        getattr(config, f"num_{name}", None) for name in ("hidden_layers", "attention_heads")
    )
    if not layers or not heads:
        return None
    words = model.get_input_embeddings()
    vocabulary, dim = config.vocab_size, words.weight.shape[1]
    positions = getattr(config, "max_position_embeddings", 0)
    parameters = sum(value.numel() for value in model.parameters())
    parameters += (vocabulary - words.weight.shape[0]) * dim
    return ModelSize(parameters, layers, dim, heads, (vocabulary + positions) * dim, vocabulary)


def _scratch_config(
    scratch: ArchitectureConfig, names: Mapping[str, object], tokenizer: Any, max_length: int
) -> DistilBertConfig:
    return DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=scratch.dim,
        hidden_dim=scratch.hidden_dim,
        n_layers=scratch.layers,
        n_heads=scratch.heads,
        dropout=scratch.dropout,
        attention_dropout=scratch.dropout,
        seq_classif_dropout=scratch.dropout,
        max_position_embeddings=max(512, max_length),
        pad_token_id=tokenizer.pad_token_id,
        **names,
    )


def _check_length(config: Any, model: ModelConfig, max_length: int) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return
    # RoBERTa's positions start after the padding id.
    usable = positions - (config.pad_token_id + 1 if "roberta" in config.model_type else 0)
    if max_length > usable:
        what = f"{model.name_or_path} has positions for {usable} tokens"
        raise ConfigError(
            [Problem(f"data.max_length={max_length}", what, f"data.max_length={usable}")]
        )
