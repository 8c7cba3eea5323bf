"""How fast a step of the article's model is, through the Trainer: ours against the usual ways, interleaved.

python benchmarks/training.py [--rounds 3] [--steps 20] [--threads 2] [--only NAME ...]

DistilBERT of the article's size with random weights, texts as long as the article's, batches of 16, no
GPU. Each way plans an epoch of 75 000 texts; of its steps those at even quantiles of cost are trained on.
They miss the tail, so that each time is multiplied by padded tokens of the epoch over those of the steps.
Few steps flatter ours: a stock process's first ones are its slowest. Printed are medians over the rounds
of texts a second, by the clock and by processor time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from corpus import PADDING, at_quantiles, corpus, grouped, real_dimensions
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import (
    BertTokenizerFast,
    DataCollatorWithPadding,
    DistilBertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging

from lingotune.config.schema import BatchingConfig, BatchMode
from lingotune.data.loader.store import Split
from lingotune.estimate.bucketing import BatchShape, plan_epoch
from lingotune.modeling.compact_embedding import compact, used_ids
from lingotune.modeling.lean_encoder import read_first_token
from lingotune.system.allocator import keep_freed_memory
from lingotune.system.machine import cpu_has_bf16
from lingotune.training.dataloader import Batches, MicroBatch, PrefetchedBatches, to_tensors
from lingotune.training.trainer import ClassifierTrainer

ROWS = 75_000


@dataclass(frozen=True)
class Way:
    """A way to train: how an epoch is cut into steps, and with what it is trained."""

    batches: str
    precision: str
    ours: bool = False
    size: int = 16
    cut: int | None = None


WAYS = {
    "article: random, fp32": Way("random", "fp32"),
    "random, bf16": Way("random", "bf16"),
    "run_classification.py: 8 x 128, fp32": Way("random", "fp32", size=8, cut=128),
    "run_classification.py: 8 x 128, bf16": Way("random", "bf16", size=8, cut=128),
    "group_by_length, fp32": Way("group_by_length", "fp32"),
    "group_by_length, bf16": Way("group_by_length", "bf16"),
    "ours, fp32": Way("window", "fp32", ours=True),
    "ours, bf16": Way("window", "bf16", ours=True),
}


def steps_of(way: Way, lengths: Any) -> list[Any]:
    """Rows of each step of an epoch, the last and smaller one left out."""
    if way.batches == "group_by_length":
        order = grouped(lengths, BatchShape(1, 1, way.size), 0).order
    else:
        mode = BatchingConfig(BatchMode[way.batches])
        order = plan_epoch(lengths, mode, BatchShape(1, 1, way.size), 0, 0).order
    whole = len(order) // way.size
    return list(order[: whole * way.size].reshape(whole, way.size))


def chosen(way: Way, lengths: Any, count: int) -> tuple[list[Any], float]:
    """The steps at even quantiles of cost, for as many texts with every way, and what their time is to
    be multiplied by."""
    steps = steps_of(way, lengths)
    count = count * 16 // way.size
    tokens = np.array([len(rows) * (way.cut or lengths[rows].max()) for rows in steps])
    at = at_quantiles(tokens, count)
    np.random.default_rng(0).shuffle(at)
    return [steps[n] for n in at], float(tokens.mean() / tokens[at].mean())


class Clock(TrainerCallback):
    """Seconds of the steps after the first, by the clock and of the processors."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = (time.perf_counter(), time.process_time())
        if state.global_step == 1:
            self.begun = now
        self.wall, self.processor = (a - b for a, b in zip(now, self.begun))


class Stock(Trainer):
    """The Trainer as it is, on given steps."""

    def __init__(self, loader: DataLoader[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._loader = loader

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self._loader


class Given:
    """Ours, on given steps."""

    def __init__(self, split: Split, steps: list[Any]) -> None:
        self._split, self._steps = split, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[MicroBatch]:
        for rows in self._steps:
            yield MicroBatch(rows, 1.0, PrefetchedBatches(self._split, rows, [len(rows)]))


def stock_loader(way: Way, split: Split, steps: list[Any]) -> DataLoader[Any]:
    """Rows of a `datasets` table, put together by transformers' collator."""
    rows = np.concatenate(steps)
    tokens = split.ids[split.tokens]
    table = Dataset.from_dict({
        "input_ids": [
            tokens[s : s + min(n, way.cut or n)] for s, n in zip(split.starts[rows], split.lengths[rows])
        ],
        "labels": split.label[rows].tolist(),
    })  # fmt: skip
    tokenizer = BertTokenizerFast(
        vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    )
    tokenizer.pad_token_id = PADDING
    padding: dict[str, Any] = {"padding": "max_length", "max_length": way.cut} if way.cut else {}
    return DataLoader(table, way.size, collate_fn=DataCollatorWithPadding(tokenizer, **padding))


def train(way: Way, split: Split, model: Any, steps: list[Any], folder: str) -> Clock:
    """Train on the steps, the first one twice: what it does alone is not counted."""
    steps = [steps[0], *steps]
    args = TrainingArguments(
        output_dir=folder, max_steps=len(steps), learning_rate=5e-5, report_to=[], use_cpu=True,
        bf16=way.precision == "bf16", per_device_train_batch_size=way.size, save_strategy="no",
        logging_strategy="no", disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    clock = Clock()
    given: dict[str, Any] = {"model": model, "args": args, "callbacks": [clock]}
    if way.ours:
        assert read_first_token(model)
        compact(model, used_ids([split], [PADDING]))
        trainer: Trainer = ClassifierTrainer(
            tokenizer=None, train_dataset=Batches(split, 1), data_collator=to_tensors,
            updates=Given(split, steps), **given,
        )  # fmt: skip
    else:
        trainer = Stock(stock_loader(way, split, steps), **given)
    trainer.train()
    return clock


def measure(name: str, count: int, threads: int) -> tuple[float, float]:
    """Train as many steps as are asked for; returns texts a second by the clock and of processor time."""
    logging.set_verbosity_error()
    torch.set_num_threads(threads)
    way, split = WAYS[name], corpus(ROWS)
    if way.ours:
        keep_freed_memory()
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification(real_dimensions())
    steps, factor = chosen(way, split.lengths, count)
    with tempfile.TemporaryDirectory() as folder:
        clock = train(way, split, model, steps, folder)
    texts = sum(map(len, steps))
    return texts / (clock.wall * factor), texts / (clock.processor * factor)


def main() -> None:
    """Print texts a second and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    able = [name for name, way in WAYS.items() if way.precision == "fp32" or cpu_has_bf16()]
    parser.add_argument("--only", nargs="+", choices=WAYS, default=able)
    options = parser.parse_args()
    if not cpu_has_bf16():
        print("this CPU does not compute in bf16, which would be emulated: fp32 alone")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in options.only}
    for number in range(options.rounds):
        for name in options.only:
            # A process each: what the allocator is told holds for a whole process.
            with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                rates = alone.submit(measure, name, options.steps, options.threads).result()
            found[name].append(rates)
            print(f"round {number + 1}  {name:38} {rates[0]:7.2f} texts/s", flush=True)
    _tell(found)


def _tell(found: dict[str, list[tuple[float, float]]]) -> None:
    medians = {
        name: tuple(statistics.median(one[n] for one in rates) for n in (0, 1))
        for name, rates in found.items()
    }
    print("\nmedians                                 texts/s  texts/CPU s")
    for name, (wall, processor) in medians.items():
        print(f"{name:38} {wall:8.2f} {processor:12.2f}")
    for ours in (name for name in medians if WAYS[name].ours):
        for other in (name for name in medians if not WAYS[name].ours):
            wall, processor = (a / b for a, b in zip(medians[ours], medians[other]))
            print(
                f"{ours:12} over {other:38} {wall:5.2f}x by the clock {processor:5.2f}x of processor time"
            )


if __name__ == "__main__":
    main()
