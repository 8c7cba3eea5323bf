"""What padding and waiting cost, exactly: tokens computed for a text, by how batches are made. No clock.

python benchmarks/padding.py [FOLDER_OF_PREPARED_DATA]

Without a folder the lengths are those of the published percentiles of amazon_reviews_multi. Beside ours
stands the sampler of the Trainer's `group_by_length`, run for real.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from corpus import grouped

from lingotune.config.schema import BatchingConfig, BatchMode
from lingotune.data.loader.store import Store
from lingotune.estimate.bucketing import BatchShape, Epoch, efficiency, plan_epoch
from lingotune.launch.plan.lengths import published

SHAPES = [
    BatchShape(1, 1, 16),
    BatchShape(1, 1, 64),
    BatchShape(8, 1, 16),
    BatchShape(8, 1, 128),
    BatchShape(16, 1, 32),
]
EPOCHS = 3


def whole_steps(epoch: Epoch) -> Epoch:
    """Without the last, smaller update, which transformers' samplers fill up with repeated texts."""
    steps = len(epoch.order) // epoch.shape.batch
    return Epoch(
        epoch.order[: steps * epoch.shape.batch],
        epoch.cuts[: steps * epoch.shape.parts + 1],
        epoch.shape,
    )


def main() -> None:
    """Print a table for each number of processes and size of batch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    folder = parser.parse_args().folder
    if folder:
        lengths = Store(Path(folder)).split("train").lengths
    else:
        lengths = published("amazon_reviews_multi", 75_000)
    lengths = np.minimum(lengths, 512)
    print(f"{len(lengths)} texts, {lengths.mean():.2f} tokens, median {np.median(lengths):.0f},")
    print(f"p95 {np.percentile(lengths, 95):.0f}, p99 {np.percentile(lengths, 99):.0f}")
    for shape in SHAPES:
        print(f"\n{shape.world} processes x {shape.size} texts, mean of {EPOCHS} epochs")
        print(
            "batches                   text    padded  straggler  critical  against random  group_by_length"
        )
        found = {}
        for name in ("random", "group_by_length", "iid_balanced", "window", "global"):
            epochs = []
            for epoch in range(EPOCHS):
                if name == "group_by_length":
                    planned = grouped(lengths, shape, epoch)
                else:
                    mode = BatchingConfig(BatchMode[name])
                    planned = whole_steps(plan_epoch(lengths, mode, shape, 0, epoch))
                epochs.append(efficiency(planned, lengths))
            found[name] = [
                float(np.mean([getattr(one, field) for one in epochs]))
                for field in ("share", "padded", "straggler", "critical")
            ]
        # What no plan can be better than.
        found["no padding, no waiting"] = [1.0, lengths.mean(), 1.0, lengths.mean()]
        for name, (share, padded, straggler, critical) in found.items():
            against = [found[other][3] / critical for other in ("random", "group_by_length")]
            print(
                f"{name:23} {share:6.3f} {padded:9.1f} {straggler:10.3f} {critical:9.1f}"
                f" {against[0]:14.2f}x {against[1]:15.2f}x"
            )


if __name__ == "__main__":
    main()
