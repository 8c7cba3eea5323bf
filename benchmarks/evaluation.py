"""How fast a split is scored: sorted by length against the order that it comes in. No GPU; bf16 where the
CPU computes in it.

python benchmarks/evaluation.py [--rounds 3] [--steps 8]

The article's model with random weights and texts as long as the article's; batches at even quantiles of
cost stand for a pass, their times corrected by padded tokens as in training.py. Interleaved, medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from corpus import at_quantiles, corpus, half_precision, real_dimensions
from transformers import DistilBertForSequenceClassification

from lingotune.data.loader.store import Split
from lingotune.modeling.lean_encoder import read_first_token
from lingotune.training.dataloader import to_tensors

WAYS = {
    "as they come, 16": (16, False, False),
    "as they come, 64": (64, False, False),
    "sorted, 16": (16, True, False),
    "sorted, 32": (32, True, False),
    "ours: sorted, 32, first token alone": (32, True, True),
    "ours: sorted, 64, first token alone": (64, True, True),
}
ROWS = 30_000


def chosen(split: Split, size: int, count: int) -> tuple[list[Any], float]:
    """Batches at even quantiles of cost, as many texts each way, and what their time is multiplied by."""
    whole = len(split) // size
    batches = np.arange(whole * size).reshape(whole, size)
    tokens = split.lengths[batches].max(axis=1)
    at = at_quantiles(tokens, max(1, count * 64 // size))
    return [batches[n] for n in at], float(tokens.mean() / tokens[at].mean())


def main() -> None:
    """Print texts a second."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    as_it_comes = corpus(ROWS)
    torch.manual_seed(0)
    models = {}
    for lean in (False, True):
        models[lean] = DistilBertForSequenceClassification(real_dimensions()).eval()
    assert read_first_token(models[True])
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(options.rounds + 1):
        for name, (size, ordered, lean) in WAYS.items():
            split = as_it_comes.longest_first() if ordered else as_it_comes
            batches, factor = chosen(split, size, options.steps)
            begun = time.perf_counter()
            with torch.inference_mode(), half_precision():
                for rows in batches:
                    models[lean](**to_tensors(split.batch(rows)))
            spent = (time.perf_counter() - begun) * factor
            rates[name].append(sum(map(len, batches)) / spent)
    first = statistics.median(next(iter(rates.values()))[1:])
    for name, values in rates.items():
        median = statistics.median(values[1:])
        print(f"{name:40} {median:7.1f} texts/s  {median / first:5.2f}x")


if __name__ == "__main__":
    main()
