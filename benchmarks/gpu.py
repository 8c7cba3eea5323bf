"""One GPU, measured in one call: ours against the article's recipe, the best stock one, and paper.

python benchmarks/gpu.py [--out FILE] [--minutes 9] [--models NAME ...] [--sizes 16 256] [--ways NAME ...]

Encoders at their real sizes with random weights, texts as long as the article's; nothing is fetched. Each
model, batch size and way is a cell. Its texts a second are counted after steps that are not (a compiled way
compiles one width after the other there), for its share of the time that is left; what did not fit into
--minutes says so. Rounds go on while there is time, and medians are printed: texts and useful tokens a
second, the share of the card's peak that went into texts, peak memory, and how long an update takes
compared with paper (estimate/step_time.py). --out keeps the table for EXPERIMENTS.md, and is written anew
after each cell. Cells run in a process of their own, which is replaced if one breaks it.

Without a card, or with one that is too small, it says so and ends with exit code 2. --device cpu --tiny
goes all the way with tiny models on the CPU, to see that it works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from pathlib import Path
from typing import TypeVar

import torch
from gpu_cells import (
    MODELS,
    WAYS,
    Budget,
    Card,
    Cell,
    Found,
    Impossible,
    Key,
    advice,
    checked,
    precision_of,
    table,
)  # fmt: skip

from lingotune.catalog.gpus import find_gpu

_T = TypeVar("_T")


def find_card() -> Card | str:
    """Read the card, or say why nothing can be measured here."""
    if not torch.cuda.is_available():
        return f"no GPU: torch {torch.__version__} sees none; nothing was measured"
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
    name = torch.cuda.get_device_name()
    bf16 = torch.cuda.get_device_capability() >= (8, 0)
    return checked(Card(name, total, free, has_bf16=bf16, known=find_gpu(name)))


class Worker:
    """A process that measures, replaced by another once it is broken."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def call(self, seconds: float, work: Callable[..., _T], *given: object) -> _T | str:
        """Call a function there, for so many seconds at most; returns its result, or why there is none."""
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")  # CUDA cannot be forked
            self._pool = ProcessPoolExecutor(1, mp_context=spawn)
        try:
            return self._pool.submit(work, *given).result(seconds)
        except Impossible as error:
            return str(error)
        except Exception as error:  # one that fails must not lose the others
            if not isinstance(error, torch.cuda.OutOfMemoryError):
                self.close()  # what broke the card's context would break all that follow
            return reason(error, seconds)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def reason(error: BaseException, seconds: float) -> str:
    """Format why a cell failed, in few words."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "out of memory"
    if isinstance(error, TooLong):
        return f"not over after {seconds:.0f} s"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150] if lines else 'no word'}"


def measure(
    keys: Sequence[Key], budget: Budget, worker: Worker, rounds: int, out: Path | None, card: Card,
    *, tiny: bool,
) -> dict[Key, Found]:  # fmt: skip
    """Run all cells again and again while there is time, at most so many rounds."""
    from gpu_ways import run  # transformers from here on

    found = {key: Found(why="not begun: no time was left") for key in keys}
    for number in range(rounds):
        # Way by way: what time is too short for is the last way, not the last model.
        todo = sorted(keys, key=lambda key: list(WAYS).index(key[2]))
        todo = [key for key in todo if number == 0 or found[key].timed]
        for place, key in enumerate(todo):
            seconds = budget.share(len(todo) - place)
            if seconds is None:
                return found
            with budget.spending(seconds):
                cell = Cell(*key, seconds, precision_of(key[2], card), tiny)
                found[key].add(worker.call(budget.limit(seconds), run, cell))
            print(
                f"round {number + 1}  {key[0]:26} {key[1]:4}  {key[2]:46} {found[key]}", flush=True
            )
            if out:
                out.write_text(table(found, card, tiny=tiny), encoding="utf-8")
    return found


def main() -> int:
    """Measure, or say why there is nothing to measure on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="a file for the table, in Markdown")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument(
        "--patience", type=float, default=90.0,
        help="seconds after which a cell is given up that should have been over",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 256])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="with --device cpu: a rehearsal")
    options = parser.parse_args()
    if options.tiny != (options.device == "cpu"):
        parser.error("--device cpu and --tiny go together: real sizes take hours on a CPU")
    card = (
        Card("no card, this CPU", 0, 0, has_bf16=True, known=None) if options.tiny else find_card()
    )
    if isinstance(card, str):
        print(card, file=sys.stderr)
        return 2
    from gpu_ways import differences

    budget, worker = Budget(60 * options.minutes, options.patience), Worker()
    print(f"{card.described()}; torch {torch.__version__}", flush=True)
    keys = [
        (m, size, way) for m in options.models for size in options.sizes for way in options.ways
    ]
    try:
        for model in options.models:
            said = worker.call(budget.limit(0), differences, model, options.tiny)
            print(*([f"{model}: {said}"] if isinstance(said, str) else said), sep="\n", flush=True)
        found = measure(keys, budget, worker, options.rounds, options.out, card, tiny=options.tiny)
    finally:
        worker.close()
    text = table(found, card, tiny=options.tiny)
    print(f"\n{text}\n{advice(found, card, tiny=options.tiny)}")
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
