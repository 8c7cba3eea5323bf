"""Classifiers that a builder of the user's own makes: built to train, and rebuilt from what was saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ModelConfig
from lingotune.data.prepared.foreign_code import NEVER
from lingotune.modeling.class_names import SEVERAL
from lingotune.modeling.load import load_model
from lingotune.plugins.loading import OwnFunction
from lingotune.plugins.marks import ModelTask

_TEXTS = 2
"""Texts of the pass that a new model is tried with."""


def build_model(
    builder: OwnFunction,
    model: ModelConfig,
    labels: Sequence[str],
    tokenizer: Any,
    max_length: int,
    *,
    several: bool,
    in_parallel: bool,
) -> tuple[Any, str | None]:
    """Build the classifier to train; its config gets the names and ids of the classes.

    Returns it, and the line about the head that task.load() gave the builder; None if it was not called.
    several: a text may have several classes. in_parallel: several processes train it, and each parameter
    must take part in the loss. ConfigError if the builder fails, or returns no classifier that the Trainer
    can train and that can be saved.
    """
    lines: list[str] = []

    def load() -> Any:
        loaded, line = load_model(model, labels, tokenizer, max_length, several=several)
        lines[:] = [f"{line} (by task.load(), before {builder.name})"] if line else []
        return loaded

    task = ModelTask(model, tuple(labels), tokenizer, max_length, load)
    built = _built(builder, task)
    built.config.num_labels = len(labels)
    built.config.id2label = dict(enumerate(labels))
    if several:
        built.config.problem_type = SEVERAL
    built.config.label2id = {label: index for index, label in enumerate(labels)}
    taught = torch.zeros(_TEXTS, len(labels)) if several else torch.zeros(_TEXTS).long()
    _try(builder, built.float(), labels, taught, in_parallel=in_parallel)
    return built, lines[0] if lines else None


def rebuild_model(
    builder: OwnFunction, folder: Path, model: ModelConfig, labels: Sequence[str], max_length: int
) -> Any:
    """Build the classifier again and load its saved weights; the base model need not be in reach.

    ConfigError if the builder fails, or makes another model than was saved.
    """

    def load() -> Any:
        config = AutoConfig.from_pretrained(str(folder), **NEVER)
        return AutoModelForSequenceClassification.from_config(config, **NEVER)

    built = _built(builder, ModelTask(model, tuple(labels), None, max_length, load))
    saved: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        saved |= load_file(str(file))
    wrong = list(_load(built, saved))
    if wrong:
        what = f"{builder.name} builds another model than was saved: {', '.join(wrong[:3])}"
        what += f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        fix = f"{builder.name} that builds the same each time, in {builder.shown_as}"
        raise ConfigError([Problem(builder.named.setting, what, fix)])
    return built


def _built(builder: OwnFunction, task: ModelTask) -> Any:
    with builder.errors_told():
        built = builder.thing(task)
    if not isinstance(built, PreTrainedModel):
        what = f"{builder.name} returned a {type(built).__name__}, which has no config to be saved with"
        fix = f"a transformers.PreTrainedModel from {builder.name}, such as task.load() gives"
        raise ConfigError([Problem(builder.named.setting, what, fix)])
    return built


def _load(model: Any, saved: dict[str, torch.Tensor]) -> Iterator[str]:
    """Load the weights, and yield what does not fit."""
    own = model.state_dict()
    for name, value in saved.items():
        if name in own and own[name].shape != value.shape:
            yield f"{name} is {tuple(own[name].shape)}, saved {tuple(value.shape)}"
    fitting = {k: v for k, v in saved.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict(fitting, strict=False)
    # Weights that share memory are saved once.
    loaded = {own[name].data_ptr() for name in fitting}
    yield from (
        f"{name} was not saved"
        for name, value in own.items()
        if name not in saved and value.data_ptr() not in loaded
    )
    yield from (f"{name} is not built" for name in saved if name not in own)


def _try(
    builder: OwnFunction,
    model: Any,
    labels: Sequence[str],
    taught: torch.Tensor,
    *,
    in_parallel: bool,
) -> None:
    """Run the model on two short texts, as the Trainer will: loss and logits, and gradients if needed.

    taught: the labels of the texts, as they are trained on.
    """
    found = _Trial(builder, labels)
    try:
        rows = model.get_input_embeddings().num_embeddings
    except (AttributeError, NotImplementedError) as error:
        raise found.refused("has no word embeddings at get_input_embeddings()") from error
    ids = torch.arange(1, 2 * _TEXTS + 1).reshape(_TEXTS, 2) % rows
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    was = model.training
    model.eval()  # dropout would draw random numbers
    try:
        with torch.set_grad_enabled(in_parallel):
            output = found.called(lambda: model(**inputs, labels=taught))
            loss = found.checked(output)
        if in_parallel:
            found.called(loss.backward)
            idle = [k for k, v in model.named_parameters() if v.requires_grad and v.grad is None]
            model.zero_grad(set_to_none=True)
            if idle:
                what = f"leaves parameters out of the loss: {', '.join(idle[:3])}"
                raise found.refused(what, "requires_grad_(False) for those that are not trained")
    finally:
        model.train(was)


class _Trial:
    """The words for what is wrong with a model that a builder made."""

    def __init__(self, builder: OwnFunction, labels: Sequence[str]) -> None:
        self._builder, self._classes = builder, len(labels)

    def called(self, call: Callable[[], Any]) -> Any:
        """Call, or say that the model cannot be called."""
        with self._builder.errors_told("when its model was tried on two texts"):
            return call()

    def checked(self, output: Any) -> Any:
        """Return the loss of an output that has all that is needed."""
        logits, loss = getattr(output, "logits", None), getattr(output, "loss", None)
        shape = None if logits is None else tuple(logits.shape)
        if shape != (_TEXTS, self._classes):
            said = "no logits" if shape is None else f"logits of shape {shape}"
            what = f"gives {said} for {_TEXTS} texts; ({_TEXTS}, {self._classes}) are needed"
            raise self.refused(what)
        if loss is None or loss.dim():
            raise self.refused("gives no loss when it is called with labels")
        return loss

    def refused(self, what: str, fix: str = "") -> ConfigError:
        """Make the error for a model that cannot be trained."""
        builder = self._builder
        fix = fix or f"a classifier of transformers from {builder.name}, such as task.load() gives"
        problem = Problem(builder.named.setting, f"the model of {builder.name} {what}", fix)
        return ConfigError([problem])
