"""A small classifier in a folder, made in a second, and its job."""

from __future__ import annotations

from pathlib import Path

from conftest import compose

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.schema import JobConfig

LABELS = ("bad", "fair", "good")
WORDS = ("gut", "schlecht", "good", "é", "a", "b", "x", ",", "!")


def job_of_model() -> JobConfig:
    """The job that such a model was trained by."""
    columns = ["data.columns.text=body", "data.columns.title=head", "data.max_length=16"]
    return job_of(compose("data=files", "data.path=a.csv", "name=small", *columns))


def make_model(folder: Path, job: JobConfig | None = None) -> Path:
    """Save a classifier of two layers with random weights, its tokenizer and its job."""
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    from lingotune.data.prepared.tokenizer import SPECIAL_TOKENS, wordpiece_tokenizer

    pieces = [*SPECIAL_TOKENS.values(), *WORDS, *(f"##{word}" for word in WORDS)]
    tokenizer = wordpiece_tokenizer({piece: n for n, piece in enumerate(pieces)}, 16)
    torch.manual_seed(3)
    config = DistilBertConfig(
        vocab_size=len(pieces), dim=16, hidden_dim=32, n_layers=2, n_heads=2,
        max_position_embeddings=32, pad_token_id=0, id2label=dict(enumerate(LABELS)),
        label2id={name: n for n, name in enumerate(LABELS)}, initializer_range=0.5,
    )  # fmt: skip
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "job.yaml").write_bytes(dump_job(job or job_of_model()))
    return folder
