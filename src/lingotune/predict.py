"""Labels and probabilities for texts, from a saved model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import pipeline
from transformers.utils import logging


def predict_lines(folder: Path, texts: Sequence[str]) -> Iterator[str]:
    """One line a text: the label, then every class with its probability, then the text."""
    logging.disable_progress_bar()
    classify = pipeline("text-classification", model=str(folder), top_k=None, device=-1)
    for text, ranked in zip(texts, classify(list(texts), truncation=True, batch_size=32)):
        best = ranked[0]
        others = "  ".join(f"{row['label']} {row['score']:.3f}" for row in ranked)
        yield f"{best['label']:10} ({others})  {text}"
