"""Processes that exchange the word embeddings' gradient in both ways.

python tests/exchanging.py sums PROCESSES EXAMPLES     random models and ids; prints what differs as JSON
python tests/exchanging.py run PROCESSES BANDWIDTH JOB_FILE RUN_DIR [JOB_FILE RUN_DIR ...]

`run` is tests/forked.py with a network of so many bytes per second, by what rank 0 measures; others measure
one that is endlessly fast.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from forked import ended, name_meeting, ranks
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lingotune.config.problems import ConfigError
from lingotune.estimate.row_exchange import Link
from lingotune.modeling.compact_embedding import compact
from lingotune.training import embedding_exchange
from lingotune.training.sparse_gradients import RowExchange

# --- sums ---------------------------------------------------------------------------------------


class Bag(nn.Module):
    """Embeddings and a layer on their weighted sum. more: also uses all rows, without looking them up."""

    def __init__(self, rows: int, padding: int | None, *, more: bool = False) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(rows, 8, padding_idx=padding), nn.Linear(8, 3)
        self.more = more

    def get_input_embeddings(self) -> nn.Module:
        return self.words

    def forward(self, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        found = (self.words(ids) * weights[:, None]).sum(0)
        return self.head(found).square().sum() + (self.words.weight.sum() if self.more else 0.0)


def gradients(kind: np.random.Generator, own: np.random.Generator, *, by_rows: bool) -> list[Any]:
    """Gradient of the embeddings in three updates, and the norm by which it would be clipped.

    kind: the same in all processes. own: of this process.
    """
    rows = int(kind.integers(2, 300))
    torch.manual_seed(int(kind.integers(1 << 30)))
    model = Bag(rows, padding=[None, 0][kind.integers(2)])
    used = np.flatnonzero(kind.random(rows) < 0.7)
    is_compact = bool(kind.integers(2)) and len(used) > 1 and 0 in used
    if is_compact:
        assert compact(model, used, worth=1.0)
    else:
        used = np.arange(rows)
    found: list[Any] = []
    if by_rows:
        RowExchange(model, lambda: found[0])
    found.append(DistributedDataParallel(model, gradient_as_bucket_view=True))
    shapes = [(int(kind.integers(1, 4)), int(kind.integers(1, 3))) for _ in range(3)]
    return [_update(found[0], used, own, *shape) for shape in shapes]


def _update(
    wrapped: Any, used: Any, own: np.random.Generator, parts: int, passes: int
) -> tuple[torch.Tensor, float]:
    wrapped.zero_grad()
    for part in range(parts):
        with nullcontext() if part == parts - 1 else wrapped.no_sync():
            losses = []
            for _ in range(passes):  # some without any id
                ids = torch.from_numpy(own.choice(used, own.integers(0, 40)))
                weights = torch.from_numpy(own.normal(size=len(ids)).astype(np.float32))
                losses.append(wrapped(ids, weights))
            torch.stack(losses).sum().backward()
    norm = nn.utils.clip_grad_norm_(wrapped.parameters(), 1e9)
    return wrapped.module.words.weight.grad.clone(), float(norm)


def sums(rank: int, world: int, examples: int) -> dict[str, Any]:
    """Compare both ways over random models and ids."""
    differing, worst, agree = 0, 0.0, True
    for example in range(examples):
        both = [
            gradients(
                np.random.default_rng(example),
                np.random.default_rng((example, rank)),
                by_rows=by_rows,
            )
            for by_rows in (False, True)
        ]
        for (plain, norm), (rows, norm_too) in zip(*both):
            differing += not torch.equal(plain, rows) or norm != norm_too
            parts = [torch.zeros_like(rows) for _ in range(world)]
            distributed.all_gather(parts, rows)
            agree &= all(torch.equal(part, rows) for part in parts)
            size = plain.abs().max().clamp(min=1e-30)
            worst = max(worst, float((plain - rows).abs().max() / size))
    return {"differing": differing, "worst": worst, "agree": agree, "refused": refused()}


def refused() -> str:
    """Train a model that uses rows without looking them up."""
    found: list[Any] = []
    model = Bag(20, None, more=True)
    RowExchange(model, lambda: found[0])
    found.append(DistributedDataParallel(model))
    try:
        found[0](torch.arange(3), torch.ones(3)).backward()
    except ConfigError as error:
        return error.problems[0].what
    return ""


def apart(world: int, examples: int) -> None:
    """Fork so many processes; prints what rank 0 found."""
    name_meeting(world)
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for rank in range(world):
            children.append(os.fork())
            if not children[-1]:
                torch.set_num_threads(1)
                distributed.init_process_group("gloo", rank=rank, world_size=world)
                found = sums(rank, world, examples)
                Path(folder, str(rank)).write_text(json.dumps(found))
                distributed.barrier()
                os._exit(0)
        assert ended(children) == [0] * world
        print(Path(folder, "0").read_text())


# --- runs ---------------------------------------------------------------------------------------


def pretend(rank: int, bandwidth: float) -> None:
    link = Link(0.0, float("inf") if rank else bandwidth)
    embedding_exchange.measure_link = lambda device: link


if __name__ == "__main__":
    what, count, number, *pairs = sys.argv[1:]
    if what == "sums":
        apart(int(count), int(number))
    else:
        import lingotune.report.charts
        import lingotune.report.tables
        import lingotune.training.fit  # noqa: F401  imported once, for all runs

        begin = lambda rank: pretend(rank, float(number))  # noqa: E731
        runs = zip(pairs[::2], pairs[1::2])
        sys.exit(max(abs(code) for pair in runs for code in ranks(int(count), *pair, begin=begin)))
