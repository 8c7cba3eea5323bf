"""Checks of a job on each machine that it may get (`cluster.fallback`). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lingotune.config.machines import on_machine
from lingotune.config.problems import Problem
from lingotune.config.schema import LaunchConfig, MachineConfig
from lingotune.estimate.machines import is_shared_out
from lingotune.preflight.cluster import fallback_override

Check = Callable[[LaunchConfig], Sequence[Problem]]


def on_each_machine(config: LaunchConfig, check: Check) -> list[Problem]:
    """Run a check for the job's first machine, and for those behind it.

    What is wrong with several of these is told once, with their names, and with the list that is left
    without them.
    """
    problems = list(check(config))
    others = config.cluster.fallback[1:]
    if not others or not is_shared_out(config):
        return problems
    same = {(p.check, p.where, p.what) for p in problems}
    found: dict[tuple[str, str], list[tuple[MachineConfig, Problem]]] = {}
    for row in others:
        for problem in check(on_machine(config, row)):
            if (problem.check, problem.where, problem.what) not in same:
                found.setdefault((problem.check, problem.where), []).append((row, problem))
    return [*problems, *(_together(config, entries) for entries in found.values())]


def _together(config: LaunchConfig, found: Sequence[tuple[MachineConfig, Problem]]) -> Problem:
    rows, first = [row for row, _ in found], found[0][1]
    names = ", ".join(row.name or "" for row in rows)
    kept = [row for row in config.cluster.fallback[1:] if row not in rows]
    fix = f"{first.fix}, or " if first.fix else ""
    return replace(
        first, what=f"on {names} (cluster.fallback): {first.what}",
        fix=f"{fix}{fallback_override(kept)}",
    )  # fmt: skip
