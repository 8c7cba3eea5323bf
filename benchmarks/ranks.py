"""Two processes on this machine (gloo): what batches and compact vocabulary do for data-parallel training.

python benchmarks/ranks.py batches [--rounds 4]       random, group_by_length and ours; small model
python benchmarks/ranks.py vocabulary [--rounds 4]    all embeddings or those that occur; real dimensions

`batches`: steps at even quantiles of cost, as many for each way, by the clock; the same times are predicted
by the tokens of the slower process. `vocabulary`: the efficiency is the time that forward and backward
pass take with compact embeddings, when nothing is sent, over that of the whole step. Rounds are
interleaved, the first is dropped; medians.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.multiprocessing
from corpus import PADDING, at_quantiles, corpus, grouped, half_precision, real_dimensions
from torch.nn.parallel import DistributedDataParallel
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from lingotune.config.schema import BatchingConfig, BatchMode
from lingotune.estimate.bucketing import BatchShape, Epoch, efficiency, plan_epoch
from lingotune.modeling.compact_embedding import compact, used_ids
from lingotune.training.dataloader import to_tensors
from lingotune.training.sparse_gradients import RowExchange

WORLD, SIZE, ROWS = 2, 16, 75_000
WAYS = ("random", "group_by_length", "iid_balanced", "window")


def planned(way: str, lengths: Any) -> Epoch:
    """An epoch, its last and smaller update left out."""
    shape = BatchShape(WORLD, 1, SIZE)
    if way == "group_by_length":
        return grouped(lengths, shape, 0)
    return plan_epoch(lengths, BatchingConfig(BatchMode[way]), shape, 0, 0)


def chosen(epoch: Epoch, lengths: Any, count: int) -> list[int]:
    """Updates at even quantiles of the slower process's tokens."""
    whole = len(epoch.order) // epoch.shape.batch
    cost = []
    for update in range(whole):
        parts = [lengths[epoch.part(update, process, 0)] for process in range(WORLD)]
        cost.append(max(len(part) * part.max() for part in parts))
    return [int(n) for n in at_quantiles(cost, count)]


def batches(rank: int, rounds: int) -> None:
    """Print the seconds of as many texts by each way, and what the tokens say."""
    split = corpus(ROWS)
    small = DistilBertConfig(
        vocab_size=real_dimensions().vocab_size,
        dim=256,
        n_layers=4,
        n_heads=4,
        hidden_dim=1024,
        num_labels=3,
    )
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification(small)
    compact(model, used_ids([split], [PADDING]))
    trained = DistributedDataParallel(model, gradient_as_bucket_view=True, broadcast_buffers=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    plans = {way: planned(way, split.lengths) for way in WAYS}
    updates = {way: chosen(epoch, split.lengths, 40) for way, epoch in plans.items()}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            torch.distributed.barrier()
            begun = time.perf_counter()
            for update in updates[way]:
                rows = plans[way].part(update, rank, 0)
                inputs = to_tensors(split.batch(rows))
                share = len(rows) * WORLD / plans[way].rows_of(update)
                with half_precision():
                    loss = trained(**inputs).loss * share
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=False)
            torch.distributed.barrier()
            seconds[way].append(time.perf_counter() - begun)
    if rank == 0:
        medians = {way: statistics.median(values[1:]) for way, values in seconds.items()}
        print("batches            seconds  against random  critical tokens  against random")
        critical = {way: efficiency(epoch, split.lengths).critical for way, epoch in plans.items()}
        for way, median in medians.items():
            print(
                f"{way:16} {median:9.2f} {medians['random'] / median:14.2f}x"
                f" {critical[way]:16.1f} {critical['random'] / critical[way]:14.2f}x"
            )
        print(f"window over group_by_length {medians['group_by_length'] / medians['window']:.2f}x")


def vocabulary(rank: int, rounds: int) -> None:
    """Print the seconds of a step of 16 x 56 tokens a process, and the efficiency."""
    split = corpus(ROWS)
    rows = np.flatnonzero(split.lengths == 56)
    found: dict[str, list[float]] = {}
    models = {}
    for name in ("all rows", "rows that occur", "rows of the update"):
        torch.manual_seed(0)
        model = DistilBertForSequenceClassification(real_dimensions())
        if name != "all rows":
            compact(model, used_ids([split], [PADDING]))
        if name == "rows of the update":
            RowExchange(model, lambda: models["rows of the update"][0])
        wrapped = DistributedDataParallel(
            model, gradient_as_bucket_view=True, broadcast_buffers=False
        )
        models[name] = (wrapped, torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True))
    for number in range(rounds):
        for name, (model, optimizer) in models.items():
            for sends in (False, True):
                for step in range(3):
                    at = rows[((number * 3 + step) * WORLD + rank) * SIZE % (len(rows) - SIZE) :][
                        :SIZE
                    ]
                    inputs = to_tensors(split.batch(at))
                    torch.distributed.barrier()
                    begun = time.perf_counter()
                    with half_precision():
                        if sends:
                            loss = model(**inputs).loss
                        else:
                            with model.no_sync():
                                loss = model(**inputs).loss
                    if sends:
                        loss.backward()
                    else:
                        with model.no_sync():
                            loss.backward()
                    middle = time.perf_counter()
                    if sends:
                        optimizer.step()
                    optimizer.zero_grad(set_to_none=False)
                    torch.distributed.barrier()
                    found.setdefault(f"{name}, {'step' if sends else 'alone'}", []).append(
                        (time.perf_counter() if sends else middle) - begun
                    )
    if rank == 0:
        medians = {name: statistics.median(values[3:]) for name, values in found.items()}
        alone = medians["rows that occur, alone"]
        print("embeddings sent         MB  forward, backward alone  whole step  efficiency")
        for name, sent in (
            ("all rows", 135.3 * 4),
            ("rows that occur", 75.8 * 4),
            ("rows of the update", 43.5 * 4),
        ):
            step = medians[f"{name}, step"]
            each = medians[f"{name}, alone"]
            print(f"{name:18} {sent:7.0f} {each:24.2f} {step:11.2f} {alone / step:11.0%}")


def process(rank: int, port: int, what: str, rounds: int) -> None:
    """One of the two."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=WORLD)
    {"batches": batches, "vocabulary": vocabulary}[what](rank, rounds)
    torch.distributed.destroy_process_group()


def main() -> None:
    """Start two processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["batches", "vocabulary"])
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, options.what, options.rounds), WORLD)


if __name__ == "__main__":
    main()
