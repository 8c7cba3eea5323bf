"""Names where a command takes a run: a job that was fetched, or `SWEEP:best`, the winner."""

from __future__ import annotations

from pathlib import Path

from lingotune.config.console import say_aside
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.undecodable import check_decodable
from lingotune.launch.results.names import job_beginning, run_beginning
from lingotune.launch.sweeps.ledger import is_sweep, sweep_folder

_BEST = "best"
_WHY = "a job on SageMaker is fetched before its run can be used"


def run_named(typed: str, runs_dir: str = "runs") -> str:
    """Return the run folder that was typed, of the job with this name, or of the winner of `SWEEP:best`.

    A beginning of a job's name is enough. Of several seeds the winner is the run with the best validation
    score. ConfigError if nothing has a score yet, the run was not fetched, several fit, or a sweep alone
    was typed.
    """
    sweep, _, which = typed.rpartition(":")
    if _is_here(typed):
        check_decodable([Path(typed)])
        return typed
    if sweep_folder(typed, runs_dir):
        raise ConfigError([Problem(typed, "is a sweep, and one run is needed", f"{typed}:{_BEST}")])
    if not sweep or not (which == _BEST or sweep_folder(sweep, runs_dir)):
        return _folder_of_job(typed, runs_dir)
    if which != _BEST:
        raise ConfigError([Problem(typed, f"of a sweep there is :{_BEST}", f"{sweep}:{_BEST}")])
    return _folder_of_best(sweep, typed, runs_dir)


def _is_here(typed: str) -> bool:
    return Path(typed).exists() and not is_sweep(Path(typed))


def _folder_of_job(typed: str, runs_dir: str) -> str:
    found = run_beginning(typed, runs_dir)
    if found is not None:
        say_aside(f"{typed}: {found}")
        return str(found)
    if job := job_beginning(typed, runs_dir):
        what = f"the job {job} is not on this machine"
        raise ConfigError([Problem(typed, what, f"{program('fetch')} {job}", check="not-fetched")])
    if "/" in typed:
        return typed  # who reads it says what is missing there
    what = f"is no run folder, and no run in {runs_dir} begins so"
    fix = f"{program('fetch')} {typed}"
    raise ConfigError([Problem(typed, what, fix, check="not-fetched", why=_WHY)])


def _folder_of_best(sweep: str, typed: str, runs_dir: str) -> str:
    from lingotune.launch.results.collect import leaderboard
    from lingotune.launch.results.table import best_of, varies_text

    entry = best_of(leaderboard([sweep], runs_dir))
    if entry.folder is None:
        what = f"its best run, {entry.name} ({varies_text(entry)}), is not on this machine"
        raise ConfigError([Problem(typed, what, f"{program('fetch')} {sweep}")])
    say_aside(f"{typed}: {entry.folder} ({varies_text(entry)})")
    return str(entry.folder)
