"""What a person waits for before anything happens: CPU and wall time, interleaved, medians.

    python benchmarks/startup.py [--rounds N] [--only NAME ...] [--model FOLDER]

The first step of a training on prepared data, and `predict` of one text, each beside the imports of the
libraries alone and the loading of the same model; `--help`; a plan. FOLDER: a local model of transformers;
default: one of the size of `model=tiny`. On a shared machine only the ratios of CPU times mean something.
Ends with a profile: seconds of imports by package, until the first step and in the libraries alone. Linux
only.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
TRAINER = """
import sys, torch
from transformers import AutoModelForSequenceClassification, Trainer
AutoModelForSequenceClassification.from_pretrained(sys.argv[1], num_labels=3)
"""
CLASSIFIER = """
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1])
AutoModelForSequenceClassification.from_pretrained(sys.argv[1], num_labels=3)
"""
TEXT = "Great product, works perfectly"
FIRST_STEP = b"step 1/"
SHOWN = 16
"""Packages of the profile."""


@dataclass(frozen=True)
class Command:
    """A command of Python. until: what its output holds when it is measured; None = at its end. beside:
    name of the command that it is compared with."""

    arguments: Sequence[str]
    until: bytes | None = None
    beside: str | None = None


def commands(folder: Path, model: Path, run: Path) -> dict[str, Command]:
    """Return the commands by name. folder: where runs are made. run: of a model to predict with."""
    quick = [f"runs_dir={folder}/runs", f"prepared_dir={folder}/prepared", "baseline=none"]
    given = ["model=pretrained", f"model.name_or_path={model}", "training.logging_steps=1"]
    lines = [*given, "training.max_steps=3", *quick]
    libraries = {
        "import Trainer, load the model": Command(["-c", TRAINER, str(model)]),
        "import, load model and tokenizer": Command(["-c", CLASSIFIER, str(run / "model")]),
    }
    training, prediction = libraries
    return {
        **libraries,
        "train.py, to its first step": Command(["train.py", *lines], FIRST_STEP, training),
        "predict of one text": Command(
            ["-m", "lingotune", "predict", str(run), TEXT], beside=prediction
        ),
        "lingotune --help": Command(["-m", "lingotune", "--help"]),
        "train.py --help": Command(["train.py", "--help"]),
        "launch.py, plan of one job": Command(["launch.py", "cluster=p3_16xl", "per_device_bs=16"]),
    }


def measured(command: Command) -> tuple[float, float]:
    """Return the seconds of CPU and of wall time that a command takes, with its threads."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command.arguments], cwd=ROOT, stdout=subprocess.PIPE, bufsize=0,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if command.until and command.until in line:
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                spent = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
                wall = time.perf_counter() - started
                process.kill()
                process.wait()
                return spent, wall
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or command.until:
        raise RuntimeError(f"{command.arguments}: {process.returncode}, or its line did not come")
    return used.ru_utime + used.ru_stime, time.perf_counter() - started


def imports(command: Command) -> Counter[str]:
    """Sum the seconds of a command's imports, until its line if it has one, by package."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *command.arguments], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    found: Counter[str] = Counter()
    with process.stdout as output:
        for line in output:
            if command.until and command.until in line:
                break
            if match := re.match(rb"import time: +(\d+) \| +\d+ \| *([^.\s]+)", line):
                found[match[2].decode()] += int(match[1])
    process.kill()
    process.wait()
    return Counter({name: microseconds / 1e6 for name, microseconds in found.items()})


def a_run(folder: Path, model: Path | None) -> tuple[Path, Path]:
    """Train for two steps; returns the model to start from, and the run. Prepares the data as well."""
    given = ["model=tiny"]
    if model:
        given = ["model=pretrained", f"model.name_or_path={model}"]
    _train(folder, given)
    (run,) = (folder / "runs").glob("*-*/")
    if model is None:
        model = folder / "model"
        shutil.copytree(run / "model", model)
        (model / "job.yaml").unlink()
        _train(folder, ["model=pretrained", f"model.name_or_path={model}"])
    return model, run


def _train(folder: Path, given: Sequence[str]) -> None:
    dirs = [f"runs_dir={folder}/runs", f"prepared_dir={folder}/prepared", "baseline=none"]
    subprocess.run(
        [sys.executable, "train.py", *given, "training.max_steps=2", *dirs],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=None, help="words in the names of commands")
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = options.model.resolve() if options.model else None
        all_of_them = commands(folder, *a_run(folder, model))
        chosen = {
            name: command
            for name, command in all_of_them.items()
            if options.only is None or any(word in name for word in options.only)
        }
        for name in [command.beside for command in chosen.values() if command.beside]:
            chosen.setdefault(name, all_of_them[name])
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
        for _ in range(options.rounds + 1):  # the first warms up
            for name, command in chosen.items():
                times[name].append(measured(command))
        show({name: values[1:] for name, values in times.items()}, chosen)
        profile([name for name, command in chosen.items() if command.beside], chosen)


def show(times: dict[str, list[tuple[float, float]]], chosen: dict[str, Command]) -> None:
    """Print medians, spread, and the median of the ratios in each round."""
    table = Table("seconds", "CPU", "wall", "CPU, times", "wall, times", box=None)
    for name, values in times.items():
        row = [_spread([one[kind] for one in values]) for kind in (0, 1)]
        if beside := chosen[name].beside:
            for kind in (0, 1):
                pairs = zip(values, times[beside])
                row.append(_spread([one[kind] / other[kind] for one, other in pairs]))
        table.add_row(name, *row)
    Console(width=120).print(table)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def profile(names: Sequence[str], chosen: dict[str, Command]) -> None:
    """Print the seconds of imports by package for commands and what they are compared with."""
    for name in names:
        beside = chosen[name].beside
        assert beside is not None
        ours, theirs = imports(chosen[name]), imports(chosen[beside])
        table = Table(f"imports, s: {name}", "here", "libraries alone", box=None)
        for package, _ in (ours | theirs).most_common(SHOWN):
            table.add_row(package, f"{ours[package]:.2f}", f"{theirs[package]:.2f}")
        table.add_row("all", f"{ours.total():.2f}", f"{theirs.total():.2f}")
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
