"""Ways to train an encoder on one device, and how one of them is timed: what benchmarks/gpu.py runs in a
process of its own."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from corpus import PADDING, corpus, grouped
from datasets import Dataset
from gpu_cells import WAYS, Cell, GpuWay, Impossible, Timed, values_of
from torch.utils.data import DataLoader
from training import Stock
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertTokenizerFast,
    DataCollatorWithPadding,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging

from lingotune.config.schema import BatchingConfig, BatchMode
from lingotune.data.loader.store import Split
from lingotune.estimate.bucketing import BatchShape, plan_epoch
from lingotune.modeling.compact_embedding import compact, used_ids
from lingotune.modeling.lean_encoder import Packing, read_first_token
from lingotune.system.arrays import Array
from lingotune.training.arguments import compile_each_shape
from lingotune.training.dataloader import Batches, MicroBatch, PrefetchedBatches, to_tensors
from lingotune.training.trainer import ClassifierTrainer

WARM = 3
"""Steps at least that are not counted."""


@lru_cache(maxsize=2)
def texts(tiny: bool) -> Split:
    """Texts as long as the article's."""
    return corpus(2_000 if tiny else 75_000, most=32 if tiny else 512)


def configuration(model: str, *, tiny: bool) -> Any:
    """The configuration of a model with three classes, and with the padding of the texts."""
    values = values_of(model, tiny=tiny)
    kind = str(values.pop("model_type"))
    return AutoConfig.for_model(kind, **{**values, "num_labels": 3, "pad_token_id": PADDING})


def steps_of(way: GpuWay, size: int, lengths: Array) -> Array:
    """Rows of each step of an epoch in random order, (steps, size); the smaller last one is left out."""
    shape = BatchShape(1, 1, size, way.multiple, way.packed)
    if way.batches == "group_by_length":
        order = grouped(lengths, shape, 0).order
    else:
        order = plan_epoch(lengths, BatchingConfig(BatchMode[way.batches]), shape, 0, 0).order
    whole = len(order) // size
    steps: Array = order[: whole * size].reshape(whole, size)
    return steps[np.random.default_rng(0).permutation(whole)]


class Course:
    """Steps one after the other, by their numbers: some to warm up with, then those that are counted, for
    at least half of the seconds.

    widths: of each step. one_of_each: each width is met before it counts, the most frequent first, as a
    compiled way takes long for a new one; those that half of the time is too short for do not count.
    """

    def __init__(self, widths: Array, seconds: float, *, one_of_each: bool) -> None:
        self._widths, self._seconds, self._one_of_each = widths, seconds, one_of_each
        self.given: list[tuple[int, bool]] = []
        self._end: float | None = None

    def __len__(self) -> int:
        return len(self._widths)

    def __iter__(self) -> Iterator[int]:
        begun = time.monotonic()
        warm = begun + self._seconds / 2
        met = set()
        for number in self.warming():
            if len(self.given) >= WARM and time.monotonic() > warm:
                break
            met.add(int(self._widths[number]))
            yield self._next(number, counts=False)
        self._end = max(begun + self._seconds, time.monotonic() + self._seconds / 2)
        for number, width in enumerate(self._widths.tolist()):
            if not self._one_of_each or width in met:
                yield self._next(number, counts=True)

    def warming(self) -> list[int]:
        _, first, counts = np.unique(self._widths, return_index=True, return_counts=True)
        by_frequency = first[np.argsort(-counts, kind="stable")].tolist()
        return by_frequency if self._one_of_each else [*by_frequency[:WARM], *by_frequency[:WARM]]

    def _next(self, number: int, *, counts: bool) -> int:
        self.given.append((number, counts))
        return number

    @property
    def over(self) -> bool:
        """Whether its time is up."""
        return self._end is not None and time.monotonic() > self._end


class Clock(TrainerCallback):
    """Seconds of the counted steps of a course; ends the training when its time is up."""

    def __init__(self, course: Course, device: torch.device) -> None:
        self._course, self._device = course, device
        self.seconds = 0.0
        self.steps: list[int] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._course.given[state.global_step][1] and not self.steps:
            self._begun = self._now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        number, counts = self._course.given[state.global_step - 1]
        if counts:
            self.steps.append(number)
        if self._course.over or len(self.steps) == len(self._course):
            control.should_training_stop = True
            self._stop()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop()  # where the batches ended before the time

    def _stop(self) -> None:
        if self.steps and not self.seconds:
            self.seconds = self._now() - self._begun

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


class Rows:
    """A course as the batch sampler of ours: the rows of each step."""

    def __init__(self, split: Split, steps: Array, course: Course) -> None:
        self._split, self._steps, self._course = split, steps, course

    def __len__(self) -> int:
        return len(self._course)

    def __iter__(self) -> Iterator[MicroBatch]:
        for number in self._course:
            rows = self._steps[number]
            yield MicroBatch(rows, 1.0, PrefetchedBatches(self._split, rows, [len(rows)]))


class Places:
    """A course as the batch sampler of a table of rows: the numbers of the rows of each step."""

    def __init__(self, steps: Array, course: Course) -> None:
        self._steps, self._course = steps, course

    def __len__(self) -> int:
        return len(self._course)

    def __iter__(self) -> Iterator[list[int]]:
        for number in self._course:
            yield self._steps[number].tolist()


@lru_cache(maxsize=1)
def _table(tiny: bool) -> Dataset:
    split = texts(tiny)
    tokens = split.ids[split.tokens]
    return Dataset.from_dict({
        "input_ids": [tokens[s : s + n] for s, n in zip(split.starts, split.lengths)],
        "labels": split.label.tolist(),
    })  # fmt: skip


def stock_loader(table: Dataset, steps: Array, course: Course) -> DataLoader[Any]:
    """Rows of a `datasets` table, put together by transformers' collator."""
    tokenizer = BertTokenizerFast(
        vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    )
    return DataLoader(
        table, batch_sampler=Places(steps, course), collate_fn=DataCollatorWithPadding(tokenizer)
    )


def run(cell: Cell) -> Timed:
    """Train a cell. Impossible if the model has no such way; whatever torch raises, such as too little
    memory."""
    logging.set_verbosity_error()
    way = replace(WAYS[cell.way], precision=cell.precision)
    split = texts(cell.tiny)
    device = torch.device("cpu" if cell.tiny else "cuda")
    if cell.tiny:
        torch.set_num_threads(1)
    else:
        gc.collect()
        torch.cuda.empty_cache()  # of the cell before, which may have run out of it
        torch.cuda.reset_peak_memory_stats()
    steps = steps_of(way, cell.size, split.lengths)
    widths = np.minimum(
        -(-split.lengths[steps].max(axis=1) // way.multiple) * way.multiple, split.longest
    )
    course = Course(widths, cell.seconds, one_of_each=way.compiled)
    torch.manual_seed(0)
    with device:
        config = configuration(cell.model, tiny=cell.tiny)
        model = AutoModelForSequenceClassification.from_config(config)
    clock = Clock(course, device)
    rows, lean = _train(way, split, steps, model, course, clock, device)
    if not clock.steps:
        raise Impossible("its time was over before a step counted")
    done = steps[clock.steps]
    own = split.lengths[done].astype(float)
    padded = own if way.packed else np.repeat(widths[clock.steps], cell.size).astype(float)
    memory = 0.0 if cell.tiny else torch.cuda.max_memory_allocated() / 2**30
    return Timed(
        own.size / clock.seconds, own.size, float(own.mean()), float((own**2).mean()), float(padded.mean()),
        float((padded**2).mean()), rows, lean, memory,
    )  # fmt: skip


def _train(
    way: GpuWay, split: Split, steps: Array, model: Any, course: Course, clock: Clock,
    device: torch.device,
) -> tuple[int, bool]:  # fmt: skip
    """Train until the course's time is up; returns the trained rows of the word embeddings, and whether the
    last layer computes the first token alone."""
    on_gpu = device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder, max_steps=len(course) + len(course.warming()) + WARM,
            learning_rate=5e-5, report_to=[], use_cpu=not on_gpu, fp16=way.precision == "fp16" and on_gpu,
            bf16=way.precision == "bf16" and on_gpu, tf32=True if on_gpu else None,
            per_device_train_batch_size=steps.shape[1], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, remove_unused_columns=False, optim=way.optimizer,
            torch_compile=way.compiled, dataloader_pin_memory=on_gpu,
            torch_compile_mode="reduce-overhead" if way.compiled and on_gpu else None,
            torch_compile_backend="aot_eager" if way.compiled and not on_gpu else None,
        )  # fmt: skip
        named: dict[str, Any] = {"model": model, "args": args, "callbacks": [clock]}
        words = model.get_input_embeddings().num_embeddings
        if not way.ours:
            Stock(stock_loader(_table(device.type == "cpu"), steps, course), **named).train()
            return words, False
        packing = Packing() if way.packed else None
        lean = read_first_token(model, packing)
        if way.packed and not lean:
            raise Impossible("its layers are none of DistilBERT's, BERT's or RoBERTa's kind")
        found = compact(model, used_ids([split], [PADDING]))
        if way.compiled:
            compile_each_shape()
        named["updates"] = Rows(split, steps, course)
        ClassifierTrainer(
            tokenizer=None, train_dataset=Batches(split, way.multiple, packed=way.packed),
            data_collator=to_tensors, packing=packing, **named,
        ).train()  # fmt: skip
        return found.num_embeddings if found else words, lean


def differences(model: str, tiny: bool) -> list[str]:
    """Say how far logits and gradients of what leaves work out are from the whole model's, in bf16."""
    device = torch.device("cpu" if tiny else "cuda")
    batches = Batches(texts(tiny), 1, packed=True)
    inputs = to_tensors(batches.__getitems__(np.arange(32)))
    inputs = {name: value.to(device) for name, value in inputs.items()}
    found: dict[str, tuple[Any, Any]] = {}
    for name in ("whole", "first token", "no padding"):
        torch.manual_seed(0)
        made = AutoModelForSequenceClassification.from_config(configuration(model, tiny=tiny))
        for module in made.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        packing = Packing()
        if name != "whole" and not read_first_token(
            made, packing if name == "no padding" else None
        ):
            return [f"{model}: nothing is left out, its layers are of another kind"]
        made, given = made.to(device).train(), dict(inputs)
        with packing.of(given), torch.autocast(device.type, torch.bfloat16):
            output = made(**given)
        output.loss.backward()
        gradient = torch.cat([
            p.grad.flatten().float() for p in made.parameters() if p.grad is not None
        ])  # fmt: skip
        found[name] = (output.logits.detach().float(), gradient)
    logits, gradient = found.pop("whole")
    return [
        f"{model}, {name}: logits differ by {(own - logits).abs().max():.1e}, the gradient by"
        f" {(own_gradient - gradient).norm() / gradient.norm():.1e} of its norm"
        for name, (own, own_gradient) in found.items()
    ]
