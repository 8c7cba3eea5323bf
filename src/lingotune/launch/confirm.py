"""The questions before money is spent (`budget.confirm_usd`) or something is stopped or deleted."""

from __future__ import annotations

import sys

from lingotune.config.console import say
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import BudgetConfig
from lingotune.launch.cost.prices import usd_text

YES = "--yes"
"""Option that answers the question beforehand."""


def needs_answer(budget: BudgetConfig, worst_usd: float | None) -> bool:
    """Tell whether a submit is to be confirmed. worst_usd: of all its jobs; None = a price is unknown."""
    limit = budget.confirm_usd
    return limit is not None and (worst_usd is None or worst_usd > limit)


def can_ask() -> bool:
    """Tell whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def require_answer(budget: BudgetConfig, at_stake: str) -> None:
    """Raise ConfigError where nobody can be asked, with what works in a script. at_stake: the money."""
    limit = budget.confirm_usd
    assert limit is not None
    what = f"{at_stake}, and there is no terminal to ask"
    fix = f"{YES}, or a higher budget.confirm_usd, or budget.confirm_usd=null; nothing was started"
    where = f"budget.confirm_usd={limit:g}"
    raise ConfigError([Problem(where, what, fix, check="not-confirmed")])


def agreed(budget: BudgetConfig, worst_usd: float | None, jobs: int, *, yes: bool) -> bool:
    """Ask where the budget wants it, and return whether to start; ConfigError where nobody can be asked.

    yes: the question was answered beforehand.
    """
    if yes or not jobs or not needs_answer(budget, worst_usd):
        return True
    if not can_ask():
        require_answer(budget, at_stake(worst_usd, jobs))
    return confirmed(worst_usd, jobs)


def confirmed(worst_usd: float | None, jobs: int) -> bool:
    """Ask whether to start, as `ask` does."""
    which = "it" if jobs == 1 else f"these {jobs} jobs"
    return ask(f"{at_stake(worst_usd, jobs)}; start {which}?", "nothing was started")


def ask(question: str, otherwise: str) -> bool:
    """Ask, and return whether the answer was yes; tells `otherwise` where it was not.

    Ctrl-C, and the end of the input, raise KeyboardInterrupt.
    """
    try:
        answer = input(f"{question} [y/N] ")
    except (EOFError, KeyboardInterrupt):
        print()
        say(otherwise)
        raise KeyboardInterrupt from None
    if answer.strip().lower() in ("y", "yes"):
        return True
    say(otherwise)
    return False


def at_stake(worst_usd: float | None, jobs: int) -> str:
    """Tell what a submit may cost at most, in words."""
    which = "the job" if jobs == 1 else f"the {jobs} jobs together"
    if worst_usd is None:
        return f"the price of {which} is unknown"
    return f"the worst case of {which} is {usd_text(worst_usd)}"
