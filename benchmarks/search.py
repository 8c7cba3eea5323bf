"""How much training a search with early ends needs: real trainings on the SageMaker of this machine.

python benchmarks/search.py [--seeds 1 2 3] [--search tpe] [--slots 2] [--epochs 15] [--rows 300]
    [--space KEY=VALUE,VALUE ...] [--first-rung N] [--dir DIR] [OVERRIDE ...]

A grid of 12 configurations, each trained to its end, says which is the best. Then the same configurations
are searched with `sweep.prune=asha`, once for each seed, through the commands that a user types:
plan, submit, results. Printed are the epochs that were trained, the winner with its place in the grid, and
what SageMaker would bill. --dir keeps the runs; the same command again goes on from there.

It trains a tiny model from scratch on generated reviews. Overrides choose others, behind `--`, e.g.
`--space lr=1e-5,1e-4 -- model=pretrained model.name_or_path=/DIR data=files data.path=/reviews.jsonl`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.schema import RehearsalConfig
from lingotune.launch.results.collect import of_sweep
from lingotune.launch.results.entries import Leaderboard
from lingotune.launch.simulator.loopback.fake_account import BUCKET, REGION, ROLE
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.standing import Settings, account
from lingotune.launch.sweeps.trial import State

LAUNCH = Path(__file__).resolve().parent.parent / "launch.py"
SPACE = ("lr=1e-4,3e-4,1e-3,3e-3", "per_device_bs=16,32,64")
"""Twelve configurations, of which some are hopeless."""
EXTENT = RehearsalConfig(ranks=1, steps=None, rows=None)
"""The whole of each job, in one process, as it would have one GPU."""


@dataclass(frozen=True)
class Sweep:
    """A sweep that has ended. seconds: by the clock. board: its results."""

    name: str
    seconds: float
    board: Leaderboard

    @property
    def epochs(self) -> int:
        """Epochs over all jobs, each of which ends with an evaluation."""
        return sum(len(entry.evaluations) for entry in self.board.entries)

    @property
    def best(self) -> tuple[tuple[str, str], ...]:
        """Swept keys and values of the winner."""
        return tuple(sorted(self.board.ranked[0].varies.items()))

    def row(self, grid: Sweep) -> list[str]:
        """Write it as a line of the table."""
        places = [tuple(sorted(one.varies.items())) for one in grid.board.ranked]
        ended = sum(entry.state is State.pruned for entry in self.board.entries)
        usd = sum(entry.usd or 0.0 for entry in self.board.entries)
        return [
            self.name,
            str(len(self.board.entries)),
            str(ended),
            str(self.epochs),
            f"{self.epochs / grid.epochs:.0%}",
            " ".join(f"{key}={value}" for key, value in self.best),
            f"{self.board.ranked[0].mean:.4f}",
            f"{places.index(self.best) + 1} of {len(places)}",
            f"{usd:.2f}",
            f"{self.seconds:.0f}",
        ]


HEAD = ["sweep", "jobs", "ended early", "epochs", "of the grid", "winner", "validation macro-F1",
        "its place in the grid", "USD", "seconds"]  # fmt: skip


def run(name: str, folder: Path, slots: int, typed: list[str]) -> Sweep:
    """Plan, submit and follow a sweep to its end, in an account of its own: its results.

    Otherwise a search would find the jobs of the grid, and take them in place of its own.
    """
    settings = Settings(
        quotas=Quotas(slots), rehearsal=EXTENT, folder=folder / "accounts" / name, goes_on=True
    )
    command = [sys.executable, str(LAUNCH), "-m", *typed, f"sweep.name={name}"]
    names = [f"aws.role={ROLE}", f"aws.bucket={BUCKET}", f"aws.region={REGION}"]
    with account(settings, print):
        subprocess.run([*command, *names], cwd=folder, check=True)
        start = time.monotonic()
        subprocess.run([*command, *names, "action=submit", "--follow"], cwd=folder, check=True)
    return Sweep(name, time.monotonic() - start, of_sweep(folder / "runs" / name))


def main() -> None:
    """Run the grid and the searches, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--search", default="tpe", choices=["tpe", "random"])
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--rows", type=int, help="generated training rows of each language")
    parser.add_argument("--space", nargs="+", default=SPACE, help="swept keys: 12 configurations")
    parser.add_argument("--first-rung", type=int, help="sweep.min_evaluations of the searches")
    parser.add_argument("--dir", help="folder that keeps the runs and the account")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    settings = [*options.space, "cluster=p3_2xl", f"epochs={options.epochs}", *options.overrides]
    if not any(override.startswith("data=") for override in options.overrides):
        settings.append(f"data.sample.train_rows={options.rows or 300}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.dir or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        grid = run("grid", folder, options.slots, settings)
        rows = [HEAD, grid.row(grid)]
        for seed in options.seeds:
            search = [
                f"sweep.search={options.search}", "sweep.trials=12", f"sweep.seed={seed}",
                "sweep.prune=asha",
            ]  # fmt: skip
            if options.first_rung is not None:
                search.append(f"sweep.min_evaluations={options.first_rung}")
            name = f"{options.search}-{seed}"
            rows.append(run(name, folder, options.slots, [*settings, *search]).row(grid))
    print(f"\n{os.cpu_count()} cores")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
