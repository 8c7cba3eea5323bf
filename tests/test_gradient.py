"""The gradient of an update is the mean over its global batch, however the batch is split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import compose
from datasets import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from lingotune.jobfile import job_of
from lingotune.scaling import plan_batches, plan_steps
from lingotune.schema import Precision
from lingotune.training.arguments import training_arguments
from lingotune.training.trainer import ClassifierTrainer

ROWS = 16


def models() -> dict[str, Any]:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes = {**small, "intermediate_size": 16, "vocab_size": 50, "num_labels": 3}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    distil = DistilBertConfig(
        dim=16, n_layers=1, n_heads=2, hidden_dim=16, vocab_size=50, num_labels=3,
        dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
    )  # fmt: skip
    return {
        "distilbert": (DistilBertForSequenceClassification, distil),
        "bert": (BertForSequenceClassification, BertConfig(**sizes, **off)),
        "xlm-roberta": (XLMRobertaForSequenceClassification, XLMRobertaConfig(**sizes, **off)),
    }


def rows() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 50, (ROWS, 7), generator=generator).tolist()
    mask = [[1] * 7] * ROWS
    return Dataset.from_dict(
        {"input_ids": ids, "attention_mask": mask, "labels": [i % 3 for i in range(ROWS)]}
    )


def update(kind: str, per_device: int, tmp_path: Path, *, guarded: bool = True) -> torch.Tensor:
    """The change of all weights by one plain gradient step of rate 1 over the same 16 rows."""
    job = job_of(compose(f"per_device_bs={per_device}", "training.max_steps=1"))
    job.scaling.accumulation = ROWS // per_device
    job.training.max_grad_norm = 1e6
    batch = plan_batches(job)
    args = training_arguments(
        job, batch, plan_steps(job, batch, ROWS), Precision.fp32, tmp_path,
        has_gpu=False, show_progress=False,
    )  # fmt: skip
    torch.manual_seed(0)
    cls, config = models()[kind]
    model = cls(config)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer = ClassifierTrainer(
        tokenizer=None, model=model, args=args, train_dataset=rows(), eval_dataset=rows(),
        optimizers=(optimizer, schedule), compute_metrics=lambda p: {"macro_f1": 0.0},
    )  # fmt: skip
    if not guarded:
        trainer.model_accepts_loss_kwargs = True
    trainer.train()
    return torch.cat([p.detach().flatten() for p in model.parameters()]) - before


@pytest.mark.parametrize("kind", models())
def test_accumulated_batches_give_the_full_batchs_gradient(kind: str, tmp_path: Path) -> None:
    whole = update(kind, ROWS, tmp_path / "whole")
    for per_device in (8, 4):
        split = update(kind, per_device, tmp_path / str(per_device))
        assert (split - whole).norm() / whole.norm() < 1e-5


def test_without_the_guard_the_gradient_is_multiplied(tmp_path: Path) -> None:
    """The fault is still there to be guarded; once it is not, the guard can go."""
    whole = update("bert", ROWS, tmp_path / "whole")
    wrong = update("bert", 4, tmp_path / "wrong", guarded=False)
    assert (wrong.norm() / whole.norm()).item() == pytest.approx(4.0, rel=1e-3)
