"""How fast training batches are read: ours against rows and a collator, interleaved, one process.

python benchmarks/reader.py [--rows 100000] [--rounds 3] [--batch 16]

Both are what a Trainer iterates over, without worker processes, and give padded tensors of the same rows,
each in the order that it trains in. The other way is the usual one: torch's DataLoader over random rows of
a `datasets` table of token lists, and DataCollatorWithPadding.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datasets import load_dataset
from reviews import write_reviews, write_tokenizer
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, DataCollatorWithPadding

from lingotune.config.schema import (
    BatchingConfig,
    ColumnsConfig,
    DataConfig,
    LabelConfig,
    ModelConfig,
    Source,
)
from lingotune.data.loader.store import Store
from lingotune.data.prepared.prepare import prepare
from lingotune.estimate.bucketing import BatchShape
from lingotune.training.dataloader import Batches, Loader, Updates, to_tensors

STARS = {"negative": ["1", "2"], "neutral": ["3"], "positive": ["4", "5"]}


def rows_per_second(loader: Iterable[Any], most: float) -> float:
    """Of a loader, in at most so many seconds."""
    begun, rows = time.monotonic(), 0
    for batch in loader:
        rows += len(batch["labels"])
        if time.monotonic() - begun > most:
            break
    return rows / (time.monotonic() - begun)


def main() -> None:
    """Print medians and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_reviews(work / "reviews.jsonl", options.rows)
        write_tokenizer(work / "tokenizer")
        labels = [LabelConfig(name, values) for name, values in STARS.items()]
        columns = ColumnsConfig(stars="stars", language="language")
        data = DataConfig(
            "files", Source.files, path=str(work / "reviews.jsonl"), columns=columns, labels=labels
        )
        folder, _ = prepare(data, ModelConfig("m", str(work / "tokenizer")), 42, work, print)
        files = [str(path) for path in sorted(folder.glob("train-*.parquet"))]
        table = load_dataset("parquet", data_files=files, split="train", cache_dir=str(work))
        table = table.select_columns(["input_ids", "label"])
        tokenizer = AutoTokenizer.from_pretrained(str(work / "tokenizer"))
        begun = time.monotonic()
        split = Store(folder).split("train")
        print(f"store of {len(split)} rows made in {time.monotonic() - begun:.2f} s")
        begun = time.monotonic()
        split = Store(folder).split("train")
        print(f"found again in {time.monotonic() - begun:.2f} s")
        loaders = {
            "rows and collator": DataLoader(
                table, options.batch, shuffle=True, collate_fn=DataCollatorWithPadding(tokenizer)
            ),
            "lingotune": Loader(
                Batches(split, 1),
                Updates(split, BatchingConfig(), BatchShape(1, 1, options.batch), 0, 0),
                to_tensors,
            ),
        }
        rates: dict[str, list[float]] = {name: [] for name in loaders}
        for _ in range(options.rounds):
            for name, loader in loaders.items():
                rates[name].append(rows_per_second(loader, 10))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"batches of {options.batch}, {options.rounds} rounds")
    for name, rate in medians.items():
        print(f"{name:18} {rate:9.0f} rows/s ({min(rates[name]):.0f} to {max(rates[name]):.0f})")
    print(f"ratio {medians['lingotune'] / medians['rows and collator']:.1f}")


if __name__ == "__main__":
    main()
