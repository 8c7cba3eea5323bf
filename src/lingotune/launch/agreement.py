"""The question before a resume starts jobs that are billed (`budget.confirm_usd`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from lingotune.config.schema import BudgetConfig, Retry
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.config_dirs import shipped_dir, user_dir
from lingotune.launch.operations.rows import Row
from lingotune.launch.sweeps.pin import Pin
from lingotune.launch.sweeps.trial import RETRIED, State

_LIMIT = "budget.confirm_usd="
_ANY = ("cluster=sagemaker", "cluster.instance_type=ml.g5.12xlarge")
"""Some machine, for the configuration to be composed with."""


def budget_of(typed: float | None, words: Sequence[str] = ()) -> BudgetConfig:
    """Find the limit above which to ask: what was typed now, or at the submit, or is configured here.

    words: the overrides of a sweep's submit. ConfigError if the configuration of this machine is wrong.
    """
    if typed is not None:
        return BudgetConfig(confirm_usd=typed)
    for word in reversed(words):
        if word.startswith(_LIMIT):
            with suppress(ValueError):  # `null`
                return BudgetConfig(confirm_usd=float(word.removeprefix(_LIMIT)))
            return BudgetConfig()
    (one,) = compose_all(
        list(_ANY), shipped_dir(), lambda config: [], multirun=False, sweeps=False,
        extra_dir=user_dir(None, os.environ),
    )  # fmt: skip
    return one.config.budget


def at_stake(pin: Pin, rows: Sequence[Row], retry: Retry) -> tuple[float | None, int]:
    """Add up the worst case of the trials that a resume starts, in USD; returns it and their number.

    None where the price of one is unknown.
    """
    states = {row.number: row.state for row in rows}
    starts = (State.waiting, RETRIED[retry])
    usd = [one.worst_usd for one in pin.trials if states.get(one.number, State.waiting) in starts]
    known = [one for one in usd if one is not None]
    return (sum(known) if len(known) == len(usd) else None), len(usd)
