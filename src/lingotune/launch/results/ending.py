"""The end of a sweep on this machine: its table, and what to look at next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lingotune.config.console import terminal_width
from lingotune.config.jobfile import load_job
from lingotune.config.problems import ConfigError
from lingotune.config.program import program
from lingotune.config.schema import JobConfig
from lingotune.contract.container import JOB_FILE
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
    best = best_of(board).folder
    job = None
    with suppress(ConfigError):  # a folder of another version
        job = load_job(Path(str(best), JOB_FILE))[0]
    yield try_command(str(best), job)


def try_command(run: str, job: JobConfig | None) -> str:
    """Write a command that tries the model of a run. job: None if it is not known."""
    pair = (
        ""
        if job is None or job.data.columns.text_pair is None
        else ' --pair "It broke after a week"'
    )
    return f'{program("predict")} {shlex.quote(run)} "Great product, works perfectly"{pair}'
