"""Segments: models that tell the two texts of a pair apart by token types, as BERT's do."""

from __future__ import annotations

import inspect
from typing import Any

SEGMENTS = "token_type_ids"
"""Input of a model that says which of the two texts a token belongs to: 0 or 1."""


def has_segments(model: Any) -> bool:
    """Tell whether a classifier has vectors for two token types, and takes them."""
    takes = SEGMENTS in inspect.signature(model.forward).parameters
    return takes and int(getattr(model.config, "type_vocab_size", 0) or 0) > 1
