"""What settings do to the scores: skewed classes, uneven languages, batches; each with several seeds.

python benchmarks/methods.py [--seeds 3] [--at-once 2] [--languages] [--only NAME ...] KEY=VALUE ...

The overrides name data, model and length of the training, as for train.py. Printed are mean and
standard deviation over the seeds, of the test split's scores; with --languages each language's macro-F1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
METHODS = {
    "as it is": [],
    "class weights": ["data.balance=weights"],
    "balanced sampling": ["data.balance=resample"],
    "languages alike": ["data.language_alpha=0"],
    "label smoothing 0.1": ["training.label_smoothing=0.1"],
    "layer decay 0.9": ["training.layer_decay=0.9"],
    "layer decay 0.7": ["training.layer_decay=0.7"],
    "random batches": ["batching.mode=random"],
    "balanced random batches": ["batching.mode=iid_balanced"],
    "windows of 16 batches": ["batching.window=16"],
    "global": ["batching.mode=global"],
    "fp32": ["training.precision=fp32"],
    "whole last layer": ["training.first_token_only=false"],
    "the article's": [
        "batching.mode=random",
        "training.first_token_only=false",
        "training.compact_vocabulary=false",
    ],
    "worst language": ["evaluation.select=worst_language_macro_f1"],
}
SCORES = {
    "macro-F1": lambda test: test["overall"]["macro_f1"],
    "accuracy": lambda test: test["overall"]["accuracy"],
    "lowest language": lambda test: test["worst_language"]["macro_f1"],
    "rarest class F1": lambda test: _rarest(test["overall"]["classes"]),
    "calibration": lambda test: test["overall"]["calibration_error"],
}


def _rarest(classes: dict[str, Any]) -> float:
    return float(min(classes.values(), key=lambda one: one["rows"])["f1"])


def scored(typed: list[str], folder: Path) -> dict[str, float]:
    """The scores of one training."""
    command = [sys.executable, str(ROOT / "train.py"), *typed, f"runs_dir={folder}"]
    done = subprocess.run(
        [*command, f"prepared_dir={folder.parent}/prepared", "cluster.threads=1"],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    (run,) = (path for path in folder.iterdir() if path.is_dir())
    test = json.loads((run / "metrics.json").read_text())["test"]
    languages = {code: one["macro_f1"] for code, one in test["languages"].items()}
    return {**{name: score(test) for name, score in SCORES.items()}, **languages}


def main() -> None:
    """Train them all, print a line for each method as a table in Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--languages", action="store_true")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS))
    options, typed = parser.parse_known_args()
    print(f"{' '.join(typed)}; {options.seeds} seeds\n", flush=True)
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(options.at_once) as pool:
        seeds = range(1, options.seeds + 1)
        waiting = {
            (name, seed): pool.submit(
                scored, [*typed, *METHODS[name], f"seed={seed}"], Path(work, f"{place}-{seed}")
            )
            for place, name in enumerate(options.only)
            for seed in seeds
        }
        for place, name in enumerate(options.only):
            results = [waiting[name, seed].result() for seed in seeds]
            shown = list(results[0]) if options.languages else list(SCORES)
            if not place:
                print(f"| method | {' | '.join(shown)} |\n|---{'|---' * len(shown)}|")
            cells = [_mean([one[score] for one in results]) for score in shown]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _mean(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {spread:.3f}"


if __name__ == "__main__":
    main()
