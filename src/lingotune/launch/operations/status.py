"""`lingotune status`: from what was typed to a survey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.config.problems import ConfigError
from lingotune.launch.operations.account import Account
from lingotune.launch.operations.ledgers import known_sweeps
from lingotune.launch.operations.opening import Opening
from lingotune.launch.operations.survey import Survey
from lingotune.launch.operations.targets import Names, Target


def open_survey(
    typed: str | None,
    numbers: Sequence[str],
    runs_dir: str,
    region: str | None,
    *,
    prices: str | None = None,
    most: int = 100,
) -> Survey:
    """Find what was typed, None = everything, and prepare to look at it.

    ConfigError if nothing is named so, or neither a ledger nor AWS can be asked.
    """
    opening = Opening(region)
    names = Names(runs_dir, opening.account, "status")
    target = None if typed is None else names.resolve(typed, numbers)
    account, notes = _account(opening, target, runs_dir)
    return Survey(target, account, runs_dir, prices=prices, most=most, notes=notes)


def _account(
    opening: Opening, target: Target | None, runs_dir: str
) -> tuple[Account | None, tuple[str, ...]]:
    """Open the account where it is needed; where it cannot be, ledgers are enough."""
    if target is not None and target.known is not None and target.known.is_local:
        return None, ()
    try:
        return opening.account(target), ()
    except ConfigError as error:
        known = target.known if target is not None else None
        if known is None and not (target is None and known_sweeps(Path(runs_dir))):
            raise
        problem = error.problems[0]
        return None, (f"as the ledger last saw it; {problem.where}: {problem.what}",)
