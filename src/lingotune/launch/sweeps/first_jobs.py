"""The first jobs of a search: those that it sends before it has learnt anything."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lingotune.config.schema import Prune, Search
from lingotune.launch.plan.planner import Plan, Planner, Sweep
from lingotune.launch.sweeps.slots import slots_of
from lingotune.launch.sweeps.sources import source_of
from lingotune.launch.sweeps.trial import Trial


def first_plans(sweep: Sweep, planner: Planner) -> list[Plan]:
    """Plan the jobs that a search starts with.

    All of them where none depends on a result; otherwise as many as run at a time, of which at least one
    is known. ConfigError if Optuna is needed and not installed.
    """
    assert sweep.space is not None and sweep.name is not None, "a job of its own is no search"
    space, name, first = sweep.space, sweep.name, sweep.plans[0]
    plans: list[Plan] = []

    def make(number: int, varies: Mapping[str, str]) -> Trial:
        one = replace(
            space.suggested(varies), options=first.options, config_dir=first.config_dir,
            words=first.words,
        )  # fmt: skip
        plans.append(planner.trial(one, name, number))
        texts = tuple(override.text for override in one.overrides)
        return Trial(number, dict(varies), texts, one.key, plans[-1].name)

    settings = first.config.sweep
    learns = settings.search is Search.tpe or settings.prune is not Prune.none
    most = (slots_of(settings, sweep.plans).count or 1) if learns else None
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(sweep, Path(folder), [], [], make)
        while (most is None or len(plans) < most) and source.next() is not None:
            pass
    return plans
