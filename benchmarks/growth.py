"""What grows with the number of rows: preparing, the start of a training, its memory, a plan.

python benchmarks/growth.py [--rows 100000 300000 1200000] [--steps 8] [--folder DIR]

Generated reviews of each size are prepared, trained on for a few updates by the tiny model, and planned
with, each by the command that a user types. A machine that others use makes the clock worthless: printed
are processor seconds of a command and its children, and the peak of the memory that is theirs alone, all
processes together (pages of mapped files are left out: the system takes them back when it needs them).
The start of a training lasts until its first update begins. The first one on a machine writes the flat
files of the data, the second one hashes them, all others find them as they were.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from reviews import write_reviews

ROOT = Path(__file__).resolve().parent.parent
REVIEWS = (
    "data=files", "data.columns.text=review_body", "data.columns.stars=stars",
    "data.columns.language=language",
    "data.labels=[{name: negative, values: ['1','2']}, {name: neutral, values: ['3']}, "
    "{name: positive, values: ['4','5']}]", "model=tiny",
)  # fmt: skip
BYTES = 1_500
"""Bytes of disk for a row, about: its text, spooled, as a shard and as flat files."""
CLOCK = '''
import json, os, resource
from transformers import TrainerCallback
from lingotune.plugins import callback

def spent():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

@callback
class Clock(TrainerCallback):
    """Writes what the start took, and ends the process after the last update: what follows is scoring."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self.start = spent()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == state.max_steps:
            with open(os.environ["GROWTH"], "w") as file:
                json.dump({"start": self.start}, file)
            os._exit(0)
'''


@dataclass
class Spent:
    """Processor seconds and peak megabytes of a command with its children."""

    seconds: float
    megabytes: float


def anonymous(root: int) -> int:
    """Kilobytes of memory of a process and its descendants that no file backs."""
    parents, sizes = {}, {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                status = Path(entry.path, "status").read_text()
            except OSError:
                continue  # it has ended
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            parents[int(entry.name)] = int(fields["PPid"])
            sizes[int(entry.name)] = int(fields.get("RssAnon", "0 kB").split()[0])
    mine = {root}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return sum(sizes.get(pid, 0) for pid in mine)


def measured(command: list[str], **environment: str) -> Spent:
    """Run a command to its end."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **environment}, text=True,
    )  # fmt: skip
    peak, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, anonymous(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    over.set()
    watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command)}\n{output}")
    return Spent(usage.ru_utime + usage.ru_stime, peak / 1024)


def measure(rows: int, steps: int, folder: Path) -> dict[str, Spent]:
    """Prepare, train on and plan with so many rows; training ends after its last update."""
    source, clock, told = folder / f"{rows}.jsonl", folder / "clock.py", folder / "start.json"
    write_reviews(source, rows)
    clock.write_text(CLOCK, encoding="utf-8")
    given = [*REVIEWS, f"data.path={source}", f"prepared_dir={folder}/prepared"]
    python = [sys.executable, "-m", "lingotune"]
    train = [
        *python, "train", *given, f"training.max_steps={steps}", "training.eval_strategy=none",
        f"runs_dir={folder}/runs", f"code.file={clock}", "code.callbacks=[Clock]",
    ]  # fmt: skip
    plan = [*python, "launch", *given, "cluster=p3_16xl"]
    found = {
        "plan, not prepared": measured(plan),
        "prepare": measured([*python, "prepare", *given]),
    }
    for name in ("first start", "second start", "start"):
        whole = measured(train, GROWTH=str(told))
        found[name] = Spent(json.loads(told.read_text())["start"], whole.megabytes)
        time.sleep(SETTLED)
    found["plan"] = measured(plan)
    shutil.rmtree(folder / "prepared")
    source.unlink()
    return found


SETTLED = 2.5
"""Seconds after which the digest of a file that was written is kept on a machine."""


def tell(found: dict[int, dict[str, Spent]]) -> None:
    """Print seconds and megabytes by number of rows, and what a row adds, from the fewest to the most."""
    sizes = sorted(found)
    least, most = sizes[0], sizes[-1]
    print(f"{'':20}" + "".join(f"{rows:>21,}" for rows in sizes) + f"{'a row adds':>23}")
    for name in found[least]:
        cells = (
            f"{of.seconds:10.2f} s {of.megabytes:6.0f} MB" for of in (found[n][name] for n in sizes)
        )
        line = f"{name:20}" + "".join(cells)
        if most > least:
            one, other = found[least][name], found[most][name]
            seconds, megabytes = other.seconds - one.seconds, other.megabytes - one.megabytes
            each = most - least
            line += f"{seconds / each * 1e6:11.2f} us {megabytes / each * 2**20:6.0f} B"
        print(line)


def main() -> None:
    """Measure each size, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_200_000])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where there is room; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        needed, free = BYTES * max(options.rows), shutil.disk_usage(folder).free
        if needed > free:
            raise SystemExit(
                f"{folder}: {free / 1e9:.1f} GB are free, {needed / 1e9:.1f} needed; --folder, --rows"
            )
        os.environ["LINGOTUNE_CACHE"] = f"{folder}/cache"
        tell({rows: measure(rows, options.steps, Path(folder)) for rows in options.rows})


if __name__ == "__main__":
    main()
