"""Two processes on this machine (gloo): what batches and compact vocabulary do for data-parallel training.

python benchmarks/ranks.py batches [--rounds 4]       random, group_by_length and ours; small model
python benchmarks/ranks.py vocabulary [--rounds 4]    all embeddings, those that occur, or the update's

`batches`: steps at even quantiles of cost, as many for each way, by the clock; the same times are
predicted by the tokens of the slower process. `vocabulary`: real dimensions, with the Trainer's way of
clearing gradients. Efficiency is the time of a step in which nothing is sent over that of one that sends,
optimizer included in both; passes is the time of the forward and backward pass alone, with compact
embeddings, over that of a step that sends, so that it charges the optimizer, too. Each step is done in all
ways in turn, the first round is dropped; medians, with quartiles of the efficiency, and the same by
processor time, which says less of waiting, but the same on a busy machine.
With --layers 1 --sent "rows that occur" "rows of the update" it needs 3 GB instead of 9.

A slow link: unshare -rn sh -c 'ip link set lo up; tc qdisc add dev lo root tbf rate 1gbit burst 1mb latency
50ms; python benchmarks/ranks.py vocabulary', which leaves this machine's own network as it is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from contextlib import nullcontext
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
from lingotune.launch.free_port import free_port
from lingotune.modeling.compact_embedding import compact, used_ids
from lingotune.system.allocator import keep_freed_memory
from lingotune.training.dataloader import to_tensors
from lingotune.training.sparse_gradients import RowExchange

WORLD, SIZE, ROWS, STEPS = 2, 16, 75_000, 3
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


def batches(rank: int, options: argparse.Namespace) -> None:
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
    for _ in range(options.rounds):
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


SENT = ("all rows", "rows that occur", "rows of the update")


def vocabulary(rank: int, options: argparse.Namespace) -> None:
    """Print the seconds of a step of 16 x 56 tokens a process, and the efficiency."""
    split = corpus(ROWS)
    rows = np.flatnonzero(split.lengths == 56)
    models = {name: exchanging(name, split, options.layers) for name in options.sent}
    seconds: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    touched = []
    for number in range(STEPS * options.rounds):
        first = number * WORLD * SIZE % (len(rows) - WORLD * SIZE)
        update = rows[first : first + WORLD * SIZE]
        touched.append(len(np.unique(split.batch(update)["input_ids"])))
        inputs = to_tensors(split.batch(update[rank::WORLD]))
        for name, (model, optimizer) in models.items():
            for sends in (False, True):
                found = seconds_of(model, optimizer, inputs, sends=sends)
                for part, value in found.items():
                    seconds.setdefault((name, sends, part), []).append(value)
    if rank == 0:
        print_efficiency(models, seconds, statistics.median(touched))


def seconds_of(model: Any, optimizer: Any, inputs: Any, *, sends: bool) -> dict[str, Any]:
    """Seconds of a step, and of its forward and backward pass: by the clock, and of this process's
    processor time."""
    torch.distributed.barrier()
    begun = np.array([time.perf_counter(), time.process_time()])
    with nullcontext() if sends else model.no_sync():
        with half_precision():
            loss = model(**inputs).loss
        loss.backward()
    middle = np.array([time.perf_counter(), time.process_time()])
    optimizer.step()
    optimizer.zero_grad()
    torch.distributed.barrier()
    ended = np.array([time.perf_counter(), time.process_time()])
    return {"passes": middle - begun, "step": ended - begun}


def print_efficiency(models: Any, seconds: Any, touched: float) -> None:
    """Print a line for each way of sending. touched: rows of the embeddings in an update."""
    warm = {key: np.array(values[STEPS:]) for key, values in seconds.items()}
    alone = warm[
        "rows that occur" if "rows that occur" in models else next(iter(models)), False, "passes"
    ]
    print(
        "embeddings sent         MB   step  efficiency  quartiles       of processor time  passes"
    )
    for name, (model, _) in models.items():
        sent = sum(p.numel() for p in model.parameters()) * 4
        if name == "rows of the update":
            words = model.module.get_input_embeddings().weight
            sent -= (len(words) - touched) * words.shape[1] * 4
        step = warm[name, True, "step"]
        clock, work = (warm[name, False, "step"] / step).T
        passes = np.median(alone[:, 0] / step[:, 0])
        low, high = np.quantile(clock, (0.25, 0.75))
        print(
            f"{name:18} {sent / 1e6:7.0f} {np.median(step[:, 0]):6.2f} {np.median(clock):11.1%}"
            f"  {low:.1%} to {high:.1%} {np.median(work):17.1%}  {passes:6.1%}"
        )


def exchanging(name: str, split: Any, layers: int) -> tuple[Any, Any]:
    """A model that exchanges all rows of its embeddings' gradient, those that occur, or those of the
    update, and its optimizer."""
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification(real_dimensions(n_layers=layers))
    found: list[Any] = []
    if name != "all rows":
        compact(model, used_ids([split], [PADDING]))
    if name == "rows of the update":
        RowExchange(model, lambda: found[0])
    found.append(
        DistributedDataParallel(model, gradient_as_bucket_view=True, broadcast_buffers=False)
    )
    return found[0], torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)


def process(rank: int, port: int, options: argparse.Namespace) -> None:
    """One of the two."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    keep_freed_memory()
    torch.distributed.init_process_group("gloo", rank=rank, world_size=WORLD)
    {"batches": batches, "vocabulary": vocabulary}[options.what](rank, options)
    torch.distributed.destroy_process_group()


def main() -> None:
    """Start two processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["batches", "vocabulary"])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--layers", type=int, default=6, help="vocabulary: of the model")
    parser.add_argument("--sent", nargs="+", choices=SENT, default=SENT, help="vocabulary: ways")
    options = parser.parse_args()
    torch.multiprocessing.spawn(process, (free_port(), options), WORLD)


if __name__ == "__main__":
    main()
