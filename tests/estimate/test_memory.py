"""The memory estimate: it counts parameters like transformers, and grows like the memory used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import ROOT, compose
from hypothesis import given
from hypothesis import strategies as st

from lingotune.catalog.model_sizes import size_from
from lingotune.catalog.models import model_size
from lingotune.config.jobfile import job_of
from lingotune.estimate.memory import GIB, estimate_memory

KNOWN: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "src" / "lingotune" / "catalog" / "facts" / "models.json").read_text()
)["models"]


def counted(architecture: str, config: dict[str, Any]) -> tuple[Any, int]:
    """The config of transformers' model of these sizes, and its parameters; without memory for them."""
    import torch
    import transformers as tf

    made = tf.AutoConfig.for_model(architecture, **config, num_labels=3)
    with torch.device("meta"):
        model = tf.AutoModelForSequenceClassification.from_config(made)
    return made, sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_of_a_known_model_are_counted_as_transformers_does(name: str) -> None:
    config = {key: value for key, value in KNOWN[name]["config"].items() if key != "auto_map"}
    architecture = config.pop("model_type").replace("new", "gte")  # its own code's name of it
    own = AS_MDEBERTA if architecture == "deberta-v2" else {"num_hidden_layers": 2, "n_layers": 2}
    count = counted(architecture, {**config, "pad_token_id": 0, **own})[1]
    size = size_from({"model_type": architecture, **config, **own})
    assert size is not None and size.parameters == count


SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
         "vocab_size": 500, "pad_token_id": 0}  # fmt: skip
AS_MDEBERTA = {"relative_attention": True, "position_buckets": 256, "norm_rel_ebd": "layer_norm",
               "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0,
               "position_biased_input": False}  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        *((name, SIZES) for name in ("bert", "roberta", "xlm-roberta", "camembert", "modernbert")),
        ("distilbert", {"dim": 64, "hidden_dim": 96, "n_layers": 3, "n_heads": 4, "vocab_size": 500}),
        ("gte", SIZES),
        ("deberta-v2", {**SIZES, **AS_MDEBERTA}),
        ("eurobert", {**SIZES, "num_key_value_heads": 2}),
    ],
)  # fmt: skip
def test_any_config_of_an_architecture_is_counted_as_transformers_does(
    architecture: str, config: dict[str, Any]
) -> None:
    made, count = counted(architecture, config)
    size = size_from(made.to_dict())
    assert size is not None and size.parameters == count


@pytest.mark.parametrize("config", [{}, {"model_type": "bert"}, {"model_type": "newer", **SIZES}])
def test_a_config_that_says_too_little_has_no_size(config: dict[str, Any]) -> None:
    assert size_from(config) is None


def test_parameters_of_the_tiny_model_are_those_that_a_run_reports() -> None:
    """The word pieces found may be fewer than asked for; 0.33 M is what the default run prints."""
    size = model_size(compose("model=tiny").model)
    assert size and size.parameters / 1e6 == pytest.approx(0.33, abs=0.005)


def test_the_articles_batch_fits_a_v100_and_eight_times_as_much_does_not() -> None:
    """16 reviews of 512 tokens in fp16 on 16 GiB is what the article trained."""
    article = estimate_memory(job_of(compose("experiment=blog")))
    assert article and article.gib < 16
    larger = estimate_memory(job_of(compose("experiment=blog", "per_device_bs=128")))
    assert larger and larger.gib > 16
    assert "135 M x 22 bytes" in article.arithmetic and "an estimate" in article.arithmetic


def test_bert_base_comes_near_the_table_of_its_makers() -> None:
    """google-research/bert: on 12 GiB in fp32, 12 texts of 320 tokens fit and 32 of 320 do not."""
    job = compose("cluster=g5_12xl", "model=pretrained", "training.precision=fp32",
                  "model.name_or_path=bert-base-multilingual-cased", "data.max_length=320",
                  "cluster.nodes=1")  # fmt: skip
    job.per_device_bs = 12
    fits = estimate_memory(job_of(job))
    job.per_device_bs = 32
    fails = estimate_memory(job_of(job))
    assert fits and fails and fits.gib < 14 < fails.gib


def test_of_a_sharded_model_each_gpu_holds_its_part() -> None:
    """By hand: 278.0 M parameters, of them 192.0 M words and 0.4 M positions; 12 layers."""
    typed = ["cluster=p4d_24xl", "model=xlmr_base", "training.shard=true"]
    one = estimate_memory(job_of(compose(*typed)))
    two = estimate_memory(job_of(compose(*typed, "cluster.nodes=2")))
    size = model_size(job_of(compose(*typed)).model)
    assert one and two and size
    layers = 2 * (size.parameters - size.embeddings) / 12
    gathered = 8 * (size.embeddings + layers)
    assert one.fixed_gib == pytest.approx((16 * size.parameters / 8 + gathered) / GIB + 1.5)
    assert two.fixed_gib == pytest.approx((size.parameters + gathered) / GIB + 1.5)
    assert one.activations_gib == two.activations_gib
    assert "278 M x 16 bytes / 8 GPUs) + 1.5 of those that are whole" in one.arithmetic


@pytest.mark.parametrize(
    "overrides", [["cluster=local"], ["cluster=p3_16xl", "model=pretrained",
                                      "model.name_or_path=me/unknown"]]
)  # fmt: skip
def test_what_is_not_known_is_not_estimated(overrides: list[str]) -> None:
    assert estimate_memory(job_of(compose(*overrides))) is None


@given(st.integers(1, 512), st.integers(8, 512))
def test_more_texts_or_longer_ones_never_take_less(batch: int, length: int) -> None:
    job = job_of(compose_once())
    job.per_device_bs, job.data.max_length = batch, length
    one = estimate_memory(job)
    job.per_device_bs, job.data.max_length = batch + 1, length + 1
    more = estimate_memory(job)
    assert one and more and one.gib < more.gib
    assert one.fixed_gib == more.fixed_gib


_COMPOSED: list[Any] = []


def compose_once() -> Any:
    if not _COMPOSED:
        _COMPOSED.append(compose("cluster=p4d_24xl", "model=xlmr_base"))
    return _COMPOSED[0]


def test_lora_keeps_gradients_and_moments_of_its_adapters_alone() -> None:
    """By hand: 12 layers x rank 8 x (4 x 1536 + 2 x 3840) beside XLM-R base, and its head."""
    typed = ["cluster=g5_12xl", "model=xlmr_base", "lr=3e-4"]
    lora = estimate_memory(job_of(compose(*typed, "training.lora.rank=8")))
    whole = estimate_memory(job_of(compose(*typed)))
    size = model_size(job_of(compose(*typed)).model)
    assert lora and whole and size
    adapters = 12 * 8 * (4 * 1536 + 2 * 3840)
    trained = adapters + 768 * 768 + 768 + 3 * 769
    held = 6 * (size.parameters + adapters) + 16 * trained
    assert lora.fixed_gib == pytest.approx(held / GIB + 1.5)
    assert whole.fixed_gib > 3 * (lora.fixed_gib - 1.5) and "1.92 M x 16 bytes" in lora.arithmetic
