"""Overview of a planned sweep: what varies, how it is searched, its slots, rungs and money."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from lingotune.config.problems import Problem
from lingotune.config.schema import Prune, Search, SweepConfig, selected_by
from lingotune.launch.cost.cost import check_budget_total
from lingotune.launch.cost.quote import Total
from lingotune.launch.overrides.swept import Axis
from lingotune.launch.plan.planner import Sweep, SweepFacts
from lingotune.launch.sweeps.money import Money, Work, money_of, work_of
from lingotune.launch.sweeps.pruning import Rungs, rungs_of, without_effect
from lingotune.launch.sweeps.slots import slots_of
from lingotune.launch.sweeps.space import SearchSpace
from lingotune.launch.sweeps.start_times import first_rung_of, measured_in, place_of
from lingotune.launch.sweeps.trial import REPEATED

_SHOWN = 6
"""Values of an axis that are listed."""


def with_facts(
    sweep: Sweep, folder: Path | None = None, quotas: Mapping[str, float] | None = None
) -> Sweep:
    """Add to a planned sweep what is to be said of it as a whole, and what is wrong with that.

    folder: of the sweep, which may have been begun; None if it has none. quotas: of the account by name;
    None if they were not asked for. A job of its own stays as it is.
    """
    if sweep.name is None or sweep.space is None:
        return sweep
    first = sweep.plans[0]
    settings = first.config.sweep
    rungs = _rungs(sweep, folder)
    work = work_of(*_counts(sweep, settings), rungs)
    slots = slots_of(settings, sweep.plans, quotas)
    money = money_of(sweep.plans, work, settings, slots.count or None)
    lines = [
        *map(_varies, sweep.space.axes),
        *_search(settings, work, selected_by(first.job)),
        *slots.lines,
        *_pruning(rungs, work),
    ]
    values = {
        "name": sweep.name.name,
        "identity": sweep.name.identity,
        "varies": {axis.key: list(axis.texts) for axis in sweep.space.axes},
        "search": settings.search.value,
        "configurations": work.configurations,
        "jobs": work.jobs,
        "slots": slots.count,
        "rungs": rungs.steps if rungs else None,
        "evaluations": {"all": work.evaluations and work.jobs * work.evaluations, "expected": work.trained},
        "money": {key: value for key, value in asdict(money).items() if key != "lines"},
    }  # fmt: skip
    facts = SweepFacts(work.jobs, tuple(lines), money.lines, values, rungs.first if rungs else None)
    problems = [*sweep.problems, *without_effect(rungs), *_over_budget(sweep, money, work)]
    total = Total(money.expected_usd, money.worst_usd, money.lines)
    return replace(sweep, facts=facts, total=total, problems=tuple(dict.fromkeys(problems)))


def _rungs(sweep: Sweep, folder: Path | None) -> Rungs | None:
    """Find the rungs by what is on record: of the sweep itself, or of the starts of earlier jobs."""
    config = sweep.plans[0].config
    if config.sweep.prune is Prune.none:
        return None
    place = place_of(config, os.environ)
    measured = measured_in(Path(config.runs_dir), place, config.name)
    return rungs_of(config.sweep, sweep.plans, measured, first_rung_of(folder))


def _counts(sweep: Sweep, settings: SweepConfig) -> tuple[int, int]:
    """Count the configurations of a sweep, and the seeds of each."""
    assert sweep.space is not None
    if settings.search is Search.grid:
        seeds = next((len(a.texts) for a in sweep.space.axes if a.key == REPEATED), 1)
        return math.ceil(len(sweep.plans) / seeds), seeds
    space = SearchSpace(sweep.space.axes)
    return settings.trials or 1, len(space.repetitions(space.drawn_first()))


def _varies(axis: Axis) -> str:
    interval = axis.interval
    if interval:
        kind = ", whole numbers" if interval.whole else ""
        scale = ", on a logarithmic scale" if interval.log else ""
        return f"{axis.key}: {axis.texts[0]} to {axis.texts[-1]}{kind}{scale}"
    texts = axis.texts
    if len(texts) > _SHOWN:
        return f"{axis.key}: {', '.join(texts[:3])}, ... {texts[-1]} ({len(texts)} values)"
    return f"{axis.key}: {', '.join(texts)}"


def _search(settings: SweepConfig, work: Work, metric: str) -> Iterator[str]:
    names = {
        Search.grid: "every combination",
        Search.random: f"drawn at random (sweep.seed={settings.seed})",
        Search.tpe: f"drawn by Optuna's TPE (sweep.seed={settings.seed})",
    }
    times = f" x {work.seeds} seeds = {work.jobs} jobs" if work.seeds > 1 else ""
    yield f"{work.configurations} configurations{times}: {names[settings.search]}"
    mean = "its mean over seeds of " if work.seeds > 1 else ""
    yield f"the score of a configuration is {mean}validation {metric}, at its best evaluation"


def _pruning(rungs: Rungs | None, work: Work) -> Iterator[str]:
    if rungs is None:
        yield "all are trained to their end (sweep.prune=none)"
        return
    yield from rungs.arithmetic
    yield from work.lines


def _over_budget(sweep: Sweep, money: Money, work: Work) -> list[Problem]:
    """Compare the worst case of a search with the budget; that of a grid was, job by job."""
    first = sweep.plans[0]
    if first.config.sweep.search is Search.grid or first.training_job is None:
        return []
    return check_budget_total(
        first.config.budget, money.worst_usd, f"the {work.jobs} jobs together"
    )
