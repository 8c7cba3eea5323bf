"""A run that is killed at random moments and started again until it is finished.

python tests/killing.py JOB_FILE RUN_DIR KILLS SEED   prints the exit codes of its attempts as JSON

Imports once and forks each attempt, so that a kill costs half a second instead of ten. No clock of a busy
machine chooses the moment: it is an amount of CPU time, a file operation by its number, or the size of a
file.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import importlib
import itertools
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warm import IMPORTS

SMALL = [
    "model.scratch.dim=32",
    "model.scratch.layers=1",
    "model.scratch.hidden_dim=64",
    "model.scratch.vocab_size=400",
    "data.sample.train_rows=40",
    "data.sample.validation_rows=10",
    "data.sample.test_rows=10",
    "data.max_length=32",
    "per_device_bs=8",
    "scaling.accumulation=2",
    "training.logging_steps=1",
    "training.save_steps=2",
    "training.keep_checkpoints=2",
    "epochs=2",
    "data.balance=resample",
    "training.layer_decay=0.8",
    "training.label_smoothing=0.1",
    "data.language_alpha=0.5",
]
STEPS = 30
"""Updates of a small run; a checkpoint every second and after each evaluation; each epoch draws anew."""
KILLED = (-signal.SIGKILL, -signal.SIGXFSZ)
"""Exit codes of a process that was killed: by a signal, or within a write."""
_WRITING = os.O_WRONLY | os.O_RDWR
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod")


# --- moments, chosen in the process that is to be killed ------------------------------------------


def after_work(seconds: float) -> None:
    """Have the kernel kill this process once it has computed for so much longer."""
    libc, timer = ctypes.CDLL(None, use_errno=True), ctypes.c_void_p()
    event = (ctypes.c_int * 16)(0, 0, signal.SIGKILL)
    once = (ctypes.c_long * 4)(0, 0, int(seconds), 1 + int(seconds % 1 * 1e9))
    process_cputime = 2
    if libc.timer_create(process_cputime, event, ctypes.byref(timer)) or libc.timer_settime(
        timer, 0, once, None
    ):
        raise OSError(ctypes.get_errno(), "no timer")


def on_operations(act: Callable[[], None]) -> None:
    """Call `act` before each of this process's file operations: opening to write, renaming, deleting,
    making a folder, flushing to disk."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and _to_write(*args)):
            act()

    def flush(handle: int) -> None:
        act()
        real(handle)

    real, os.fsync = os.fsync, flush  # type: ignore[assignment]
    sys.addaudithook(hook)


def at_operation(number: int, act: Callable[[], None]) -> None:
    """Call `act` before the file operation of that number."""
    left = itertools.count(number, -1)
    next(left)
    on_operations(lambda: act() if next(left) == 0 else None)


def _to_write(path: object, mode: str | None, flags: int) -> bool:
    return bool(flags & _WRITING) if mode is None else any(letter in mode for letter in "wax+")


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def within_a_write(size: int) -> None:
    """Have the kernel kill this process in the middle of any write that goes beyond that many bytes of a
    file, by whatever library."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@dataclass(frozen=True)
class Length:
    """Length of a run that nobody kills: CPU seconds, file operations, bytes of its largest file."""

    seconds: float = 1.0
    operations: int = 600
    largest: int = 200_000

    def left(self, done: float) -> Length:
        """Estimate what is left once a share of the updates is done: start and end take their time."""
        share = 1 - 0.6 * done
        return Length(share * self.seconds, int(share * self.operations), self.largest)


Moment = Callable[[], None]
BY_FILES = ("operation", "write")
"""Kinds of moments that are the same on any machine."""


def moment(
    choose: random.Random, length: Length, kinds: Sequence[str] = ("work", *BY_FILES)
) -> Moment:
    """Choose a moment of a run, uniformly by its work or by its file operations."""
    kind = choose.choice(kinds)
    if kind == "work":
        seconds = choose.uniform(0, length.seconds)
        return lambda: after_work(seconds)
    number = choose.randint(1, length.operations)
    if kind == "operation":
        return lambda: at_operation(number, kill)
    size = int(length.largest ** choose.random())
    return lambda: at_operation(number, lambda: within_a_write(size))


# --- attempts -------------------------------------------------------------------------------------


Body = Callable[[], int]
"""What an attempt does; returns its exit code."""


def begin(body: Body, log: Path, when: Moment | None) -> int:
    """Start an attempt that may be killed at a moment, and return its process."""
    child = os.fork()
    if child:
        return child
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    gc.enable()
    if when:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        when()
    code = body()
    sys.stdout.flush()
    os._exit(code)


def training(job: Path, run: Path) -> Body:
    """Train, or go on with, a job in a run folder."""
    from lingotune.config.console import exit_code_of
    from lingotune.training.run import main

    return lambda: exit_code_of(lambda: main(["--job", str(job), "--run-dir", str(run)]))


def log_of(run: Path, rank: int = 0) -> Path:
    """The file beside a run folder with what a process of it has printed."""
    return run.with_name(f"{run.name}.{rank}.log")


def ended(child: int) -> int:
    """Exit code of an attempt, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def steps_done(run: Path) -> int:
    """Update of the newest checkpoint that has its manifest; 0 without one."""
    found = run.glob("checkpoints/checkpoint-*/manifest.json")
    return max((int(path.parent.name.rpartition("-")[2]) for path in found), default=0)


def warm_up() -> None:
    """Import once, for all attempts, what a training does; pictures need not be possible."""
    ours = ("training.run", "training.watch", "training.finishing", "data.prepared.prepare",
            "hub.model_folder", "report.run_charts")  # fmt: skip
    for module in (*IMPORTS["training"], *(f"lingotune.{name}" for name in ours)):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page


def kill_and_resume(job: Path, run: Path, kills: int, choose: random.Random) -> list[int]:
    """Kill a run at most so often, and let it finish then; returns the exit codes of its attempts."""
    codes: list[int] = []
    while not codes or codes[-1] in KILLED:
        left = Length().left(steps_done(run) / STEPS)
        when = moment(choose, left, BY_FILES) if len(codes) < kills else None
        codes.append(ended(begin(training(job, run), log_of(run), when)))
    return codes


def job_file(folder: Path, *overrides: str) -> Path:
    """Write the job file of a small run."""
    from conftest import compose  # imports more than an attempt needs

    from lingotune.config.jobfile import dump_job, job_of

    path = folder / "job.yaml"
    path.write_bytes(dump_job(job_of(compose(*SMALL, *overrides))))
    return path


# --- what must be the same ------------------------------------------------------------------------


def metrics(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return loaded


def _plain(value: Any) -> Any:
    """A tensor of an optimizer's state as a list; Adafactor counts steps in plain numbers."""
    return value.tolist() if hasattr(value, "tolist") else value


def outcome(folder: Path) -> dict[str, Any]:
    """What an interruption must not change: weights, optimizer, scores, curves, predictions."""
    import torch
    from safetensors.torch import load_file
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    last = max(
        (folder / "checkpoints").glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1])
    )
    moments = {
        (path.name, number): state
        for path in last.glob("optimizer*.pt")
        for number, state in torch.load(path, weights_only=True)["state"].items()
    }
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    scores = {k: v for k, v in metrics(folder).items() if k in ("validation", "test", "labels")}
    return {
        "weights": {
            k: v.tolist() for k, v in load_file(folder / "model/model.safetensors").items()
        },
        "moments": {i: {k: _plain(v) for k, v in state.items()} for i, state in moments.items()},
        "schedule and random states": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for pattern in ("scheduler.pt", "rng_state*.pth")
            for path in last.glob(pattern)
        },
        "scores": scores,
        "predictions": hashlib.sha256((folder / "predictions.parquet").read_bytes()).hexdigest(),
        "best": metrics(folder)["training"]["best_step"],
        "curves": {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
            if tag.endswith(("/loss", "/grad_norm", "/learning_rate")) or "f1" in tag
        },
    }


if __name__ == "__main__":
    job, run, kills, seed = sys.argv[1:]
    warm_up()
    print(json.dumps(kill_and_resume(Path(job), Path(run), int(kills), random.Random(int(seed)))))
