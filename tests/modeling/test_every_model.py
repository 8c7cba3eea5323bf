"""Each shipped model's architecture, small and with random weights: what is exact, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONF
from omegaconf import OmegaConf
from small_models import ARCHITECTURES, batch, small, without_dropout

from lingotune.catalog.architectures import skips_padding
from lingotune.catalog.linear_layers import linear_layers
from lingotune.catalog.models import card_of, config_of
from lingotune.catalog.pooling import poolings
from lingotune.config.schema import ModelConfig
from lingotune.modeling.compact_embedding import CompactEmbedding, compact
from lingotune.modeling.lean_encoder import Packing, read_first_token
from lingotune.modeling.load import layer_list

SHIPPED = {path.stem: OmegaConf.load(path).model.name_or_path for path in (CONF / "model").glob("*.yaml")
           if path.stem not in ("tiny", "pretrained")}  # fmt: skip


def test_every_shipped_model_has_its_card_and_is_of_an_architecture_that_is_tried_here() -> None:
    assert len(SHIPPED) == 12
    for name in SHIPPED.values():
        model = ModelConfig("m", name)
        architecture = str(config_of(model)["model_type"])
        assert card_of(model) is not None, name
        # transformers' own GTE is the repository's, under another name
        assert architecture.replace("new", "gte") in ARCHITECTURES, name


def trained(model: Any, inputs: dict[str, torch.Tensor]) -> list[float]:
    """Losses of five updates by AdamW, with dropout."""
    torch.manual_seed(1)
    given = [value for value in model.parameters() if value.requires_grad]
    optimizer, losses = torch.optim.AdamW(given, lr=1e-3, weight_decay=0.0), []
    for _ in range(5):
        loss = model.train()(**inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    return losses


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_the_rows_that_occur_gives_the_same_bits(architecture: str) -> None:
    inputs = batch()
    whole, part = small(architecture), small(architecture)
    used = np.unique(np.append(inputs["input_ids"].numpy(), 0))
    assert compact(part, used) is not None
    assert isinstance(part.get_input_embeddings(), CompactEmbedding)
    assert trained(part, inputs) == trained(whole, inputs)
    for name, value in whole.state_dict().items():
        assert torch.equal(part.state_dict()[name], value), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_skip_padding_where_the_facts_say_so(architecture: str) -> None:
    """tests/modeling/test_lean_encoder.py proves those that do."""
    model = small(architecture)
    before = [type(module) for module in model.modules()]
    assert read_first_token(model, Packing()) is skips_padding(architecture)
    changed = [type(module) for module in model.modules()] != before
    assert changed is skips_padding(architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_classifier_pools_as_the_facts_say(architecture: str) -> None:
    """What a later token does to the logits of a text, and padding does not."""
    known = poolings(architecture)
    assert known is not None
    inputs = {**batch(), "labels": None}
    for name, changes in known.items():
        model = without_dropout(small(architecture, **changes)).eval()
        model.base_model.register_forward_hook(_only_first)
        with torch.no_grad():
            logits = model(**inputs).logits
        first = torch.allclose(logits, logits[:1].expand_as(logits), atol=1e-6)
        assert first is (name == "first"), name


def _only_first(module: Any, given: Any, output: Any) -> Any:
    """Put the same vector in place of each text's first token's, and others in place of the rest."""
    hidden = output[0]
    hidden[:] = torch.arange(hidden.shape[0]).view(-1, 1, 1)
    hidden[:, 0] = 1.0
    if getattr(output, "pooler_output", None) is not None:
        output.pooler_output = module.pooler(hidden)
    return output


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_linear_layers_are_those_of_the_facts(architecture: str) -> None:
    model = small(architecture)
    layers = layer_list(model)
    assert layers is not None
    found = {
        name: (layer.in_features, layer.out_features)
        for name, layer in layers[0].named_modules()
        if isinstance(layer, torch.nn.Linear)
    }
    assert linear_layers(model.config.to_dict()) == found
