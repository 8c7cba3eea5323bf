"""Runs of several kinds, each killed again and again, and compared with those that nobody killed.

python tests/kill_proof.py --kills 3000 --seed 1 [--ranks 2] [--stock]   prints what was lost as JSON

--stock: the stock Trainer with resume_from_checkpoint=True instead, killed in the same ways: the control.
"""

from __future__ import annotations

import argparse
import itertools
import json
import mmap
import os
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import killing
from forked import ended, name_meeting
from killing import (
    KILLED,
    STEPS,
    Body,
    Length,
    Moment,
    begin,
    job_file,
    log_of,
    steps_done,
    training,
)

from lingotune.config.jobfile import load_job
from lingotune.runs.folder import folders_in
from lingotune.runs.inventory import changed_files, read_inventory

VARIANTS = {
    "accumulation, resampled": [],
    "whole layers, all embeddings, random batches, a checkpoint per step": [
        "training.first_token_only=false", "training.compact_vocabulary=false", "batching.mode=random",
        "scaling.accumulation=1", "per_device_bs=16", "training.save_steps=1",
    ],
    "lean layers, compact vocabulary, evaluations between": [
        "training.compact_vocabulary=true", "data.balance=weights", "training.eval_strategy=steps",
        "training.eval_steps=4", "training.save_steps=3", "training.keep_checkpoints=3",
    ],
    "checkpoints with evaluations alone, cosine": ["training.schedule=cosine", "training.save_steps=null"],
    "adafactor, a frozen layer, layers computed again, restarts, a part of an epoch": [
        "training.optimizer=adafactor", "model.scratch.layers=2", "training.freeze_layers=1",
        "training.gradient_checkpointing=true", "training.schedule=cosine_with_restarts",
        "model.head_dropout=0.3", "epochs=1.96",
    ],
}  # fmt: skip
RANKS = {
    "whole optimizer": ["cluster.processes=2", "per_device_bs=4"],
    "sharded optimizer": ["cluster.processes=2", "per_device_bs=4", "training.shard=true"],
}
_MOST = 15
"""Kills of a run, after which it may finish."""


@dataclass
class Found:
    """What was found. lost: runs that did not come to their end. other: those with another result. fewer:
    kills that left fewer than two whole checkpoints where there had been two."""

    kills: int = 0
    runs: int = 0
    lost: int = 0
    other: int = 0
    fewer: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Kind(Protocol):
    """Kind of run that is killed: what it does in a folder, and what it comes to."""

    ranks: int

    def body(self, run: Path) -> Body:
        """An attempt of a process of the run."""

    def outcome(self, run: Path) -> dict[str, Any]:
        """What must be the same, by name."""


@dataclass(frozen=True)
class Ours:
    """A job of lingotune."""

    job: Path
    ranks: int

    def body(self, run: Path) -> Body:
        return training(self.job, run)

    def outcome(self, run: Path) -> dict[str, Any]:
        folders = folders_in(run)
        inventory = read_inventory(folders, load_job(self.job)[1])
        whole = inventory is not None and "report.html" in inventory.files
        wrong = dict(changed_files(folders, inventory)) if inventory else None
        return {**killing.outcome(run), "inventory": whole, "files": wrong}


@dataclass(frozen=True)
class Stock:
    """A training as the documentation of transformers has it: a checkpoint every second update."""

    ranks: int = 1

    def body(self, run: Path) -> Body:
        def train() -> int:
            try:
                stock_training(run)
            except Exception as error:
                print(repr(error), flush=True)
                return 1
            return 0

        return train

    def outcome(self, run: Path) -> dict[str, Any]:
        return {"weights": (run / "model/model.safetensors").read_bytes()}


def stock_training(run: Path) -> None:
    """Train the same model on random rows; go on if there is a checkpoint."""
    import transformers as hf

    hf.set_seed(1)
    config = hf.DistilBertConfig(
        vocab_size=400, dim=32, n_layers=1, n_heads=4, hidden_dim=64, num_labels=3
    )
    chance = random.Random(1)
    rows = [
        {"input_ids": [chance.randrange(400) for _ in range(32)], "labels": n % 3}
        for n in range(240)
    ]
    args = hf.TrainingArguments(
        str(run), max_steps=STEPS, save_steps=2, save_total_limit=2, logging_steps=1, report_to=[],
        disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    trainer = hf.Trainer(hf.DistilBertForSequenceClassification(config), args, train_dataset=rows)
    trainer.train(resume_from_checkpoint=any(run.glob("checkpoint-*")))
    trainer.save_model(str(run / "model"))


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody kills: its kind, its length, and what it comes to."""

    kind: Kind
    folder: Path
    length: Length
    right: dict[str, Any]


def undisturbed(kind: Kind, folder: Path) -> Undisturbed:
    """Train once without a kill."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    operations, run = mmap.mmap(-1, 8), folder / "run"  # shared with the child

    def count() -> None:
        operations[:] = struct.pack("q", struct.unpack("q", operations)[0] + 1)

    codes = attempt(kind, run, 0, lambda: killing.on_operations(count))
    if any(codes):
        raise SystemExit(f"the run that nobody kills ended with {codes}: {log_of(run)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    largest = max(path.stat().st_size for path in run.rglob("*") if path.is_file())
    length = Length(used / kind.ranks, struct.unpack("q", operations)[0], largest)
    return Undisturbed(kind, folder, length, kind.outcome(run))


def attempt(kind: Kind, run: Path, victim: int, when: Moment | None) -> list[int]:
    """Start a run's processes, of which one is to be killed, and wait for all; returns their exit codes."""
    children = []
    if kind.ranks > 1:
        name_meeting(kind.ranks)
    for rank in range(kind.ranks):
        if kind.ranks > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        moment = when if rank == victim else None
        children.append(begin(kind.body(run), log_of(run, rank), moment))
    return ended(children)


def killed_often(one: Undisturbed, run: Path, choose: random.Random, found: Found) -> None:
    """Kill a run again and again until it is finished, and look at what it has become."""
    codes, whole, kills = [1], 0, 0
    while any(codes):
        left = one.length.left(steps_done(run) / STEPS)
        when = killing.moment(choose, left) if kills < _MOST else None
        codes = attempt(one.kind, run, choose.randrange(one.kind.ranks), when)
        found.codes.update(codes)
        killed = any(code in KILLED for code in codes)
        kills, found.kills = kills + killed, found.kills + killed
        if any(codes) and not killed:
            found.lost += 1
            found.wrong.append(f"{run} ended with {codes}")
            break
        there = len([*run.glob("checkpoints/checkpoint-*/manifest.json")])
        found.fewer += there < min(2, whole)
        whole = max(whole, there)
    else:
        there = one.kind.outcome(run)
        if differs := [name for name, right in one.right.items() if there[name] != right]:
            found.other += 1
            found.wrong.append(f"{run}: {', '.join(differs)}")
    found.runs += 1


def kinds_in(folder: Path, ranks: int, *, stock: bool) -> list[tuple[Kind, Path]]:
    """The kinds of runs, each with its folder."""
    if stock:
        return [(Stock(), made(folder / "stock"))]
    variants = VARIANTS if ranks == 1 else RANKS
    places = [made(folder / str(number)) for number in range(len(variants))]
    typed = zip(places, variants.values())
    return [(Ours(job_file(place, *overrides), ranks), place) for place, overrides in typed]


def prove(kills: int, seed: int, kinds: Sequence[tuple[Kind, Path]]) -> Found:
    """Kill runs of all kinds in turn, so many times in all."""
    found, choose = Found(), random.Random(seed)
    variants = [undisturbed(*kind) for kind in kinds]
    print(*(one.length for one in variants), sep="\n", file=sys.stderr)
    for one in itertools.cycle(variants):
        run, wrong = one.folder / f"killed-{found.runs}", len(found.wrong)
        killed_often(one, run, choose, found)
        if len(found.wrong) == wrong and run.exists():
            shutil.rmtree(run)
        print(found.kills, found.runs, found.wrong[-1:], file=sys.stderr, flush=True)
        if found.kills >= kills:
            return found
    raise AssertionError("no kinds")


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--folder", type=Path, help="kept; by default a temporary one")
    options = parser.parse_args(argv)
    sys.modules["matplotlib"] = None  # type: ignore[assignment]  # pictures cost as much as all else
    killing.warm_up()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        begun = time.monotonic()
        found = prove(
            options.kills, options.seed, kinds_in(folder, options.ranks, stock=options.stock)
        )
        print(json.dumps({**vars(found), "seconds": round(time.monotonic() - begun)}))
        os.chdir("/")
    return int(bool(found.lost or found.other or found.fewer))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
