"""`lingotune status`: from what was typed to a survey."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lingotune.config.problems import ConfigError
from lingotune.launch.operations.account import Account
from lingotune.launch.operations.opening import Opening
from lingotune.launch.operations.survey import Survey
from lingotune.launch.operations.targets import Names, Target
from lingotune.launch.sweeps.ledger import sweeps_in


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
    opening = Opening(region, runs_dir)
    target = None if typed is None else Names(opening, "status").resolve(typed, numbers)
    account, notes = _account(opening, target)
    return Survey(
        target, account, runs_dir, prices=prices, most=most, notes=notes, options=opening.options
    )


def _account(opening: Opening, target: Target | None) -> tuple[Account | None, tuple[str, ...]]:
    """Open the account where it is needed; where it cannot be, ledgers are enough."""
    if target is not None and target.known is not None and target.known.is_local:
        return None, ()
    try:
        return opening.account(target.region if target is not None else None), ()
    except ConfigError as error:
        known = target.known if target is not None else None
        if known is None and not (target is None and sweeps_in(Path(opening.runs_dir))):
            raise
        problem = error.problems[0]
        return None, (f"as the ledger last saw it; {problem.where}: {problem.what}",)
