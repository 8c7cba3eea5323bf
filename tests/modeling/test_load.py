"""Tokenizers and models: the same in every process, and trainable whatever the checkpoint's dtype."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
import torch
from conftest import run
from transformers import BertConfig, BertForSequenceClassification

from lingotune.config.problems import ConfigError
from lingotune.config.schema import ArchitectureConfig, ModelConfig, SampleConfig
from lingotune.data.prepared import tokenizer
from lingotune.data.prepared.tokenizer import train_vocabulary, wordpiece_tokenizer
from lingotune.data.sources.sample import sample_rows
from lingotune.modeling.load import load_model

LABELS = ["negative", "neutral", "positive"]
TEXTS = [row["review_body"] for row in sample_rows(SampleConfig(train_rows=60), "train")]
VOCABULARY = """
import hashlib, sys
sys.path[:0] = ["tests", "tests/modeling"]
from test_load import TEXTS
from lingotune.data.prepared import tokenizer
from lingotune.data.prepared.tokenizer import train_vocabulary
print(hashlib.sha256(repr(sorted(train_vocabulary(TEXTS, 1500).items())).encode()).hexdigest())
"""


@pytest.mark.slow
def test_every_process_trains_the_same_vocabulary() -> None:
    """Ranks build it for themselves; the library's trainer alone would give each its own."""
    found = set()
    for seed in ("1", "2", "3"):
        done = run("-c", VOCABULARY, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_the_vocabulary_is_dense_bounded_and_covers_its_texts() -> None:
    vocabulary = train_vocabulary(TEXTS, 1500)
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert len(vocabulary) <= 1500
    tokenizer = wordpiece_tokenizer(train_vocabulary(TEXTS, 3_000), 64)
    ids = tokenizer(TEXTS)["input_ids"]
    unknown = sum(row.count(tokenizer.unk_token_id) for row in ids)
    assert unknown / sum(map(len, ids)) < 0.01
    assert tokenizer("Das ist gut.")["input_ids"][0] == tokenizer.cls_token_id


def test_a_word_of_a_million_characters_takes_linear_time() -> None:
    letters = random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000)
    started = time.process_time()
    found = train_vocabulary([*TEXTS, "".join(letters)], 3000)
    assert time.process_time() - started < 15  # the square of its length took a quarter of an hour
    assert len(found) > 1000 and set("aez") <= found.keys()


def test_words_of_ordinary_length_make_the_vocabulary_that_they_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [*TEXTS, "x" * 900 + "abc" * 30]
    bounded = train_vocabulary(texts, 1500)
    monkeypatch.setattr(tokenizer, "LONGEST_WORD", 10**9)
    assert train_vocabulary(texts, 1500) == bounded


def test_a_scratch_model_has_the_declared_shape_and_label_names() -> None:
    tokenizer = wordpiece_tokenizer(train_vocabulary(TEXTS, 3_000), 64)
    scratch = ArchitectureConfig(dim=16, heads=2, layers=1, hidden_dim=32)
    model, _ = load_model(ModelConfig("tiny", None, scratch=scratch), LABELS, tokenizer, 700)
    assert (model.config.dim, model.config.n_layers) == (16, 1)
    assert model.config.max_position_embeddings == 700
    assert model.config.id2label == {0: "negative", 1: "neutral", 2: "positive"}


@pytest.fixture
def half(tmp_path: Path) -> ModelConfig:
    """A checkpoint in half precision with 32 positions."""
    config = BertConfig(
        vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=32,
    )  # fmt: skip
    BertForSequenceClassification(config).half().save_pretrained(str(tmp_path / "half"))
    return ModelConfig("half", str(tmp_path / "half"))


def test_half_precision_checkpoints_train_in_full(half: ModelConfig) -> None:
    model, _ = load_model(half, LABELS, None, 16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.num_labels == 3


def test_more_tokens_than_positions_are_refused(half: ModelConfig) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(half, LABELS, None, 64)
    (problem,) = caught.value.problems
    assert problem.where == "data.max_length=64"
    assert problem.what.endswith("has positions for 32 tokens")
    assert problem.fix == "data.max_length=32"


def test_a_tokenizer_that_transformers_5_has_saved_is_read_by_any_version(tmp_path: Path) -> None:
    """The images of SageMaker have transformers 4; on it, AutoTokenizer knows no TokenizersBackend."""
    made = wordpiece_tokenizer(train_vocabulary(TEXTS, 1500), 64)
    made.save_pretrained(str(tmp_path))
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"tokenizer_class": "TokenizersBackend"}
    path.write_text(json.dumps(config))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    loaded = tokenizer.load_tokenizer(ModelConfig("mine", str(tmp_path)))
    assert loaded(TEXTS[:20])["input_ids"] == made(TEXTS[:20])["input_ids"]
    assert loaded.pad_token_id == made.pad_token_id and loaded.model_max_length == 64
