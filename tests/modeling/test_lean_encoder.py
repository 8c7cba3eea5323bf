"""Encoders that compute only what the classifier reads: the same logits and gradients, less work."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, compose
from conftest import run as run_command
from gradients import models
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
)

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import TrainingConfig
from lingotune.estimate.throughput import read_records
from lingotune.modeling.lean_encoder import (
    OFFSETS,
    REAL,
    LeanDistilBertLayer,
    LeanLayer,
    Packing,
    choose_encoder,
    read_first_token,
)
from lingotune.training import run as worker

LENGTHS = torch.tensor([17, 3, 9, 1, 12, 5])
WAYS = {"padded": False, "padding-free": True}


def new(kind: str, dropout: float = 0.0) -> Any:
    cls, config = models(layers=2)[kind]
    for name in ("dropout", "attention_dropout", "hidden_dropout_prob"):
        if hasattr(config, name):
            setattr(config, name, dropout)
    torch.manual_seed(0)
    model = cls(config)
    for name, value in model.named_parameters():
        if name.endswith("bias"):  # which begins as zero and would hide what is left out
            torch.nn.init.normal_(value, std=0.3)
    return model


def batch(model: Any) -> dict[str, torch.Tensor]:
    along = torch.arange(17)
    mask = (along < LENGTHS[:, None]).long()
    ids = torch.randint(5, 50, (6, 17), generator=torch.Generator().manual_seed(1))
    ids[mask == 0] = model.config.pad_token_id
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(6) % 3}


def packed(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    real = inputs["attention_mask"].flatten().nonzero().flatten()
    return {**inputs, REAL: real, OFFSETS: torch.cat([torch.zeros(1).long(), LENGTHS.cumsum(0)])}


def run(model: Any, packing: Packing | None = None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits and the gradients of the loss."""
    inputs = batch(model)
    given = packed(inputs) if packing else inputs
    with (packing or Packing()).of(given):
        output = model(**given)
    output.loss.backward()
    return output.logits, {name: value.grad for name, value in model.named_parameters()}


def lean(kind: str, padding_free: bool, **kwargs: Any) -> tuple[Any, Packing | None]:
    model, packing = new(kind, **kwargs), Packing() if padding_free else None
    assert read_first_token(model, packing)
    return model, packing


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", models())
def test_logits_and_gradients_are_those_of_the_whole_model(kind: str, way: str) -> None:
    expected, gradients = run(new(kind))
    found, own = run(*lean(kind, WAYS[way]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert own.keys() == gradients.keys()
    for name, gradient in gradients.items():
        if gradient is None:
            assert own[name] is None or not own[name].any()
        else:
            torch.testing.assert_close(own[name], gradient, rtol=1e-4, atol=1e-7, msg=name)


@pytest.mark.parametrize("way", WAYS)
def test_it_is_less_work(way: str) -> None:
    """No token but the first meets a matrix of the last layer; without padding, none but real tokens do."""
    flop_counter = pytest.importorskip("torch.utils.flop_counter")
    texts, width, heads = len(LENGTHS), 64, 4
    cls, config = models(layers=3)["distilbert"]
    config.dim, config.hidden_dim, config.n_heads = width, 4 * width, heads
    model, packing = cls(config), Packing() if WAYS[way] else None
    assert read_first_token(model, packing)
    *before, last = model.distilbert.transformer.layer
    vectors: list[int] = []
    for layer in before:
        layer.ffn.lin1.register_forward_hook(lambda _, given, __: vectors.append(given[0].numel()))
    counted = flop_counter.FlopCounterMode(display=False)
    last.register_forward_pre_hook(lambda *_: counted.__enter__() and None)
    last.register_forward_hook(lambda *_: counted.__exit__(None, None, None))
    run(model, packing)

    tokens = int(LENGTHS.sum()) if WAYS[way] else texts * 17
    assert vectors == 2 * [tokens * width]
    by_matrices = texts * 12 * width**2
    by_tokens = texts * 17 * 2 * heads * width  # scores, and weighted sums
    assert counted.get_total_flops() == 2 * (by_matrices + by_tokens)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", models())
def test_weights_keep_their_names(kind: str, way: str, tmp_path: Any) -> None:
    model, _ = lean(kind, WAYS[way])
    assert model.state_dict().keys() == new(kind).state_dict().keys()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    expected, _ = run(model.train(False))
    torch.testing.assert_close(run(loaded.eval())[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "way"), [("distilbert", "padding-free"), ("bert", "padded")])
def test_dropout_is_as_strong_as_before(kind: str, way: str) -> None:
    """Other random numbers are drawn; over many passes their effect is the same."""

    def spread(model: Any, packing: Packing | None = None) -> Any:
        torch.manual_seed(3)
        given = packed(batch(model)) if packing else batch(model)
        with torch.no_grad(), (packing or Packing()).of(given):
            logits = torch.stack([model(**given).logits for _ in range(100)])
        return logits.mean(0), logits.std(0)

    expected = spread(new(kind, dropout=0.3).train())
    model, packing = lean(kind, WAYS[way], dropout=0.3)
    found = spread(model.train(), packing)
    assert (found[0] - expected[0]).abs().max() < 5 * expected[1].max() / 100**0.5
    torch.testing.assert_close(found[1].mean(), expected[1].mean(), rtol=0.15, atol=0)


def test_half_precision_takes_the_same_masks() -> None:
    expected, found = [], []
    for kind in models():
        for model, into in ((new(kind), expected), (lean(kind, False)[0], found)):
            with torch.autocast("cpu", torch.bfloat16):
                into.append(run(model)[0].float())
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02)


def test_a_model_whose_weights_are_bf16_needs_no_autocast() -> None:
    for kind in models():
        expected = run(new(kind).bfloat16())[0]
        found = run(lean(kind, False)[0].bfloat16())[0]
        assert found.dtype is torch.bfloat16
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.03)


def test_eager_attention_has_masks_of_another_form() -> None:
    cls, config = models(layers=2)["bert"]
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    whole = cls(config)
    torch.manual_seed(0)
    model = cls(config)
    assert read_first_token(model)
    torch.testing.assert_close(run(model)[0], run(whole)[0], rtol=1e-5, atol=1e-6)


SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "vocab_size": 50, "num_labels": 3,
}  # fmt: skip


def test_other_kinds_of_models_are_left_alone() -> None:
    mpnet = MPNetForSequenceClassification(MPNetConfig(**SIZES))
    before = dict(mpnet.named_modules())
    assert not read_first_token(mpnet)
    assert dict(mpnet.named_modules()) == before

    class MeanOfTokens(BertForSequenceClassification):  # type: ignore[misc]
        """Reads all tokens, not the first."""

        def forward(self, input_ids: Any = None, attention_mask: Any = None, **_: Any) -> Any:
            output = self.bert(input_ids, attention_mask=attention_mask)
            logits = self.classifier(output.last_hidden_state.mean(1))
            return type("Output", (), {"logits": logits})()

    pooled = MeanOfTokens(BertConfig(**SIZES)).train()
    assert not read_first_token(pooled)
    assert not any(isinstance(module, LeanLayer) for module in pooled.modules())
    assert pooled.training


def test_a_model_of_the_same_make_is_taken_too() -> None:
    """ELECTRA's layers are BERT's; it is tried, and works."""
    model = ElectraForSequenceClassification(ElectraConfig(embedding_size=16, **SIZES))
    assert read_first_token(model)


def choose(model: Any, packing: Packing | None = None, **settings: Any) -> tuple[bool, str]:
    return choose_encoder(model, TrainingConfig(**settings), packing)


def test_what_is_done_is_told_and_what_cannot_be_done_stops() -> None:
    model = new("distilbert")
    assert choose(model, first_token_only=False) == (False, "last layer: for all tokens")
    assert not any(isinstance(module, LeanLayer) for module in model.modules())
    assert choose(model) == (True, "last layer: for the first token alone")
    *before, last = model.distilbert.transformer.layer
    assert isinstance(last, LeanDistilBertLayer)
    assert not any(isinstance(layer, LeanLayer) for layer in before)
    done, told = choose(new("bert"), Packing())
    assert done and told == "last layer: for the first token alone; no layer computes padding"
    mpnet = MPNetForSequenceClassification(MPNetConfig(**SIZES))
    assert choose(mpnet) == (False, "last layer: for all tokens")
    with pytest.raises(ConfigError) as caught:
        choose(mpnet, Packing(), first_token_only=True)
    assert [problem.where for problem in caught.value.problems] == [
        "training.first_token_only=true", "batching.padding_free=true",
    ]  # fmt: skip
    assert "MPNetForSequenceClassification" in caught.value.problems[0].what


def test_padding_free_needs_a_torch_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.3.0"))
    with pytest.raises(ConfigError, match=r"PyTorch 2\.3\.0 has no attention"):
        choose(new("bert"), Packing())


def test_a_copy_of_the_model_is_its_own() -> None:
    model, _ = lean("bert", False)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.parameters():
            value.zero_()
    assert run(model)[0].abs().sum() > 0


# --- whole runs -----------------------------------------------------------------------------------

SMALL = ["model.scratch.dim=32", "model.scratch.hidden_dim=64", "model.scratch.layers=2",
         "model.scratch.vocab_size=400", "model.scratch.dropout=0", "training.precision=fp32",
         "data.sample.train_rows=40", "data.sample.validation_rows=10", "data.sample.test_rows=10",
         "training.max_steps=8", "training.logging_steps=1", "scaling.accumulation=2",
         "per_device_bs=8", "batching.mode=random"]  # fmt: skip


def trained(folder: Path, *overrides: str) -> tuple[dict[str, Any], list[float]]:
    """The run's metrics and its training losses."""
    job = job_of(compose(*SMALL, *overrides))
    run = worker.run(job, run_dir=str(folder), prepared_dir=str(folder.parent / "prepared"))
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return metrics, [one["loss"] for one in history if "loss" in one]


@pytest.mark.slow
def test_a_run_comes_to_the_same_scores_either_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # nobody looks at the pictures
    ways = {
        "whole": ["training.first_token_only=false"],
        "first": [],
        "packed": ["batching.padding_free=true"],
    }
    found = {name: trained(tmp_path / name, *typed) for name, typed in ways.items()}
    printed = capsys.readouterr().out
    assert printed.count("last layer: for the first token alone\n") == 1
    assert printed.count("; no layer computes padding\n") == 1
    assert "batches: random, without padding" in printed
    expected, losses = found["whole"]
    assert len(set(losses)) == 8
    for name in ("first", "packed"):
        metrics, own = found[name]
        assert own == pytest.approx(losses, abs=2e-4)
        assert metrics["test"]["loss"] == pytest.approx(expected["test"]["loss"], rel=1e-4)
        assert metrics["test"]["languages"].keys() == expected["test"]["languages"].keys()
    assert found["packed"][0]["measured"]["padding"] == 0
    assert found["first"][0]["measured"]["padding"] > 0.1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_run_comes_to_the_same_scores(tmp_path: Path) -> None:
    """As a user starts it; each width by itself: texts of at most 16 tokens have one."""
    short = ["data.max_length=16", "scaling.accumulation=1"]
    programs = tmp_path / "programs"
    losses = {}
    for name, typed in (("plain", []), ("compiled", ["training.compile=true"])):
        done = run_command(str(ROOT / "train.py"), *SMALL, *short, *typed, f"runs_dir={name}",
                           cwd=tmp_path, timeout=800,
                           TORCHINDUCTOR_CACHE_DIR=str(programs))  # fmt: skip
        assert done.returncode == 0, done.stderr
        (metrics,) = (tmp_path / name).glob("*/metrics.json")
        losses[name] = json.loads(metrics.read_text())["test"]["loss"]
        (record,), _ = read_records(tmp_path / name / "throughput.jsonl")
        assert record.setup.compiled is (name == "compiled")
        assert bool(list(programs.rglob("*.so"))) is (name == "compiled")
    assert losses["compiled"] == pytest.approx(losses["plain"], rel=1e-4)
