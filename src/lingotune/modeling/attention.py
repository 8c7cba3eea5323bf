"""Attention by PyTorch, whatever else is installed."""

from __future__ import annotations

_CHOOSES = ("modernbert",)
"""Architectures that take flash-attn by themselves where it is installed, as in the images: it computes in
half precision alone, and on no GPU before Ampere."""


def attention_of(architecture: object) -> dict[str, str]:
    """Return what `from_pretrained` is called with for PyTorch's own attention."""
    return {"attn_implementation": "sdpa"} if architecture in _CHOOSES else {}
