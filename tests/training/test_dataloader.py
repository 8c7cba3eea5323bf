"""Batches of prepared tokens from torch's loader, and the loss on them."""

from __future__ import annotations

import tracemalloc
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import DistilBertConfig, DistilBertForSequenceClassification, TrainerState

from lingotune.config.schema import BatchingConfig
from lingotune.data.loader.sampling import Sampling, plan_sampling
from lingotune.data.loader.store import Split
from lingotune.estimate.bucketing import BatchShape
from lingotune.modeling.lean_encoder import OFFSETS, REAL
from lingotune.training import dataloader
from lingotune.training.dataloader import (
    SHARE,
    Batches,
    Epochs,
    Loader,
    Updates,
    draws_line,
    to_tensors,
)
from lingotune.training.trainer import ClassifierTrainer

LENGTHS = np.arange(60) % 7 + 2


def split() -> Split:
    """Row n holds the number n + 1, as often as it is long; two thirds are German, few negative."""
    ends = np.cumsum(LENGTHS)
    row = np.arange(60)
    return Split(
        np.repeat(row, LENGTHS).astype(np.uint16), row + 1, ends - LENGTHS, LENGTHS,
        (row % 10 > 1).astype(np.int64), (row % 3 == 0).astype(np.int16), row, ("de", "ja"), 0,
    )  # fmt: skip


def sampling() -> Sampling:
    rows = split()
    plan = plan_sampling(rows.label, rows.language, language_alpha=0.0, resample=True, seed=3)
    assert plan is not None
    return plan


@pytest.mark.parametrize("multiple", [1, 8, 1000])
def test_a_loader_gets_padded_batches(multiple: int) -> None:
    loader: Any = DataLoader(Batches(split(), multiple), batch_size=7, collate_fn=to_tensors)
    seen = []
    for batch in loader:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        assert ids.dtype == mask.dtype == batch["labels"].dtype == torch.int64
        rows = ids[:, 0] - 1
        assert mask.sum(1).tolist() == LENGTHS[rows].tolist()
        rounded = -(-int(mask.sum(1).max()) // multiple) * multiple
        assert ids.shape[1] == min(rounded, LENGTHS.max())  # there may be no positions for more
        assert torch.equal(ids, (rows + 1)[:, None] * mask)
        assert batch["labels"].tolist() == split().label[rows].tolist()
        seen += rows.tolist()
    assert seen == list(range(60))
    assert Batches(split(), 1)[5]["input_ids"].tolist() == [[6] * 7]


def updates(process: int = 0, world: int = 1, *, drawn: bool = False) -> Updates:
    shape = BatchShape(world, accumulation=2, size=2)
    return Updates(split(), BatchingConfig(), shape, 5, process, sampling() if drawn else None)


def test_each_epoch_draws_its_own_rows_whenever_it_is_entered() -> None:
    train = updates(drawn=True)
    assert draws_line(split(), train.drawn, ["bad", "good"]) == (
        "an epoch draws: de 30 (has 40), ja 30 (has 20), bad 30 (has 12), good 30 (has 48)"
    )
    drawn, taken = [], []
    for step in (0, 10, 20):
        Epochs(train, 10).on_epoch_begin(None, TrainerState(global_step=step), None)
        drawn.append(train.drawn.tolist())
        taken.append([part.rows.tolist() for part in train])
        assert sorted(chain.from_iterable(taken[-1])) == sorted(drawn[-1])
    Epochs(train, 10).on_epoch_begin(None, TrainerState(global_step=14), None)
    assert train.drawn.tolist() == drawn[1], "going on in the middle of an epoch"
    assert [part.rows.tolist() for part in train] == taken[1]
    assert len({str(rows) for rows in drawn}) == len({str(rows) for rows in taken}) == 3


@pytest.mark.parametrize("world", [1, 2, 7])
def test_all_processes_together_take_every_text_once_and_their_shares_make_the_mean(
    world: int,
) -> None:
    """Also in the last update, which has fewer texts than there are parts: 60 = 2 x 28 + 4 of 14."""
    taken = [list(updates(process, world)) for process in range(world)]
    assert {len(parts) for parts in taken} == {2 * -(-60 // (4 * world))}
    rows = [part.rows for parts in taken for part in parts if part.share]
    assert sorted(np.concatenate(rows).tolist()) == list(range(60))
    for update in range(len(taken[0]) // 2):
        parts = [part for of in taken for part in of[2 * update : 2 * update + 2]]
        texts = sum(len(part.rows) for part in parts if part.share)
        for part in parts:
            counted = len(part.rows) if part.share else 0
            assert part.share / len(parts) == pytest.approx(counted / texts)


@pytest.mark.parametrize("ahead", [1, 20, 1 << 17])
@pytest.mark.parametrize("packed", [False, True])
def test_a_loader_takes_parts_from_the_sampler(
    ahead: int, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches are made together."""
    monkeypatch.setattr(dataloader, "PREFETCHED_TOKENS", ahead)
    sampler = updates()
    data = Batches(split(), 4, packed=packed)
    loader = Loader(data, sampler, to_tensors)
    for part, batch in zip(sampler, loader, strict=True):
        assert (batch["input_ids"][:, 0] - 1).tolist() == part.rows.tolist()
        assert batch[SHARE] == pytest.approx(part.share)
        alone = to_tensors(data.__getitems__(part.rows))
        assert alone.keys() == batch.keys() - {SHARE}
        assert all(torch.equal(batch[name], alone[name]) for name in alone)
        if packed:
            assert torch.equal(
                batch["input_ids"].flatten()[batch[REAL]] - 1,
                torch.from_numpy(np.repeat(part.rows, LENGTHS[part.rows])),
            )
            assert batch[OFFSETS].diff().tolist() == LENGTHS[part.rows].tolist()


@pytest.mark.parametrize("planned", [1, 7, 1 << 16])
def test_parts_are_the_same_however_many_are_found_at_once(
    planned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [(part.rows.tolist(), part.share) for part in updates()]
    monkeypatch.setattr(dataloader, "PLANNED_TEXTS", planned)
    assert [(part.rows.tolist(), part.share) for part in updates()] == whole


def test_the_first_parts_of_an_epoch_take_no_memory_for_its_other_rows() -> None:
    """8 bytes for each of its rows would be 4 MB."""
    rows = 500_000
    lengths, zeros = np.ones(rows, np.int64), np.zeros(rows, np.int64)
    texts = Split(
        zeros.astype(np.uint16), np.zeros(1, np.int64), zeros, lengths, zeros, zeros.astype(np.int16),
        zeros, ("de",), 0,
    )  # fmt: skip
    sampler = Updates(texts, BatchingConfig(), BatchShape(1, 1, 16), 1, 0)
    tracemalloc.start()
    assert len(next(iter(sampler)).rows) == 16
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5e6, "65 536 texts are planned at a time"


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
