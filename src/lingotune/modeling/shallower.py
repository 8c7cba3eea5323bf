"""A classifier with fewer layers, made of some of another's, as DistilBERT was (Sanh et al. 2019)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from lingotune.config.faults import of_machine
from lingotune.config.problems import ConfigError, Problem
from lingotune.data.prepared.foreign_code import NEVER
from lingotune.data.prepared.tokenizer import is_tokenizer_file, refuse_code
from lingotune.modeling.attention import attention_of
from lingotune.modeling.load import layer_list
from lingotune.modeling.own_names import own_names

_CONFIG = "config.json"


def evenly_spaced(layers: int, count: int) -> list[int]:
    """Choose the places of `count` of so many layers, evenly spaced from the first to the last.

    Of 12 layers the six are 0, 2, 4, 7, 9, 11, as DistilBERT's; one is the first.
    """
    return [round(n * (layers - 1) / max(1, count - 1)) for n in range(count)]


def write_shallower(folder: Path, count: int, target: Path) -> list[int]:
    """Write a saved classifier with `count` of its layers into a new folder; returns their places.

    Embeddings, head and tokenizer are the same. The folder appears only once it is whole. ConfigError if
    there are not more layers than that, or the architecture cannot be made with fewer.
    """
    refuse_code(str(folder), folder)
    logging.disable_progress_bar()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            str(folder), use_safetensors=True, **NEVER
        )
    except Exception as error:  # the libraries raise many kinds for damaged files
        if known := of_machine(error):
            raise known from error
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        what = f"the model cannot be loaded: {reason}"
        raise ConfigError(
            [Problem(str(folder), what, "another run, or this one trained again")]
        ) from error
    places = _chosen(model, count)
    layers = layer_list(model)
    assert layers is not None, "places are of layers"
    for place in reversed(range(len(layers))):
        if place not in places:
            del layers[place]
    _describe(model.config, places)
    unfinished = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with own_names(model):
        model.save_pretrained(str(unfinished), safe_serialization=True)
    for path in folder.iterdir():
        if is_tokenizer_file(path.name) and path.name != _CONFIG:
            shutil.copy(path, unfinished)
    _check(unfinished, model, count)
    unfinished.replace(target)
    return places


def _chosen(model: Any, count: int) -> list[int]:
    layers = layer_list(model)
    known = model.config.num_hidden_layers
    where = f"student=layers:{count}"
    if layers is None or len(layers) != known:
        what = f"{type(model).__name__} has no list of its {known} layers to take some of"
        raise ConfigError([Problem(where, what, "student=mmbert_small, or another model")])
    if known == 1:
        raise ConfigError(
            [Problem(where, "the teacher has one layer alone", "student=mmbert_small")]
        )
    if not 0 < count < known:
        what = f"the teacher has {known} layers, and the student has to have fewer"
        raise ConfigError([Problem(where, what, f"student=layers:{known // 2}")])
    return evenly_spaced(known, count)


def _describe(config: Any, places: list[int]) -> None:
    """Tell the number of layers, and what the config says of each of them."""
    known = config.num_hidden_layers
    for name, value in vars(config).items():
        if isinstance(value, list) and len(value) == known and name.startswith("layer"):
            setattr(config, name, [value[place] for place in places])
    config.num_hidden_layers = len(places)


def _check(folder: Path, model: Any, count: int) -> None:
    """Refuse a folder whose weights its own config.json does not describe, as for models of two halves."""
    _, said = AutoModelForSequenceClassification.from_pretrained(
        str(folder),
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        use_safetensors=True,
        **attention_of(model.config.model_type),
        **NEVER,
    )
    if any(said[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        shutil.rmtree(folder)
        what = f"a {type(model).__name__} cannot be made of fewer layers"
        raise ConfigError(
            [Problem(f"student=layers:{count}", what, "student=mmbert_small, or another model")]
        )
