"""Small models of the real architectures, with random weights and a tokenizer of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from lingotune.config.schema import SampleConfig
from lingotune.data.prepared.tokenizer import train_vocabulary, wordpiece_tokenizer
from lingotune.data.sources.sample import sample_rows

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 130, "num_labels": 3, "pad_token_id": 0, "bos_token_id": 2,
    "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3,
}  # fmt: skip
AS_MDEBERTA = {"relative_attention": True, "position_buckets": 64, "norm_rel_ebd": "layer_norm",
               "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0,
               "position_biased_input": False, "pooler_hidden_size": 32}  # fmt: skip
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 2},
    "bert": SIZES,
    "xlm-roberta": SIZES,
    "deberta-v2": {**SIZES, **AS_MDEBERTA},
    # a window of attention that is shorter than some texts, as in the real ones
    "modernbert": {**SIZES, "local_attention": 16, "global_attn_every_n_layers": 2},
    "eurobert": {**SIZES, "num_attention_heads": 4, "num_key_value_heads": 2},
    "gte": SIZES,
}
"""Architecture -> its config; these are all of the models that are shipped."""
VOCABULARY = 500


def small(architecture: str, vocabulary: int = VOCABULARY, **changes: Any) -> Any:
    """A classifier of three classes, the same each time."""
    sizes = {**ARCHITECTURES[architecture], "vocab_size": vocabulary, "num_labels": 3, **changes}
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **sizes)
    return AutoModelForSequenceClassification.from_config(config)


def without_dropout(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def batch(texts: int = 6, width: int = 40) -> dict[str, torch.Tensor]:
    """Texts of different lengths, the shortest of one token."""
    draws = torch.Generator().manual_seed(1)
    lengths = torch.linspace(1, width, texts).long()
    mask = (torch.arange(width) < lengths[:, None]).long()
    ids = torch.randint(5, VOCABULARY, (texts, width), generator=draws) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(texts) % 3}


def write_model(architecture: str, folder: Path, rows: int = 30) -> Path:
    """Save an encoder, not yet a classifier, as a user would have it from the hub."""
    texts = [row["review_body"] for row in sample_rows(SampleConfig(train_rows=rows), "train")]
    tokenizer = wordpiece_tokenizer(train_vocabulary(texts, 900), 64)
    small(architecture, len(tokenizer)).base_model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
