"""A model of the hub with Python code of its own, trained and asked for where its commit was typed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from safetensors.torch import save_file
from waiting import PATIENCE

from lingotune.data.prepared.tokenizer import wordpiece_tokenizer

COMMIT = "11f6ad8ec52a2984abaafd7c3b516503785c2072"
CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class OwnConfig(PretrainedConfig):
    model_type = "own-mean"


class OwnForSequenceClassification(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.embedding = torch.nn.Embedding(config.vocab_size, 8)
        self.classifier = torch.nn.Linear(8, config.num_labels)
        self.post_init()

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids=None, attention_mask=None, labels=None, **others):
        weights = attention_mask.unsqueeze(-1).float()
        logits = self.classifier((self.embedding(input_ids) * weights).sum(1) / weights.sum(1))
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
"""
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """This machine's copy of the hub, with the model in it."""
    import torch

    repository = tmp_path / "hf" / "hub" / "models--me--own"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    files = repository / "snapshots" / COMMIT
    vocabulary = {piece: index for index, piece in enumerate(PIECES)}
    wordpiece_tokenizer(vocabulary, 64).save_pretrained(str(files))
    (files / "own.py").write_text(CODE)
    named = {
        "AutoConfig": "own.OwnConfig",
        "AutoModelForSequenceClassification": "own.OwnForSequenceClassification",
    }
    config = {"model_type": "own-mean", "vocab_size": len(PIECES), "pad_token_id": 0}
    (files / "config.json").write_text(json.dumps({**config, "auto_map": named}))
    embedding = {"embedding.weight": torch.randn(len(PIECES), 8)}
    save_file(embedding, files / "model.safetensors", {"format": "pt"})
    return tmp_path / "hf"


@pytest.mark.slow
def test_a_model_with_code_is_trained_goes_on_and_answers(home: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("LINGOTUNE_REMOTE_CODE", None)

    def run(*words: str, **more: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env={**environment, **more},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    train = [str(ROOT / "train.py"), "model=pretrained", "model.name_or_path=me/own", "lr=1e-4"]
    train += ["epochs=1", "data.max_length=32", "data.max_rows=60", "baseline=none"]
    typed = f"model.remote_code={COMMIT}"
    code, _, said = run(*train)
    assert code == 2 and "[model-needs-code]" in said and "as model.remote_code" in said

    code, said, wrong = run(*train, typed, "--run-dir", "mine")
    assert code == 0, wrong
    again = [line for line in said.splitlines() if "what helps: lingotune train --job" in line]
    assert all(typed in shlex.split(line) for line in again)

    predict = ["-m", "lingotune", "predict", "mine", "very good"]
    code, _, wrong = run(*predict)
    before = f"LINGOTUNE_REMOTE_CODE={COMMIT}"
    assert code == 2 and f"{before} before it" in " ".join(wrong.split())
    code, said, wrong = run(*predict, LINGOTUNE_REMOTE_CODE=COMMIT)
    assert code == 0 and "very good" in said, wrong
