"""Time of plans as a user waits for them: one job, 8 jobs of two groups, 10 to 1000 learning rates.

Prints the median of several runs beside an empty interpreter start and the eager import of what a
plan must not import, all interleaved: on a shared machine only the ratios mean something, and processor
time, of which each further job of a sweep takes as much whatever their number.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SWEEPS = (10, 100, 1000)
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import hydra, omegaconf": ["-c", "import hydra, omegaconf"],
    "launch.py plan, one job": ["launch.py", "cluster=p3_16xl", "per_device_bs=16"],
    "launch.py plan, 8 jobs": [
        "launch.py",
        "-m",
        "cluster=p3_16xl,p4d_24xl",
        "lr=1e-5,2e-5,3e-5,5e-5",
    ],
    **{
        f"launch.py plan, {jobs} jobs": [
            "launch.py",
            "-m",
            "cluster=p3_16xl",
            "lr=" + ",".join(f"{n}e-7" for n in range(1, jobs + 1)),
        ]
        for jobs in SWEEPS
    },
    "import sagemaker (not on the plan's path)": ["-c", "import sagemaker"],
    "import transformers.Trainer (not on it)": ["-c", "from transformers import Trainer"],
}


def main(rounds: int = 5) -> None:
    """Print seconds of each command, and the milliseconds that a job of a sweep adds."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    processor: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            start, before = time.perf_counter(), _of_children()
            subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, timeout=900
            )
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(_of_children() - before)
    print(f"{'seconds, warm':45}{'median':>8}{'min':>8}{'max':>8}{'processor':>11}")
    for name, all_runs in seconds.items():
        warm, spent = all_runs[1:], statistics.median(processor[name][1:])
        print(
            f"{name:45}{statistics.median(warm):8.2f}{min(warm):8.2f}{max(warm):8.2f}{spent:11.2f}"
        )
    one = statistics.median(processor["launch.py plan, one job"][1:])
    for jobs in SWEEPS:
        many = statistics.median(processor[f"launch.py plan, {jobs} jobs"][1:])
        print(
            f"each of {jobs} jobs: {1000 * (many - one) / (jobs - 1):.1f} ms of processor time more"
        )


def _of_children() -> float:
    """Processor seconds of all commands so far."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
