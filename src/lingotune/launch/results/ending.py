"""The end of a sweep on this machine: its table, and what to look at next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from lingotune.config.console import terminal_width
from lingotune.config.program import program
from lingotune.launch.results.collect import of_sweep
from lingotune.launch.results.compare import compare
from lingotune.launch.results.entries import Leaderboard
from lingotune.launch.results.table import best_of, for_terminal, write_csv


def print_results(folder: Path) -> Leaderboard:
    """Print the results of a sweep so far, and write them beside its ledger."""
    board = of_sweep(folder)
    comparison = compare(board.ranked)
    write_csv(board, comparison)
    print(f"\n{for_terminal(board, comparison, terminal_width())}\n")
    return board


def so_far(folder: Path) -> str:
    """Write the command that shows the results of a sweep while it runs."""
    return f"{program('results')} {shlex.quote(str(folder))}  # what it has so far"


def following_commands(board: Leaderboard, folder: Path) -> Iterator[str]:
    """List commands that look further at a sweep and its best run; none without a best one."""
    if board.best is None:
        return
    yield f"tensorboard --logdir {shlex.quote(str(folder.parent))}"
    yield f"{program('report')} {shlex.quote(str(folder))}"
    best = shlex.quote(str(best_of(board).folder))
    yield f'{program("predict")} {best} "Great product, works perfectly"'
