"""Wall time of plans as a user waits for them: one job, 8 jobs of two groups, 100 learning rates.

Prints the median of several runs beside an empty interpreter start and the eager import of what a
plan must not import, all interleaved: on a shared machine only the ratios mean something.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
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
    "launch.py plan, 100 jobs": [
        "launch.py",
        "-m",
        "cluster=p3_16xl",
        "lr=" + ",".join(f"{n}e-6" for n in range(1, 101)),
    ],
    "import sagemaker (not on the plan's path)": ["-c", "import sagemaker"],
    "import transformers.Trainer (not on it)": ["-c", "from transformers import Trainer"],
}


def main(rounds: int = 5) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, timeout=300
            )
            seconds[name].append(time.perf_counter() - start)
    print(f"{'seconds, warm':45}{'median':>8}{'min':>8}{'max':>8}")
    for name, all_runs in seconds.items():
        warm = all_runs[1:]
        print(f"{name:45}{statistics.median(warm):8.2f}{min(warm):8.2f}{max(warm):8.2f}")


if __name__ == "__main__":
    main()
