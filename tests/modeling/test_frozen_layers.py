"""Frozen first layers, layers that are computed again, and the dropout of the head, by architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import ARCHITECTURES, batch, small, write_model
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from lingotune.catalog.head_dropout import head_dropout_name
from lingotune.config.problems import ConfigError
from lingotune.config.schema import ModelConfig, TrainingConfig
from lingotune.modeling.checkpointed_layers import checkpoint_layers
from lingotune.modeling.frozen_layers import freeze_layers
from lingotune.modeling.lean_encoder import read_first_token
from lingotune.modeling.load import layer_list, load_model

FROZEN = TrainingConfig(freeze_layers=1)
WITH_EMBEDDINGS = TrainingConfig(freeze_layers=1, freeze_embeddings=True)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    model.train()
    model(**batch()).loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


# --- frozen layers --------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_first_layers_stay_as_they_are(architecture: str) -> None:
    model = small(architecture)
    assert freeze_layers(model, FROZEN) == "layers: the first 1 of 2 are frozen"
    first, second = layer_list(model) or ()
    assert not any(value.requires_grad for value in first.parameters())
    assert all(value.requires_grad for value in second.parameters())
    assert model.get_input_embeddings().weight.requires_grad
    assert {id(value) for value in first.parameters()} == {
        id(value) for value in model.parameters() if not value.requires_grad
    }


@pytest.mark.parametrize("architecture", sorted({*ARCHITECTURES} - {"deberta-v2"}))
def test_with_the_embeddings_nothing_goes_below_them(architecture: str) -> None:
    """But in DeBERTa, whose norm of relative positions belongs to no layer."""
    model = small(architecture)
    freeze_layers(model, WITH_EMBEDDINGS)
    _, second = layer_list(model) or ()
    passed: list[bool] = []
    second.register_forward_pre_hook(
        lambda _, args, kwargs: passed.append(
            (args or (kwargs["hidden_states"],))[0].requires_grad
        ),
        with_kwargs=True,
    )
    found = gradients(model)
    assert passed == [False] and found


def test_one_layer_at_least_has_to_learn() -> None:
    with pytest.raises(ConfigError, match="the model has 2 layers") as error:
        freeze_layers(small("bert"), TrainingConfig(freeze_layers=2))
    assert error.value.problems[0].fix == "training.freeze_layers=1"


def test_layers_without_known_names_are_told() -> None:
    class Nameless(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = torch.nn.Linear(2, 2)

    with pytest.raises(ConfigError, match="layers are not known by the names") as error:
        freeze_layers(Nameless(), FROZEN)
    assert error.value.problems[0].fix == "training.freeze_layers=0"


# --- layers that are computed again ---------------------------------------------------------------


def count_linear(model: Any) -> list[str]:
    """A list that gets an entry whenever a linear layer of the first layer is computed."""
    runs: list[str] = []
    first, *_ = layer_list(model) or ()
    inner = next(module for module in first.modules() if isinstance(module, torch.nn.Linear))
    inner.register_forward_hook(lambda *_: runs.append("computed"))
    return runs


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("lean", [False, True])
def test_gradients_are_the_same_to_the_last_bit(architecture: str, lean: bool) -> None:
    """With dropout, which draws the same numbers again."""
    plain, again = small(architecture), small(architecture)
    if lean and not all(read_first_token(model) for model in (plain, again)):
        pytest.skip("has no lean layers")
    counts = [count_linear(model) for model in (plain, again)]
    checkpoint_layers(again)
    before, after = gradients(plain), gradients(again)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(counts[1]) == 2 * len(counts[0]) > 0


def test_nothing_is_computed_again_in_evaluation() -> None:
    model = small("distilbert")
    checkpoint_layers(model)
    model.eval()
    with torch.no_grad():
        logits = model(**batch()).logits
    assert not logits.requires_grad


def test_a_model_without_layers_is_told() -> None:
    with pytest.raises(ConfigError, match="no list of layers to compute again"):
        checkpoint_layers(torch.nn.Linear(2, 2))


def test_the_weights_are_saved_by_their_names(tmp_path: Path) -> None:
    model = small("bert")
    names = set(model.state_dict())
    checkpoint_layers(model)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert set(model.state_dict()) == names == set(loaded.state_dict())


# --- dropout of the head --------------------------------------------------------------------------

WITH_DROPOUT = [name for name in ARCHITECTURES if head_dropout_name(name)]
OTHERS = ["albert", "camembert", "electra", "ernie", "rembert", "roberta"]
SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48,
    "vocab_size": 100, "embedding_size": 16, "input_embedding_size": 16, "output_embedding_size": 16,
}  # fmt: skip


@pytest.mark.parametrize("architecture", [*WITH_DROPOUT, *OTHERS])
def test_the_name_in_the_config_is_the_heads_dropout(architecture: str) -> None:
    name = head_dropout_name(architecture)
    sizes = ARCHITECTURES.get(architecture, SIZES)
    config = AutoConfig.for_model(architecture, **{**sizes, "num_labels": 3, str(name): 0.37})
    model = AutoModelForSequenceClassification.from_config(config)
    shares = {n: m.p for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    (found,) = [name for name, share in shares.items() if share == 0.37]
    base = model.base_model_prefix
    assert not found.startswith(f"{base}.")


def test_a_pretrained_model_is_loaded_with_it(tmp_path: Path) -> None:
    folder = write_model("bert", tmp_path / "bert")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    given = ModelConfig("x", str(folder), head_dropout=0.37)
    model, _ = load_model(given, ["a", "b"], tokenizer, 64)
    assert model.dropout.p == 0.37 and model.config.classifier_dropout == 0.37
    plain, _ = load_model(ModelConfig("x", str(folder)), ["a", "b"], tokenizer, 64)
    assert plain.dropout.p == 0.1


def test_where_the_head_has_none_it_is_told(tmp_path: Path) -> None:
    folder = write_model("eurobert", tmp_path / "eurobert")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with pytest.raises(ConfigError, match="head of the architecture eurobert has none"):
        load_model(ModelConfig("x", str(folder), head_dropout=0.37), ["a", "b"], tokenizer, 64)
