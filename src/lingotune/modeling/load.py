"""Loading the classifier, pretrained or from scratch; its tokenizer is the one of the prepared data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch.nn import ModuleList
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    DistilBertConfig,
    PretrainedConfig,
)

from lingotune.catalog.head_dropout import head_dropout_name, no_head_dropout
from lingotune.catalog.model_sizes import ModelSize, size_from
from lingotune.catalog.models import usable_positions
from lingotune.catalog.pooling import no_pooling, poolings
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ModelConfig
from lingotune.data.prepared.foreign_code import KNOWN_CLASSES, NEVER, own_classes, permission
from lingotune.data.prepared.tokenizer import not_loaded, refuse_code
from lingotune.modeling.attention import attention_of
from lingotune.modeling.class_names import (
    ONE_CLASS,
    SEVERAL,
    KnownClasses,
    listed,
    read_classes,
    rows_by_name,
)
from lingotune.modeling.head import (
    Axes,
    class_axes,
    kept_line,
    new_line,
    renew,
    rows_of,
    take_rows,
)


def load_model(
    model: ModelConfig,
    labels: Sequence[str],
    tokenizer: Any,
    max_length: int,
    *,
    several: bool = False,
) -> tuple[Any, str | None]:
    """Load or make a classifier over `labels`, whose names and ids are part of its config.

    several: a text may have several classes, which the config says too (`problem_type`). Returns it, and
    the line that says what became of the checkpoint's head; None from scratch. New weights come from
    torch's generator: seed it first. ConfigError if the checkpoint cannot be used.
    """
    names: dict[str, Any] = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    if several:
        names["problem_type"] = SEVERAL
    if model.name_or_path is None:
        config = _scratch_config(model, names, tokenizer, max_length)
        return AutoModelForSequenceClassification.from_config(config, **NEVER), None
    where = f"model.name_or_path={model.name_or_path}"
    refuse_code(where, Path(model.name_or_path))
    try:
        raw = _raw_config(model)
        if (what := own_classes(raw)) and model.remote_code is None:
            raise ConfigError([Problem(where, what, KNOWN_CLASSES)])
        known = read_classes(raw)
        if known.task not in (None, ONE_CLASS) and not several:  # its loss would be another
            names["problem_type"] = ONE_CLASS
        architecture = str(raw.get("model_type"))
        names |= {**_pooling(model, architecture), **_head_dropout(model, architecture)}
        config = _read_config(model, **names)
        if hasattr(
            config, "reference_compile"
        ):  # ModernBERT before transformers 5 compiles by itself
            config.reference_compile = False
        _check_length(config, model, max_length)
        return _load_by_name(model, known, config, labels)
    except (OSError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise not_loaded(model, error) from error


def _load_by_name(
    model: ModelConfig, known: KnownClasses, config: Any, labels: Sequence[str]
) -> tuple[Any, str]:
    """Load a checkpoint for `labels`; its head's rows go to the classes of their names."""
    loaded, found = _load_weights(model, config)
    axes = class_axes(loaded)
    _check_shapes(model, {name: found.mismatched[name] for name in found.mismatched.keys() - axes})
    _check_whole(model, loaded, found)
    missing = [name for name, _ in loaded.named_parameters() if name in found.missing]
    if missing and known.usable:  # a part of the head, or what it reads
        known = known.unusable(f"the model's lacks {listed(missing)}")
    lines = _left_out(found)
    if found.missing >= axes.keys():
        known = known.unusable("the model brings none")
        return loaded, "\n".join([new_line(known, labels), *lines])
    line = _take_head(model, known, loaded, found, axes, labels)
    return loaded, "\n".join([line, *lines])


def _take_head(
    model: ModelConfig,
    known: KnownClasses,
    loaded: Any,
    found: _Found,
    axes: Axes,
    labels: Sequence[str],
) -> str:
    """Take over the rows of the checkpoint's head by their names; returns the line about it."""
    classes = known.names
    rows = rows_by_name(classes, labels) if known.usable else [None] * len(labels)
    whole = not found.mismatched.keys() & axes.keys()
    if whole and len(classes) == len(labels) and rows == list(range(len(labels))):
        return kept_line(known, labels, rows)
    matching = any(row is not None for row in rows)
    old = None
    if matching and not whole:
        old = _old_rows(model, classes, axes)
    elif matching and len(classes) == len(labels):
        old = rows_of(loaded, axes)
    if whole:  # its rows were loaded by position; a head of another size was replaced
        renew(loaded, axes)
    if old is None and matching:
        said = f"the model's has other rows than its config.json names: {listed(classes)}"
        known = known.unusable(said)
    if old is None:
        return new_line(known, labels)
    take_rows(loaded, axes, old, rows)
    return kept_line(known, labels, rows)


_IN_A_LAYER = re.compile(r"(.*\.)?\d+\..*")


def _left_out(found: _Found) -> list[str]:
    """Describe layers of the checkpoint that the model has no place for, in a line; [] without any."""
    layers = [name for name in found.unexpected if _IN_A_LAYER.fullmatch(name)]
    if not layers:
        return []
    said = f"{len(layers)} weights of layers that its config.json does not describe"
    return [f"left out: {said}, such as {layers[0]}"]


def _old_rows(model: ModelConfig, classes: Sequence[str], axes: Axes) -> dict[str, Any] | None:
    """Read the head as the checkpoint has it, for its own classes; None if its config contradicts it."""
    names = {"num_labels": len(classes), "id2label": dict(enumerate(classes))}
    own, found = _load_weights(model, _read_config(model, **names))
    return None if found.mismatched.keys() & axes.keys() else rows_of(own, axes)


class _Found(NamedTuple):
    """Parameters that the checkpoint lacks, those that the model lacks, and those of another shape there:
    name -> both shapes."""

    missing: frozenset[str]
    unexpected: tuple[str, ...]
    mismatched: dict[str, tuple[Any, Any]]


def _load_weights(model: ModelConfig, config: Any) -> tuple[Any, _Found]:
    loaded, said = AutoModelForSequenceClassification.from_pretrained(
        model.name_or_path,
        config=config,
        ignore_mismatched_sizes=True,  # the head of other classes
        output_loading_info=True,
        use_safetensors=True,  # never a pickle
        **attention_of(config.model_type),
        **permission(model),
        **_with_revision(model),
    )
    mismatched = {name: (there, here) for name, there, here in said["mismatched_keys"]}
    found = _Found(
        frozenset(said["missing_keys"]), tuple(sorted(said["unexpected_keys"])), mismatched
    )
    # transformers 5 keeps a checkpoint's own dtype, but half-precision weights do not train.
    return loaded.float(), found


def _check_whole(model: ModelConfig, loaded: Any, found: _Found) -> None:
    """Refuse weights that lack a part of the encoder: transformers would put random ones in its place.

    Poolers may be missing, as models trained to fill in words have none.
    """
    start = f"{loaded.base_model_prefix}."
    own = [name for name, _ in loaded.named_parameters() if name.startswith(start)]
    missing = [name for name in own if name in found.missing and "pool" not in name]
    if missing:
        what = (
            f"its weights lack {len(missing)} of the {len(own)} parameters of the encoder that its"
            f" config.json describes, such as {missing[0]}"
        )
        if found.unexpected:
            what += f"; they hold {found.unexpected[0]} and the like, which it does not know"
        fix = "the config.json and the weights that save_pretrained has written together"
        raise ConfigError([Problem(f"model.name_or_path={model.name_or_path}", what, fix)])


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


def _raw_config(model: ModelConfig) -> dict[str, Any]:
    """Read config.json as it is: transformers changes names of classes that contradict their number."""
    found: dict[str, Any] = PretrainedConfig.get_config_dict(
        model.name_or_path, **_with_revision(model)
    )[0]
    return found


def _read_config(model: ModelConfig, **names: Any) -> Any:
    return AutoConfig.from_pretrained(
        model.name_or_path, **names, **permission(model), **_with_revision(model)
    )


def _pooling(model: ModelConfig, architecture: str) -> dict[str, str]:
    """Look up what config.json says of the pooling that was asked for; ConfigError if there is no such."""
    wanted = model.pooling
    if wanted is None:
        return {}
    known = poolings(architecture)
    if known is None or wanted.value not in known:
        raise ConfigError([Problem(*no_pooling(wanted, architecture, known))])
    return known[wanted.value]


def _head_dropout(model: ModelConfig, architecture: str) -> dict[str, float]:
    """Write the head's dropout as config.json calls it; ConfigError if the architecture does not."""
    wanted = model.head_dropout
    if wanted is None:
        return {}
    name = head_dropout_name(architecture)
    if name is None:
        raise ConfigError([Problem(*no_head_dropout(wanted, architecture))])
    return {name: wanted}


def _with_revision(model: ModelConfig) -> dict[str, str]:
    return {"revision": model.revision} if model.revision else {}


def layer_list(model: Any) -> ModuleList | None:
    """Find the list of layers that makes up most of a model; None if there is none."""
    lists = [module for module in model.modules() if isinstance(module, ModuleList)]
    return max(lists, key=lambda one: sum(v.numel() for v in one.parameters()), default=None)


def layer_classes(model: Any) -> list[str]:
    """Find the class names of the layers that make up most of a model, the units of sharding.

    transformers' own lists of such modules lack DistilBERT, and split XLM-R's layers.
    """
    layers = layer_list(model)
    if layers is None:
        what = f"{type(model).__name__} has no list of layers to shard by"
        raise ConfigError([Problem("training.shard=true", what, "training.shard=false")])
    return sorted({type(layer).__name__ for layer in layers})


def trained_in(model: Any) -> int:
    """Count the parameters that are trained."""
    return sum(value.numel() for value in model.parameters() if value.requires_grad)


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
    parameters = sum(value.numel() for value in model.parameters())
    parameters += (vocabulary - words.weight.shape[0]) * dim
    known = size_from(config.to_dict())  # of whom it is known whether positions have vectors
    positions = getattr(config, "max_position_embeddings", 0)
    embeddings = known.embeddings if known else (vocabulary + positions) * dim
    return ModelSize(parameters, layers, dim, heads, embeddings, vocabulary)


def _scratch_config(
    model: ModelConfig, names: Mapping[str, object], tokenizer: Any, max_length: int
) -> DistilBertConfig:
    scratch, dropout = model.scratch, model.head_dropout
    return DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=scratch.dim,
        hidden_dim=scratch.hidden_dim,
        n_layers=scratch.layers,
        n_heads=scratch.heads,
        dropout=scratch.dropout,
        attention_dropout=scratch.dropout,
        seq_classif_dropout=scratch.dropout if dropout is None else dropout,
        max_position_embeddings=max(512, max_length),
        pad_token_id=tokenizer.pad_token_id,
        **names,
    )


def _check_length(config: Any, model: ModelConfig, max_length: int) -> None:
    usable = usable_positions(config.to_dict())
    if usable is not None and max_length > usable:
        what = f"{model.name_or_path} has positions for {usable} tokens"
        raise ConfigError(
            [Problem(f"data.max_length={max_length}", what, f"data.max_length={usable}")]
        )
