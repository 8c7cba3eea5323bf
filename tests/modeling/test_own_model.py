"""Builders of the user's own: what they are given, what they may return, rebuilding what was saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import DistilBertForSequenceClassification

from lingotune.config.problems import ConfigError
from lingotune.config.schema import ArchitectureConfig, ModelConfig
from lingotune.modeling.own_model import build_model, rebuild_model
from lingotune.plugins.check import Named
from lingotune.plugins.loading import OwnFunction
from lingotune.plugins.marks import Kind, Mark, ModelTask

LABELS = ("bad", "fine", "good")
SCRATCH = ModelConfig("tiny", None, None, ArchitectureConfig(dim=16, hidden_dim=32, heads=2))


class Tokenizer(SimpleNamespace):
    def __len__(self) -> int:
        return 50


def own(call: Callable[[ModelTask], Any]) -> OwnFunction:
    named = Named(Kind.builder, "head", "code.builder=head")
    return OwnFunction(named, call, Mark(Kind.builder), Path(__file__), "my_code.py")


def build(call: Callable[[ModelTask], Any], *, in_parallel: bool = True) -> Any:
    tokenizer = Tokenizer(pad_token_id=0)
    return build_model(
        own(call), SCRATCH, LABELS, tokenizer, 32, several=False, in_parallel=in_parallel
    )[0]


def deeper(task: ModelTask) -> Any:
    model = task.load()
    dim = model.config.dim
    model.pre_classifier = torch.nn.Sequential(torch.nn.Linear(dim, dim), torch.nn.Linear(dim, dim))
    return model


class MeanOfTokens(DistilBertForSequenceClassification):  # type: ignore[misc]
    """A class of its own: reads all tokens, not the first."""

    def forward(self, input_ids: Any, attention_mask: Any, labels: Any = None) -> Any:
        hidden = self.distilbert(input_ids, attention_mask)[0]
        weights = attention_mask[:, :, None].to(hidden.dtype)
        logits = self.classifier((hidden * weights).sum(1) / weights.sum(1))
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        return SimpleNamespace(logits=logits, loss=loss)


def mean(task: ModelTask) -> Any:
    model = MeanOfTokens(task.load().config)
    model.pre_classifier.requires_grad_(False)
    return model


def logits_of(model: Any) -> torch.Tensor:
    ids = torch.tensor([[3, 4, 5], [6, 7, 0]])
    found: torch.Tensor
    with torch.no_grad():
        found = model.eval()(input_ids=ids, attention_mask=(ids > 0).long()).logits
    return found


def test_the_line_about_the_head_that_the_builder_was_given_is_kept(tmp_path: Path) -> None:
    build(lambda task: task.load()).save_pretrained(str(tmp_path))
    base, tokenizer = ModelConfig("base", str(tmp_path)), Tokenizer(pad_token_id=0)
    for call, wanted in (
        (lambda task: task.load(), "head: kept for bad, fine, good (by task.load(), before head)"),
        (lambda task: build(lambda other: other.load()), None),
    ):
        _, line = build_model(
            own(call), base, LABELS, tokenizer, 32, several=False, in_parallel=False
        )
        assert line == wanted


@pytest.mark.parametrize("builder", [deeper, mean])
def test_what_was_built_and_saved_is_built_again(
    builder: Callable[[ModelTask], Any], tmp_path: Path
) -> None:
    model = build(builder)
    assert model.config.id2label == dict(enumerate(LABELS)) and model.training
    assert all(value.grad is None for value in model.parameters())
    model.save_pretrained(str(tmp_path))
    again = rebuild_model(own(builder), tmp_path, SCRATCH, LABELS, 32)
    assert type(again) is type(model)
    assert torch.equal(logits_of(again), logits_of(model))


def test_a_builder_that_builds_another_model_than_was_saved_is_refused(tmp_path: Path) -> None:
    build(deeper).save_pretrained(str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        rebuild_model(own(lambda task: task.load()), tmp_path, SCRATCH, LABELS, 32)
    what = caught.value.problems[0].what
    assert (
        "another model than was saved: " in what and "pre_classifier.weight was not saved" in what
    )


def test_loading_draws_nothing_and_asks_no_hub(tmp_path: Path) -> None:
    build(deeper).save_pretrained(str(tmp_path))
    far = ModelConfig("far", "no/such-model", None)
    assert rebuild_model(own(deeper), tmp_path, far, LABELS, 32)


def without_loss(task: ModelTask) -> Any:
    model = task.load()
    forward = model.forward
    model.forward = lambda labels=None, **inputs: forward(**inputs)
    return model


def other_classes(task: ModelTask) -> Any:
    model = task.load()
    model.classifier = torch.nn.Linear(model.config.dim, 2)
    return model


def unused(task: ModelTask) -> Any:
    model = task.load()
    model.extra = torch.nn.Linear(2, 2)
    return model


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        (lambda task: torch.nn.Linear(2, 2), "head returned a Linear, which has no config"),
        (lambda task: None, "head returned a NoneType"),
        (lambda task: 1 / 0, "head raised ZeroDivisionError: division by zero (my_code.py:"),
        (without_loss, "gives no loss when it is called with labels"),
        (other_classes, "when its model was tried on two texts"),
        (unused, "leaves parameters out of the loss: extra.weight, extra.bias"),
    ],
)
def test_a_model_that_cannot_be_trained_is_told_before_it_is(
    builder: Callable[[ModelTask], Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(builder)
    (problem,) = caught.value.problems
    assert problem.where == "code.builder=head" and said in problem.what and problem.fix


def test_one_process_may_leave_parameters_out() -> None:
    assert build(unused, in_parallel=False)


def test_building_draws_no_random_numbers_of_its_own() -> None:
    build(lambda task: task.load())
    torch.manual_seed(1)
    build(lambda task: task.load())
    after = torch.rand(1)
    torch.manual_seed(1)
    from lingotune.modeling.load import load_model

    load_model(SCRATCH, LABELS, Tokenizer(pad_token_id=0), 32)
    assert torch.equal(torch.rand(1), after)
