"""Loading the classifier, pretrained or from scratch; its tokenizer is the one of the prepared data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch.nn import ModuleList
from transformers import AutoConfig, AutoModelForSequenceClassification, DistilBertConfig

from lingotune.catalog.models import ModelSize
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ArchitectureConfig, ModelConfig
from lingotune.data.prepared.tokenizer import not_loaded
from lingotune.modeling.class_names import rows_by_name
from lingotune.modeling.head import (
    Axes,
    class_axes,
    kept_line,
    names_of,
    new_line,
    renew,
    rows_of,
    take_rows,
)

_ONE_CLASS = "single_label_classification"
"""transformers' name of the task: each text has one class."""


def load_model(
    model: ModelConfig, labels: Sequence[str], tokenizer: Any, max_length: int
) -> tuple[Any, str | None]:
    """Load or make a classifier over `labels`, whose names and ids are part of its config.

    Returns it, and the line that says what became of the checkpoint's head; None from scratch. New weights
    come from torch's generator: seed it first. ConfigError if the checkpoint cannot be used.
    """
    names: dict[str, Any] = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    if model.name_or_path is None:
        config = _scratch_config(model.scratch, names, tokenizer, max_length)
        return AutoModelForSequenceClassification.from_config(config), None
    try:
        known = _read_config(model)
        if known.problem_type not in (None, _ONE_CLASS):  # its loss would be another
            names["problem_type"] = _ONE_CLASS
        config = _read_config(model, **names)
        _check_length(config, model, max_length)
        return _load_by_name(model, known, config, labels)
    except (OSError, ValueError, RuntimeError) as error:
        raise not_loaded(model, error) from error


def _load_by_name(
    model: ModelConfig, known: Any, config: Any, labels: Sequence[str]
) -> tuple[Any, str]:
    """Load a checkpoint for `labels`; its head's rows go to the classes of their names."""
    classes = names_of(known)
    rows = rows_by_name(classes, labels)
    loaded, found = _load_weights(model, config)
    axes = class_axes(loaded)
    _check_shapes(model, {name: found.mismatched[name] for name in found.mismatched.keys() - axes})
    if any(name in found.missing for name in axes):
        return loaded, new_line(None, labels)
    whole = not found.mismatched.keys() & axes.keys()
    if whole and len(classes) == len(labels) and rows == list(range(len(labels))):
        return loaded, kept_line(classes, labels, rows)
    matching = any(row is not None for row in rows)
    old = None
    if matching and not whole:
        old = _old_rows(model, known, axes)
    elif matching and len(classes) == len(labels):
        old = rows_of(loaded, axes)
    if whole:  # its rows were loaded by position; a head of another size was replaced
        renew(loaded, axes)
    if old is None:
        return loaded, new_line(classes, labels, contradicts=matching)
    take_rows(loaded, axes, old, rows)
    return loaded, kept_line(classes, labels, rows)


def _old_rows(model: ModelConfig, known: Any, axes: Axes) -> dict[str, Any] | None:
    """Read the head as the checkpoint has it, for its own classes; None if its config contradicts it."""
    own, found = _load_weights(model, known)
    return None if found.mismatched.keys() & axes.keys() else rows_of(own, axes)


class _Found(NamedTuple):
    """Parameters that the checkpoint lacks, and those of another shape there: name -> both shapes."""

    missing: frozenset[str]
    mismatched: dict[str, tuple[Any, Any]]


def _load_weights(model: ModelConfig, config: Any) -> tuple[Any, _Found]:
    loaded, said = AutoModelForSequenceClassification.from_pretrained(
        model.name_or_path,
        config=config,
        ignore_mismatched_sizes=True,  # the head of other classes
        output_loading_info=True,
        **_with_revision(model),
    )
    mismatched = {name: (there, here) for name, there, here in said["mismatched_keys"]}
    # transformers 5 keeps a checkpoint's own dtype, but half-precision weights do not train.
    return loaded.float(), _Found(frozenset(said["missing_keys"]), mismatched)


def _check_shapes(model: ModelConfig, mismatched: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuse weights of other shapes than config.json says, but for the head's: transformers would put
    random ones in their place."""
    for name, shapes in sorted(mismatched.items())[:1]:
        there, here = (" x ".join(map(str, shape)) for shape in shapes)
        what = (
            f"its config.json does not fit its weights: {name} is {there} there, {here} by the file"
        )
        fix = "the config.json that was saved with these weights"
        raise ConfigError([Problem(f"model.name_or_path={model.name_or_path}", what, fix)])


def _read_config(model: ModelConfig, **names: Any) -> Any:
    return AutoConfig.from_pretrained(model.name_or_path, **names, **_with_revision(model))


def _with_revision(model: ModelConfig) -> dict[str, str]:
    return {"revision": model.revision} if model.revision else {}


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
    if positions is None or positions < 0:  # XLNet has no end
        return
    # RoBERTa's positions start after the padding id.
    usable = positions - (config.pad_token_id + 1 if "roberta" in config.model_type else 0)
    if max_length > usable:
        what = f"{model.name_or_path} has positions for {usable} tokens"
        raise ConfigError(
            [Problem(f"data.max_length={max_length}", what, f"data.max_length={usable}")]
        )
