"""A run that is killed at random moments and started again until it is finished.

python tests/killing.py JOB_FILE RUN_DIR KILLS SEED   prints {"kills": ..., "codes": [...]} as JSON

Imports once and forks each attempt, so that a kill costs about a second instead of ten.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def attempt(job_file: str, run_dir: str, moment: Callable[[int], None] | None) -> int:
    """Exit code of one attempt, -9 where it was killed; `moment` waits for when that shall be."""
    child = os.fork()
    if child == 0:
        with Path(f"{run_dir}.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        from lingotune.config.console import exit_code_of
        from lingotune.training.run import main

        os._exit(exit_code_of(lambda: main(["--job", job_file, "--run-dir", run_dir])))
    if moment is not None:
        moment(child)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def moments(run_dir: str, choose: random.Random) -> Iterator[Callable[[int], None]]:
    """Yield now any moment of a run, now one near a checkpoint, by the run's own clock: that of its CPU."""

    def anytime(child: int) -> None:
        work(child, choose.uniform(0.3, 2.5))

    def near_a_checkpoint(child: int) -> None:
        before = newest_checkpoint(run_dir)
        while newest_checkpoint(run_dir) == before and not has_ended(child):
            time.sleep(0.005)
        work(child, choose.uniform(0, 0.3))

    while True:
        yield near_a_checkpoint
        yield anytime


def newest_checkpoint(run_dir: str) -> str:
    """Name of the newest that has its manifest."""
    found = Path(run_dir, "checkpoints").glob("checkpoint-*/manifest.json")
    return max((path.parent.name for path in found), key=lambda n: (len(n), n), default="")


def work(child: int, seconds: float) -> None:
    """Let a child use that much CPU time, or come to its end."""
    enough = cpu_seconds(child) + seconds
    while cpu_seconds(child) < enough and not has_ended(child):
        time.sleep(0.005)


def cpu_seconds(child: int) -> float:
    stat = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def has_ended(child: int) -> bool:
    """Whether a child waits to be buried."""
    state = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return state == "Z"


def kill_and_resume(job_file: str, run_dir: str, kills: int, seed: int) -> dict[str, object]:
    """At most so many kills, each at a random moment of a run's length; the last one may finish."""
    import lingotune.report.charts
    import lingotune.report.tables
    import lingotune.training.fit  # noqa: F401  imported once, for all attempts

    codes: list[int] = []
    for moment in moments(run_dir, random.Random(seed)):
        if codes.count(-9) == kills:
            break
        codes.append(attempt(job_file, run_dir, moment))
        if codes[-1] != -9:
            break
    if codes[-1:] != [0]:
        codes.append(attempt(job_file, run_dir, None))
    return {"kills": codes.count(-9), "codes": codes}


if __name__ == "__main__":
    print(json.dumps(kill_and_resume(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))


def metrics(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return loaded


def outcome(folder: Path) -> dict[str, Any]:
    """What an interruption must not change: weights, optimizer, scores, curves."""
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
        "moments": {i: {k: v.tolist() for k, v in state.items()} for i, state in moments.items()},
        "scores": scores,
        "best": metrics(folder)["training"]["best_step"],
        "curves": {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
            if tag.endswith(("/loss", "/grad_norm", "/learning_rate")) or "f1" in tag
        },
    }
