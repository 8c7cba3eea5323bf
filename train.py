"""Train a classifier: on a laptop from overrides, on a worker from a job file.

python train.py                                    the embedded sample, on CPU
python train.py -m lr=1e-4,3e-4,1e-3               a sweep
torchrun --nproc_per_node=2 train.py --job job.yaml
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lingotune.config.console import exit_code_of
from lingotune.training import run as worker


def main() -> int:
    """The worker's path needs no Hydra; the laptop's composes with it and then walks the same path."""
    argv = sys.argv[1:]
    if worker.is_worker(argv, os.environ):
        return worker.main(argv)
    from lingotune.cli.train import main as train_here

    return train_here(argv, Path(__file__).resolve().parent)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
