"""Batches of prepared tokens through torch's loader, and the loss that they are trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import DistilBertConfig, DistilBertForSequenceClassification, TrainerState

from lingotune.data.sampling import Sampling, plan_sampling
from lingotune.data.store import Split
from lingotune.training.batches import Batches, EpochDraws, draws_line, to_tensors
from lingotune.training.trainer import ClassifierTrainer

LENGTHS = np.arange(60) % 7 + 2


def split() -> Split:
    """Row n holds the number n + 1, as often as it is long; two thirds are German, few negative."""
    ends = np.cumsum(LENGTHS)
    row = np.arange(60)
    return Split(
        np.repeat(row + 1, LENGTHS).astype(np.uint16), ends - LENGTHS, LENGTHS,
        (row % 10 > 1).astype(np.int64), (row % 3 == 0).astype(np.int16), row, ("de", "ja"), 0,
    )  # fmt: skip


def sampling() -> Sampling:
    rows = split()
    plan = plan_sampling(rows.label, rows.language, language_alpha=0.0, resample=True, seed=3)
    assert plan is not None
    return plan


@pytest.mark.parametrize("multiple", [1, 8])
def test_a_loader_gets_padded_batches(multiple: int) -> None:
    loader: Any = DataLoader(Batches(split(), multiple), batch_size=7, collate_fn=to_tensors)
    seen = []
    for batch in loader:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        assert ids.dtype == mask.dtype == batch["labels"].dtype == torch.int64
        rows = ids[:, 0] - 1
        assert mask.sum(1).tolist() == LENGTHS[rows].tolist()
        assert ids.shape[1] == -(-int(mask.sum(1).max()) // multiple) * multiple
        assert torch.equal(ids, (rows + 1)[:, None] * mask)
        assert batch["labels"].tolist() == split().label[rows].tolist()
        seen += rows.tolist()
    assert seen == list(range(60))
    assert Batches(split(), 1)[5]["input_ids"].tolist() == [[6] * 7]


def test_each_epoch_draws_its_own_rows_whenever_it_is_entered() -> None:
    train = Batches(split(), 1, sampling())
    assert draws_line(train, ["bad", "good"]) == (
        "an epoch draws: de 30 (has 40), ja 30 (has 20), bad 30 (has 12), good 30 (has 48)"
    )
    drawn = []
    for step in (0, 10, 20):
        EpochDraws(train, 10).on_epoch_begin(None, TrainerState(global_step=step), None)
        drawn.append(train.drawn.tolist())
    EpochDraws(train, 10).on_epoch_begin(None, TrainerState(global_step=14), None)
    assert train.drawn.tolist() == drawn[1], "going on in the middle of an epoch"
    assert len({str(rows) for rows in drawn}) == 3
    assert (train[0]["input_ids"] == drawn[1][0] + 1).all()


def trainer(folder: Path, weights: list[float] | None) -> ClassifierTrainer:
    from transformers import TrainingArguments

    torch.manual_seed(0)
    config = DistilBertConfig(
        dim=8, n_layers=1, n_heads=2, hidden_dim=8, vocab_size=70, num_labels=2, dropout=0.0,
        attention_dropout=0.0, seq_classif_dropout=0.0,
    )  # fmt: skip
    return ClassifierTrainer(
        tokenizer=None, class_weights=weights, model=DistilBertForSequenceClassification(config),
        args=TrainingArguments(output_dir=str(folder), report_to=[], use_cpu=True),
    )  # fmt: skip


def test_the_weighted_loss_is_the_sum_over_examples_however_the_batch_is_cut(
    tmp_path: Path,
) -> None:
    rows, weights = split(), [2.5, 0.625]
    weighted, plain = trainer(tmp_path, weights), trainer(tmp_path, None)

    def loss(of: ClassifierTrainer, at: Any, *, training: bool = True) -> float:
        of.model.train(training)
        return float(of.compute_loss(of.model, to_tensors(rows.batch(at))))

    def one_by_one(of: ClassifierTrainer) -> list[float]:
        return [loss(of, [n]) for n in range(60)]

    single = one_by_one(plain)
    assert one_by_one(weighted) == pytest.approx(
        [weights[label] * value for label, value in zip(rows.label, single)], rel=1e-5
    )
    for at in (range(60), range(0, 60, 10), range(17)):
        expected = np.mean([weights[rows.label[n]] * single[n] for n in at])
        assert loss(weighted, list(at)) == pytest.approx(expected, rel=1e-5)
    assert loss(weighted, range(60), training=False) == pytest.approx(np.mean(single), rel=1e-5)
