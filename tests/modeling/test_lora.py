"""Low-rank adapters: only they and the head are trained, and merged they are a model as any other."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from small_models import ARCHITECTURES, batch, small
from transformers import AutoModelForSequenceClassification

from lingotune.catalog.linear_layers import adapter_parameters
from lingotune.catalog.model_sizes import head_parameters, size_from
from lingotune.config.problems import ConfigError
from lingotune.config.schema import LoraConfig, ModelConfig
from lingotune.modeling.lean_encoder import Packing, read_first_token
from lingotune.modeling.load import trained_in
from lingotune.modeling.lora import (
    Adapters,
    adapters_line,
    add_adapters,
    merge_adapters,
    save_adapters,
    write_merged,
)
from lingotune.modeling.own_names import own_names

LORA = LoraConfig(rank=4, dropout=0.1)


def adapted(architecture: str, lora: LoraConfig = LORA) -> tuple[Any, Adapters]:
    model = small(architecture)
    return model, add_adapters(model, lora)


def trained(model: Any) -> Any:
    """The model after three updates with dropout."""
    torch.manual_seed(1)
    given = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(given, lr=0.05)
    for _ in range(3):
        model.train()(**batch()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**batch()).logits
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_merged_adapters_are_a_model_as_any_other(architecture: str, tmp_path: Path) -> None:
    before = small(architecture)
    model, adapters = adapted(architecture)
    counted = adapter_parameters_of(architecture, model)
    assert trained_in(model) == counted + head_size(architecture)
    names = [name for name, value in model.named_parameters() if value.requires_grad]
    assert all("lora_" in name or name in adapters.head for name in names)
    expected = logits(trained(model))
    with own_names(model):  # as checkpoints are
        model.save_pretrained(str(tmp_path / "checkpoint"))
    save_adapters(model, adapters, "base", tmp_path / "adapter")
    write_merged(tmp_path / "checkpoint", written(tmp_path / "model"), adapters.scale)
    merge_adapters(model, adapters)
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-5)
    # weights outside of adapted layers and head are those of before, to the bit
    plain = before.state_dict()
    assert model.state_dict().keys() == plain.keys()
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, plain[name])
    }
    assert changed <= {*adapters.head, *(f"{name}.weight" for name in adapters.layers)}
    assert len(changed) > len(adapters.layers)
    # what a push during training sends, and what peft makes of the adapters
    sent = load_file(tmp_path / "model" / "model.safetensors")
    for name, value in sent.items():
        assert torch.equal(value, model.state_dict()[name]), name
    again = PeftModel.from_pretrained(small(architecture), str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(logits(again), expected, rtol=1e-4, atol=1e-5)
    model.save_pretrained(str(tmp_path / "model"))
    loaded = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "model")).eval()
    assert torch.equal(logits(loaded), logits(model))


def written(folder: Path) -> Path:
    folder.mkdir()
    return folder


def adapter_parameters_of(architecture: str, model: Any) -> int:
    """What the plan counts."""
    from lingotune.catalog import linear_layers

    config, size = model.config.to_dict(), size_from(model.config.to_dict())
    assert size
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_layers, "config_of", lambda _: config)
        found = adapter_parameters(ModelConfig("m", architecture), size, LORA)
    assert found is not None
    return found


def head_size(architecture: str) -> int:
    return head_parameters(32)


def test_layers_that_skip_work_take_adapters_too() -> None:
    whole, model = trained(adapted("xlm-roberta")[0]), small("xlm-roberta")
    assert read_first_token(model, Packing())
    adapters, expected = add_adapters(model, LORA), logits(whole)
    model.load_state_dict(whole.state_dict())
    torch.testing.assert_close(logits(model.eval()), expected, rtol=1e-4, atol=1e-5)
    merge_adapters(model, adapters)
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-5)


def test_targets_are_ends_of_names_and_others_are_told() -> None:
    lora = LoraConfig(rank=2, alpha=3, targets=["query", "value"])
    adapters = adapted("bert", lora)[1]
    assert len(adapters.layers) == 4 and adapters.scale == 1.5
    assert all(name.endswith(("query", "value")) for name in adapters.layers)
    assert "rank 2, scale 1.5, beside 4 linear layers (query, value)" in adapters_line(
        adapters, lora
    )
    with pytest.raises(ConfigError) as caught:
        add_adapters(small("distilbert"), lora)
    (problem,) = caught.value.problems
    assert problem.where == "training.lora.targets=[query,value]" and "q_lin" in problem.fix
    with pytest.raises(ConfigError, match="no list of layers"):
        add_adapters(torch.nn.Linear(2, 2), LORA)


def test_the_same_seed_gives_the_same_adapters() -> None:
    one, other = (adapted("gte")[0].state_dict() for _ in range(2))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert torch.equal(logits(adapted("gte")[0].eval()), logits(small("gte").eval()))
    copied = copy.deepcopy(adapted("gte")[0])
    assert trained_in(copied) == trained_in(adapted("gte")[0])
