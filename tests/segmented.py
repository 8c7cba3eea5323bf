"""A tokenizer of BERT's kind, with token types that tell the two texts of a pair apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lingotune.data.prepared.tokenizer import train_vocabulary, wordpiece_tokenizer


def segmented(texts: Sequence[str], size: int = 900) -> Any:
    """Make one with a vocabulary of these texts."""
    from tokenizers import processors

    made = wordpiece_tokenizer(train_vocabulary(texts, size), 64)
    tokens = [(name, made.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=tokens,
    )
    made.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return made
