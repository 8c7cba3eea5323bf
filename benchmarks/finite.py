"""What it costs to look at every update before it is made: the guard's share of a step, on this machine.

python benchmarks/finite.py [--rounds 5] [--steps 200]

A step is forward, backward, clipping and AdamW of a model as small as the smallest that is shipped, on
texts of 32 tokens: a short step, of which the guard's share is large. Steps with and without it are
interleaved.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from types import SimpleNamespace
from typing import Any

import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from lingotune.training.distributed import Rank
from lingotune.training.finite import FiniteGuard


def parts(*, guarded: bool) -> tuple[Any, Any, Any, FiniteGuard | None]:
    """Make a model, its optimizer, what clips, and the guard."""
    torch.manual_seed(0)
    config = DistilBertConfig(dim=128, n_layers=2, n_heads=4, hidden_dim=256, vocab_size=8000)
    model = DistilBertForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    trainer = SimpleNamespace(
        args=SimpleNamespace(fp16=False),
        accelerator=SimpleNamespace(clip_grad_norm_=torch.nn.utils.clip_grad_norm_),
    )
    guard = FiniteGuard(Rank(0, 0, 1), 1e-4, 20, lambda ns: []) if guarded else None
    if guard:
        guard.watch(trainer, optimizer)
    return model, optimizer, trainer.accelerator.clip_grad_norm_, guard


def seconds(made: tuple[Any, Any, Any, FiniteGuard | None], steps: int) -> float:
    """Measure the mean seconds of a step."""
    model, optimizer, clip, guard = made
    ids = torch.randint(0, 8000, (32, 32), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(32) % 2
    begun = time.perf_counter()
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        (guard.poisoned(loss, None) if guard else loss).backward()
        clip(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - begun) / steps


def own_seconds(count: int = 20000) -> float:
    """Measure what the guard does in a step, by itself."""
    guard = FiniteGuard(Rank(0, 0, 1), 1e-4, 20, lambda ns: [])
    loss, norm = torch.tensor(0.5, requires_grad=True), torch.tensor(1.0)
    plain = time.perf_counter()
    for _ in range(count):
        loss.backward()
    begun = time.perf_counter()
    for _ in range(count):
        guard.poisoned(loss, None).backward()
        guard._check(norm)
    ended = time.perf_counter()
    return ((ended - begun) - (begun - plain)) / count


def main() -> None:
    """Print the share, by both measurements."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    both = {guarded: parts(guarded=guarded) for guarded in (False, True)}
    for made in both.values():
        seconds(made, 20)
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(options.rounds):
        for guarded, made in both.items():
            found[guarded].append(seconds(made, options.steps))
    without, with_guard = (statistics.median(found[guarded]) for guarded in (False, True))
    alone = own_seconds()
    assert math.isfinite(alone)
    print(f"a step {without * 1e3:.2f} ms, guarded {with_guard * 1e3:.2f} ms")
    print(f"the guard by itself {alone * 1e6:.1f} us, {alone / without:.3%} of a step")


if __name__ == "__main__":
    main()
