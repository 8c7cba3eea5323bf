"""Layer-wise learning rates, and the smoothed loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import compose
from gradients import ROWS, models, rows

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import Precision
from lingotune.estimate.batch import plan_batches, plan_steps
from lingotune.modeling.layer_learning_rates import by_layers, depths_of
from lingotune.training.arguments import training_arguments
from lingotune.training.dataloader import Batches, to_tensors
from lingotune.training.trainer import ClassifierTrainer


def trainer_of(kind: str, folder: Path, *typed: str, **given: Any) -> ClassifierTrainer:
    job = job_of(compose("training.max_steps=2", "training.weight_decay=0.1", *typed))
    batch = plan_batches(job)
    args = training_arguments(
        job, batch, plan_steps(job, batch, ROWS), Precision.fp32, folder,
        capability=None, show_progress=False,
    )  # fmt: skip
    torch.manual_seed(0)
    cls, config = models()[kind]
    return ClassifierTrainer(
        tokenizer=None, model=cls(config), args=args, train_dataset=Batches(rows(), 1),
        eval_dataset=Batches(rows(), 1), data_collator=to_tensors,
        compute_metrics=lambda p: {"macro_f1": 0.0}, **given,
    )  # fmt: skip


@pytest.mark.parametrize("kind", models())
def test_each_layer_has_a_share_of_the_rate_above_it(kind: str, tmp_path: Path) -> None:
    trainer = trainer_of(kind, tmp_path, "lr=1e-3", layer_decay=0.5)
    plain = trainer_of(kind, tmp_path).create_optimizer()
    optimizer = trainer.create_optimizer()
    named = {id(value): name for name, value in trainer.model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        for value in group["params"]:
            found[named.pop(id(value))] = (group["lr"], group["weight_decay"])
    assert not named, "every parameter is in one group"
    decayed = sorted(weight for _, weight in found.values())
    groups = plain.param_groups
    assert decayed == sorted(g["weight_decay"] for g in groups for _ in g["params"])
    for name, (rate, _) in found.items():
        expected = {"embeddings": 0.25, ".layer.0.": 0.5}
        share = next((share for part, share in expected.items() if part in name), 1.0)
        assert rate == pytest.approx(1e-3 * share), name
    assert optimizer.param_groups[0]["lr"] == 1e-3, "the rate that is logged"


def test_it_is_trained_with_these_rates(tmp_path: Path) -> None:
    def moved(**given: Any) -> dict[str, float]:
        trainer = trainer_of("bert", tmp_path, "lr=1e-3", "training.weight_decay=0", **given)
        before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
        trainer.train()
        return {
            name: float((p.detach() - before[name]).abs().max())
            for name, p in trainer.model.named_parameters()
        }

    plain, decayed = moved(), moved(layer_decay=0.1)
    for name in ("bert.embeddings.word_embeddings.weight", "classifier.weight"):
        share = decayed[name] / plain[name]
        assert share == pytest.approx(0.01 if "embeddings" in name else 1, rel=0.1), name


def test_a_model_of_unknown_build_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="layers are not known"):
        by_layers(torch.optim.SGD(model.parameters(), lr=1.0), model, 0.9)
    assert depths_of(["h.x.1.w", "wte.weight", "model.h.0.w", "model.h.1.w", "score.weight"]) == {
        "h.x.1.w": 0, "wte.weight": 3, "model.h.0.w": 2, "model.h.1.w": 1, "score.weight": 0,
    }  # fmt: skip


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 1.5]])
def test_the_smoothed_loss(weights: list[float] | None, tmp_path: Path) -> None:
    trainer = trainer_of("bert", tmp_path, label_smoothing=0.3, class_weights=weights)
    inputs = to_tensors(rows().batch(range(ROWS)))
    model = trainer.model.train()
    loss, outputs = trainer.compute_loss(model, inputs, return_outputs=True)
    shares = outputs["logits"].log_softmax(-1)
    target = torch.nn.functional.one_hot(inputs["labels"], 3) * 0.7 + 0.1
    each = -(target * shares).sum(-1)
    factor = torch.tensor(weights)[inputs["labels"]] if weights else 1.0
    assert loss.item() == pytest.approx((each * factor).mean().item(), rel=1e-5)
    model.eval()
    plain = torch.nn.functional.cross_entropy(model(**inputs)["logits"], inputs["labels"])
    assert trainer.compute_loss(model, inputs).item() == pytest.approx(plain.item(), rel=1e-5)
