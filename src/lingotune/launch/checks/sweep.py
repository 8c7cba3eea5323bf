"""Checks of the settings of a sweep. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lingotune.config.problems import Severity
from lingotune.config.schema import EvalStrategy, LaunchConfig, Prune, Search, SweepConfig
from lingotune.preflight.registry import Found, Table

SWEEP: Table[LaunchConfig] = Table()

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62})")
_LOWEST = {
    "trials": (1, "configurations, from 1"),
    "max_parallel": (1, "jobs at a time, from 1; null = as many as the account's quota allows"),
    "reduction": (2, "one in this many goes on, from 2"),
    "min_evaluations": (1, "evaluations, from 1; null = as many as are worth a start"),
    "retries": (0, "new starts of a job, from 0"),
    "max_failures": (1, "failed jobs, from 1"),
    "seed": (0, "from 0"),
}
_SWITCHED_BY = {
    "reduction": ("prune", Prune.none, "sweep.prune=asha"),
    "min_evaluations": ("prune", Prune.none, "sweep.prune=asha"),
    "seed": ("search", Search.grid, "sweep.search=tpe sweep.trials=20"),
}
"""Settings -> the one that switches them off, by which value, and what switches them on."""


@SWEEP.check("sweep-out-of-range", "no sweep can come of the value")
def _ranges(config: LaunchConfig) -> Iterator[Found]:
    for name, (low, meaning) in _LOWEST.items():
        value = getattr(config.sweep, name)
        if value is not None and value < low:
            yield (
                f"sweep.{name}={value}",
                "is out of range",
                f"sweep.{name}={low}; possible: {meaning}",
            )


@SWEEP.check("sweep-name", "it names a folder, objects in S3 and a tag")
def _name(config: LaunchConfig) -> Iterator[Found]:
    name = config.sweep.name
    if name is not None and not _NAME.fullmatch(name):
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:63] or "mine"
        what = "is no name of at most 63 letters, digits, hyphens, points and underscores"
        yield f"sweep.name={name}", what, f"sweep.name={plain}"


@SWEEP.check(
    "sweep-trials", "a grid has all its combinations, and a search as many as are asked for"
)
def _trials(config: LaunchConfig) -> Iterator[Found]:
    sweep = config.sweep
    if sweep.trials is not None and sweep.search is Search.grid:
        where = f"sweep.trials={sweep.trials}"
        yield where, "is for a search", f"sweep.search=tpe {where}"
    if sweep.trials is None and sweep.search is not Search.grid:
        where = f"sweep.search={sweep.search.value}"
        yield where, "needs a number of configurations", f"{where} sweep.trials=20"


@SWEEP.check(
    "sweep-without-metric", "configurations are compared by their scores on the validation split"
)
def _metric(config: LaunchConfig) -> Iterator[Found]:
    sweep = config.sweep
    if config.training.eval_strategy is not EvalStrategy.none:
        return
    what = "has no scores to go by: training.eval_strategy=none"
    if sweep.search is Search.tpe:
        yield "sweep.search=tpe", what, "training.eval_strategy=epoch, or sweep.search=random"
    if sweep.prune is not Prune.none:
        where = f"sweep.prune={sweep.prune.value}"
        yield where, what, "training.eval_strategy=epoch, or sweep.prune=none"


@SWEEP.check("sweep-unused", "it says how a search draws, or ends jobs early", Severity.warning)
def _unused(config: LaunchConfig) -> Iterator[Found]:
    sweep, default = config.sweep, SweepConfig()
    for name, (switch, off, fix) in _SWITCHED_BY.items():
        value = getattr(sweep, name)
        if getattr(sweep, switch) is off and value != getattr(default, name):
            what = f"has no effect with sweep.{switch}={off.value}"
            yield f"sweep.{name}={value}", what, fix
