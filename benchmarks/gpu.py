"""One GPU, measured in one call: the article's recipe against ours, what is exact, what memory it takes.

python benchmarks/gpu.py [--sizes 16 256] [--steps 200] [--rounds 3] [--only WAY ...] [--rehearse]

The article's model at its real size with random weights, texts as long as the article's. Each way trains
through the Trainer on as many updates of an epoch, after one of each of their widths that are not counted
(a compiled way compiles there). Printed are medians over interleaved rounds of texts and tokens a second,
the share of the GPU's peak that went into texts, and peak memory; before that, how far what leaves work out
is from what does not. Without a GPU it says so and ends with exit code 2; --rehearse runs all of it with a
tiny model on the CPU, to see that it works. Its figures are then of no interest.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from corpus import PADDING, VOCABULARY, corpus, grouped, real_dimensions
from training import Given, Stock, Way, stock_loader
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    TrainerCallback,
    TrainingArguments,
)
from transformers.utils import logging

from lingotune.catalog.gpus import find_gpu
from lingotune.catalog.models import size_of
from lingotune.config.schema import BatchingConfig, BatchMode
from lingotune.data.loader.store import Split
from lingotune.estimate.bucketing import COMPILED_WIDTHS, BatchShape, plan_epoch
from lingotune.estimate.step_time import operations, utilisation
from lingotune.modeling.compact_embedding import compact, used_ids
from lingotune.modeling.lean_encoder import Packing, read_first_token
from lingotune.training.arguments import compile_each_shape
from lingotune.training.dataloader import Batches, to_tensors
from lingotune.training.trainer import ClassifierTrainer

HAS_GPU = torch.cuda.is_available()


@dataclass(frozen=True)
class GpuWay(Way):
    """A way to train on a GPU. multiple: what widths are rounded up to; packed: without padding; compiled:
    by torch.compile."""

    multiple: int = 8
    packed: bool = False
    compiled: bool = False
    optimizer: str = "adamw_torch_fused"


ARTICLE = "article: random, fp16"
WAYS = {
    ARTICLE: GpuWay("random", "fp16", optimizer="adamw_torch"),
    "random, bf16": GpuWay("random", "bf16"),
    "group_by_length, bf16": GpuWay("group_by_length", "bf16"),
    "ours": GpuWay("window", "bf16", ours=True),
    "ours, widths as they are": GpuWay("window", "bf16", ours=True, multiple=1),
    "ours, compiled": GpuWay("window", "bf16", ours=True, multiple=COMPILED_WIDTHS, compiled=True),
    "ours, no padding": GpuWay("window", "bf16", ours=True, multiple=1, packed=True),
    "ours, i.i.d., no padding": GpuWay("iid_balanced", "bf16", ours=True, multiple=1, packed=True),
}


def chosen(way: GpuWay, lengths: Any, count: int) -> tuple[list[Any], list[Any]]:
    """Steps to warm up with, one of each width, and those that are counted: of one epoch, in its order."""
    shape = BatchShape(1, 1, way.size, way.multiple, way.packed)
    if way.batches == "group_by_length":
        order = grouped(lengths, shape, 0).order
    else:
        order = plan_epoch(lengths, BatchingConfig(BatchMode[way.batches]), shape, 0, 0).order
    whole = len(order) // way.size
    steps = order[: whole * way.size].reshape(whole, way.size)
    counted = steps[np.random.default_rng(0).choice(whole, min(count, whole), replace=False)]
    widths = -(-lengths[counted].max(axis=1) // way.multiple)
    _, one_of_each = np.unique(widths, return_index=True)
    if not way.compiled:
        one_of_each = one_of_each[:: max(1, len(one_of_each) // 10)]
    return list(counted[one_of_each]), list(counted)


class Clock(TrainerCallback):
    """Seconds of the steps after the first so many."""

    def __init__(self, uncounted: int) -> None:
        self._uncounted = uncounted
        self.seconds = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in (self._uncounted, state.max_steps):
            if HAS_GPU:
                torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.seconds


def train(way: GpuWay, split: Split, model: Any, warm: list[Any], steps: list[Any]) -> float:
    """Seconds of the steps."""
    given = [*warm, *steps]
    clock = Clock(len(warm))
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder, max_steps=len(given), learning_rate=5e-5, report_to=[],
            use_cpu=not HAS_GPU, fp16=way.precision == "fp16" and HAS_GPU,
            bf16=way.precision == "bf16" and HAS_GPU, tf32=True if HAS_GPU else None,
            per_device_train_batch_size=way.size, save_strategy="no", logging_strategy="no",
            disable_tqdm=True, remove_unused_columns=False, optim=way.optimizer,
            torch_compile=way.compiled, dataloader_pin_memory=HAS_GPU,
            torch_compile_mode="reduce-overhead" if way.compiled and HAS_GPU else None,
        )  # fmt: skip
        named: dict[str, Any] = {"model": model, "args": args, "callbacks": [clock]}
        if way.ours:
            packing = Packing() if way.packed else None
            assert read_first_token(model, packing)
            compact(model, used_ids([split], [PADDING]))
            if way.compiled:
                compile_each_shape()
            ClassifierTrainer(
                tokenizer=None, train_dataset=Batches(split, way.multiple, packed=way.packed),
                data_collator=to_tensors, updates=Given(split, given), packing=packing, **named,
            ).train()  # fmt: skip
        else:
            Stock(stock_loader(way, split, given), **named).train()
    return clock.seconds


def differences(config: DistilBertConfig, split: Split) -> None:
    """Print how far logits and gradients of what leaves work out are from the whole model's."""
    device = torch.device("cuda" if HAS_GPU else "cpu")
    batches = Batches(split, 1, packed=True)
    inputs = to_tensors(batches.__getitems__(np.arange(32)))
    inputs = {name: value.to(device) for name, value in inputs.items()}
    off = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    config = DistilBertConfig(**{**config.to_dict(), **off})
    found: dict[str, tuple[Any, Any]] = {}
    for name in ("whole", "first token", "no padding"):
        torch.manual_seed(0)
        model, packing = DistilBertForSequenceClassification(config), Packing()
        if name != "whole":
            assert read_first_token(model, packing if name == "no padding" else None)
        model, given = model.to(device).train(), dict(inputs)
        with packing.of(given), torch.autocast(device.type, torch.bfloat16):
            output = model(**given)
        output.loss.backward()
        gradient = torch.cat([p.grad.flatten().float() for p in model.parameters()])
        found[name] = (output.logits.detach().float(), gradient)
        del model
    logits, gradient = found.pop("whole")
    for name, (own, own_gradient) in found.items():
        print(
            f"{name:12} in bf16: logits differ by {(own - logits).abs().max():.1e},"
            f" gradient by {(own_gradient - gradient).norm() / gradient.norm():.1e} of its norm"
        )


def measure(config: DistilBertConfig, split: Split, options: argparse.Namespace) -> None:
    """Train each way in each round; print the table of each size."""
    size = size_of({
        "vocab_size": config.vocab_size, "max_positions": 512, "dim": config.dim,
        "hidden_dim": config.hidden_dim, "layers": config.n_layers, "heads": config.n_heads,
        "types": 0, "head_layers": 1,
    })  # fmt: skip
    gpu = find_gpu(torch.cuda.get_device_name()) if HAS_GPU else None
    for batch in options.sizes:
        found: dict[str, list[float]] = {}
        memory: dict[str, float] = {}
        tokens: dict[str, Any] = {}
        for number in range(options.rounds):
            for name in options.only:
                way = replace(WAYS[name], size=batch)
                warm, counted = chosen(way, split.lengths, max(20, options.steps * 16 // batch))
                torch.manual_seed(0)
                model = DistilBertForSequenceClassification(config)
                if HAS_GPU:
                    torch.cuda.reset_peak_memory_stats()
                try:
                    seconds = train(way, split, model, warm, counted)
                except (
                    Exception
                ) as error:  # one way that fails must not cost the figures of the others
                    print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
                    continue
                rows = np.concatenate(counted)
                tokens[name] = split.lengths[rows].astype(float)
                found.setdefault(name, []).append(len(rows) / seconds)
                if HAS_GPU:
                    memory[name] = torch.cuda.max_memory_allocated() / 2**30
                print(
                    f"round {number + 1}  {batch:4}  {name:26} {found[name][-1]:9.1f} texts/s",
                    flush=True,
                )
                del model
                gc.collect()
        tell(found, memory, tokens, batch, size, gpu)


def tell(found: Any, memory: Any, tokens: Any, batch: int, size: Any, gpu: Any) -> None:
    """Print a table of medians."""
    print(
        f"\nbatches of {batch}          texts/s  tokens/s   against the article  of peak   peak memory"
    )
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    article = medians.get(ARTICLE)
    for name, rate in medians.items():
        way, lengths = WAYS[name], tokens[name]
        each = operations(size, lengths.mean(), (lengths**2).mean(), first_token_only=way.ours)
        peak = gpu and gpu.peaks.get(way.precision)
        share = f"{utilisation(each, rate, peak):8.1%}" if peak else "       ?"
        against = f"{rate / article:15.2f}x" if article else f"{'?':>16}"
        held = f"{memory[name]:8.1f} GiB" if name in memory else "       ?"
        print(f"{name:26} {rate:9.1f} {rate * lengths.mean():10.0f} {against} {share} {held}")
    print(flush=True)


def main() -> int:
    """Measure, or say that there is nothing to measure on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 256])
    parser.add_argument(
        "--steps", type=int, default=200, help="of 16 texts; fewer of larger batches"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    logging.set_verbosity_error()
    if not HAS_GPU and not options.rehearse:
        print(f"no GPU: torch {torch.__version__} sees none; nothing was measured", file=sys.stderr)
        return 2
    config = real_dimensions()
    if options.rehearse:
        config = DistilBertConfig(
            vocab_size=VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=32, num_labels=3
        )
        torch.set_num_threads(1)
    where = torch.cuda.get_device_name() if HAS_GPU else "a rehearsal on this CPU, no measurement"
    print(f"{where}; torch {torch.__version__}", flush=True)
    split = corpus(75_000, most=32 if options.rehearse else 512)
    differences(config, split)
    measure(config, split, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
