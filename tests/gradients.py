"""The gradient of one update, however its texts are split into processes and parts, and whatever the
encoder leaves out.

python tests/gradients.py   prints {"worst": relative difference to the whole batch's gradient} as JSON

Each process's gradients are computed one after the other and averaged, as DistributedDataParallel does:
so that it runs with every supported transformers, without a test library.
"""

from __future__ import annotations

import json
import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from lingotune.config.schema import BatchingConfig, BatchMode, JobConfig, Precision
from lingotune.data.loader.store import Split
from lingotune.estimate.batch import BatchPlan, StepPlan
from lingotune.estimate.bucketing import BatchShape
from lingotune.modeling.lean_encoder import JAGGED, Packing, read_first_token
from lingotune.training.arguments import training_arguments
from lingotune.training.dataloader import Batches, Updates, to_tensors
from lingotune.training.trainer import ClassifierTrainer

ROWS = 16
SPLITS_OF_A_BATCH = [
    ("random", 2, 2),
    ("random", 3, 1),
    ("iid_balanced", 1, 4),
    ("iid_balanced", 2, 16),
    ("window", 4, 1),
    ("window", 2, 2),
]
"""Mode, processes, parts of each; where these are more than there are texts, some have none."""

ENCODERS = ("whole", "first_token", *(["padding_free"] if torch.__version__ >= JAGGED else []))


def models(layers: int = 1) -> dict[str, Any]:
    """Small ones of each kind, without dropout."""
    small = {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2}
    sizes = {**small, "intermediate_size": 16, "vocab_size": 50, "num_labels": 3}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    distil = DistilBertConfig(
        dim=16, n_layers=layers, n_heads=2, hidden_dim=16, vocab_size=50, num_labels=3,
        dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
    )  # fmt: skip
    return {
        "distilbert": (DistilBertForSequenceClassification, distil),
        "bert": (BertForSequenceClassification, BertConfig(**sizes, **off)),
        "xlm-roberta": (XLMRobertaForSequenceClassification, XLMRobertaConfig(**sizes, **off)),
    }


def rows() -> Split:
    """Sixteen texts of 2 to 32 tokens."""
    lengths = np.arange(2, 2 + 2 * ROWS, 2)
    ends = np.cumsum(lengths)
    tokens = np.random.default_rng(0).integers(0, 45, ends[-1]).astype(np.uint16)
    place = np.arange(ROWS)
    return Split(
        tokens, np.arange(5, 50), ends - lengths, lengths, place % 3, np.zeros(ROWS, np.int16), place,
        ("de",), 1,
    )  # fmt: skip


def update(
    kind: str,
    folder: Path,
    mode: str = "random",
    world: int = 1,
    accumulation: int = 1,
    encoder: str = "whole",
    *,
    guarded: bool = True,
) -> torch.Tensor:
    """The change of all weights by one plain gradient step of rate 1 over the same 16 texts.

    encoder: whole, first_token (the last layer for it alone) or padding_free.
    """
    size = -(-ROWS // (world * accumulation))
    changes = [
        _change(
            kind,
            folder,
            mode,
            BatchShape(world, accumulation, size, 1, encoder == "padding_free"),
            process,
            encoder,
            guarded=guarded,
        )
        for process in range(world)
    ]
    return torch.stack(changes).mean(0)


def _change(
    kind: str,
    folder: Path,
    mode: str,
    shape: BatchShape,
    process: int,
    encoder: str,
    *,
    guarded: bool,
) -> torch.Tensor:
    job = JobConfig(per_device_bs=32, epochs=3, lr=1e-3)
    job.name, job.training.max_grad_norm = "gradients", 1e6
    batch = BatchPlan(shape.world, shape.size, shape.accumulation, shape.batch, 1.0, ())
    args = training_arguments(
        job, batch, StepPlan(ROWS, 1, 1, 0, ()), Precision.fp32, folder,
        capability=None, show_progress=False,
    )  # fmt: skip
    torch.manual_seed(0)
    cls, config = models(layers=2)[kind]
    model = cls(config)
    packing = Packing() if shape.packed else None
    if encoder != "whole":
        assert read_first_token(model, packing), f"{kind} is not known to {__name__}"
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    split = rows()
    updates = Updates(split, BatchingConfig(BatchMode[mode]), shape, 0, process)
    trainer = ClassifierTrainer(
        tokenizer=None, model=model, args=args, packing=packing, updates=updates,
        train_dataset=Batches(split, 1, packed=shape.packed), eval_dataset=Batches(split, 1),
        data_collator=to_tensors, optimizers=(optimizer, schedule),
        compute_metrics=lambda p: {"macro_f1": 0.0},
    )  # fmt: skip
    if not guarded:
        trainer.model_accepts_loss_kwargs = True
    trainer.train()
    return torch.cat([p.detach().flatten() for p in model.parameters()]) - before


def worst(kinds: list[str], folder: Path) -> dict[str, float]:
    """Of each kind, the largest relative difference over ways to deal the batch out and to compute it."""
    found = {}
    for kind in kinds:
        whole = update(kind, folder / kind)
        ways = [(*split, encoder) for split, encoder in zip(SPLITS_OF_A_BATCH, cycle(ENCODERS))]
        found[kind] = max(
            float((update(kind, folder / f"{kind}-{way}", *way) - whole).norm() / whole.norm())
            for way in ways
        )
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(worst(list(models()), Path(temporary))))
