"""Training only the embeddings that occur: equal losses and weights to the last bit, whole models."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from lingotune.config.problems import ConfigError
from lingotune.config.schema import BatchingConfig, TrainingConfig
from lingotune.data.loader.store import Split
from lingotune.estimate.bucketing import BatchShape
from lingotune.modeling.compact_embedding import (
    CompactEmbedding,
    choose_embeddings,
    compact,
    used_ids,
)
from lingotune.training.dataloader import Batches, Updates, to_tensors
from lingotune.training.trainer import ClassifierTrainer

VOCABULARY, ROWS, PADDING = 3000, 240, 1
IDS = np.array([0, 2, 3, *range(100, 2900, 70)])
"""Those that occur; the padding does not."""


def split() -> Split:
    lengths = np.arange(ROWS) % 23 + 2
    ends = np.cumsum(lengths)
    tokens = np.random.default_rng(1).integers(0, len(IDS), ends[-1]).astype(np.uint16)
    place = np.arange(ROWS)
    return Split(
        tokens, IDS, ends - lengths, lengths, place % 3, np.zeros(ROWS, np.int16), place, ("de",),
        PADDING,
    )  # fmt: skip


def models() -> dict[str, Any]:
    sizes = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "vocab_size": VOCABULARY, "num_labels": 3, "pad_token_id": PADDING,
    }  # fmt: skip
    distil = DistilBertConfig(
        dim=32, n_layers=2, n_heads=2, hidden_dim=32, vocab_size=VOCABULARY, num_labels=3,
        pad_token_id=PADDING,
    )  # fmt: skip
    return {
        "distilbert": lambda: DistilBertForSequenceClassification(distil),
        "bert": lambda: BertForSequenceClassification(BertConfig(**sizes)),
        "xlm-roberta": lambda: XLMRobertaForSequenceClassification(XLMRobertaConfig(**sizes)),
    }


def new_model(kind: str) -> Any:
    torch.manual_seed(0)
    return models()[kind]()


def train(
    model: Any, folder: Path, clip: float, resume: str | None = None
) -> tuple[list[float], ClassifierTrainer]:
    """Thirty updates with dropout; the loss of each, and the trainer."""
    rows = split()
    args = TrainingArguments(
        output_dir=str(folder), max_steps=30, logging_steps=1, learning_rate=1e-3, report_to=[],
        use_cpu=True, max_grad_norm=clip, save_strategy="steps", save_steps=10, disable_tqdm=True,
        per_device_train_batch_size=8, remove_unused_columns=False,
    )  # fmt: skip
    trainer = ClassifierTrainer(
        tokenizer=None, model=model, args=args, train_dataset=Batches(rows, 1),
        data_collator=to_tensors, updates=Updates(rows, BatchingConfig(), BatchShape(1, 1, 8), 0, 0),
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return [one["loss"] for one in trainer.state.log_history if "loss" in one], trainer


@pytest.mark.parametrize("clip", [1e6, 0.05], ids=["free", "clipped"])
@pytest.mark.parametrize("kind", models())
def test_losses_and_weights_are_those_of_all_rows(kind: str, clip: float, tmp_path: Path) -> None:
    dense, small = new_model(kind), new_model(kind)
    embeddings = compact(small, used_ids([split()], [PADDING]))
    assert embeddings is not None and embeddings.weight.shape == (len(IDS) + 1, 32)
    losses, _ = train(dense, tmp_path / "dense", clip)
    assert len(set(losses)) > 20
    again, _ = train(small, tmp_path / "small", clip)
    assert again == losses
    assert_same(small.state_dict(), dense.state_dict())


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_checkpoints_are_whole_and_gone_on_from(tmp_path: Path) -> None:
    """What is saved is a model as any other, and the optimizer's state is small."""
    small = new_model("distilbert")
    compact(small, used_ids([split()], [PADDING]))
    losses, _ = train(small, tmp_path, 1.0)
    small.save_pretrained(tmp_path / "model")
    for folder in (tmp_path / "checkpoint-30", tmp_path / "model"):
        loaded = AutoModelForSequenceClassification.from_pretrained(folder)
        assert_same(loaded.state_dict(), small.state_dict())
        assert loaded.get_input_embeddings().num_embeddings == VOCABULARY
    untouched = np.setdiff1d(np.arange(VOCABULARY), IDS)
    before = new_model("distilbert").get_input_embeddings().weight
    assert torch.equal(loaded.get_input_embeddings().weight[untouched], before[untouched])
    changed = (loaded.get_input_embeddings().weight != before).any(1).nonzero().flatten()
    assert changed.tolist() == IDS.tolist()
    moments = torch.load(tmp_path / "checkpoint-30" / "optimizer.pt", weights_only=False)["state"]
    assert max(state["exp_avg"].numel() for state in moments.values()) < VOCABULARY * 32

    torch.manual_seed(99)
    other = models()["distilbert"]()
    compact(other, used_ids([split()], [PADDING]))
    rest, _ = train(other, tmp_path, 1.0, resume=str(tmp_path / "checkpoint-20"))
    assert rest == losses
    assert_same(other.state_dict(), small.state_dict())


def test_an_id_that_was_not_counted_is_refused() -> None:
    small = new_model("bert")
    compact(small, used_ids([split()], [PADDING]))
    with pytest.raises(IndexError):
        small(torch.tensor([[0, 101, 2]]))
    assert copy.deepcopy(small)(torch.tensor([[0, 100, 2]])).logits.shape == (1, 3)


def choose(model: Any, **settings: Any) -> tuple[str, Any]:
    line = choose_embeddings(model, [split()], TrainingConfig(**settings))
    return line, model.get_input_embeddings()


def test_it_is_done_where_it_is_exact_and_pays() -> None:
    line, embeddings = choose(new_model("distilbert"))
    assert isinstance(embeddings, CompactEmbedding)
    assert line.startswith(
        f"word embeddings: {len(IDS) + 1} of {VOCABULARY} rows, those that occur"
    )
    line, embeddings = choose(new_model("distilbert"), weight_decay=0.01)
    assert type(embeddings) is torch.nn.Embedding and "all 3000 rows" in line
    line, embeddings = choose(new_model("distilbert"), compact_vocabulary=False)
    assert type(embeddings) is torch.nn.Embedding and "all 3000 rows" in line
    line, embeddings = choose(new_model("distilbert"), freeze_embeddings=True)
    assert type(embeddings) is torch.nn.Embedding and "frozen" in line
    assert not embeddings.weight.requires_grad
    dim = {"dim": 8, "n_heads": 2, "hidden_dim": 8, "n_layers": 1, "num_labels": 3}
    line, embeddings = choose(
        DistilBertForSequenceClassification(DistilBertConfig(vocab_size=2900, **dim))
    )
    assert isinstance(embeddings, CompactEmbedding)
    tight = Split(**{**vars(split()), "ids": np.arange(len(IDS))})
    model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=len(IDS) + 2, **dim))
    line = choose_embeddings(model, [tight], TrainingConfig())
    assert type(model.get_input_embeddings()) is torch.nn.Embedding and "(43 occur)" in line
    choose_embeddings(model, [tight], TrainingConfig(compact_vocabulary=True))
    assert isinstance(model.get_input_embeddings(), CompactEmbedding)


def test_embeddings_of_another_kind_are_left_alone_and_told_where_it_was_asked_for() -> None:
    model = new_model("distilbert")
    model.get_input_embeddings().max_norm = 1.0
    line, embeddings = choose(model)
    assert type(embeddings) is torch.nn.Embedding and "all 3000 rows" in line
    with pytest.raises(ConfigError, match="not of a kind"):
        choose(model, compact_vocabulary=True)
