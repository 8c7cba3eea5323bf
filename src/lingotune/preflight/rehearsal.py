"""Checks of what `action=rehearse` is asked to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from lingotune.preflight.table import Found, Table, typed
from lingotune.schema import Action, LaunchConfig, RehearsalConfig, RehearsalLane, Severity

REHEARSAL: Table[LaunchConfig] = Table()

_RANGES = {
    "ranks": (1, 64, "CPU processes of a node, from 1 to 64"),
    "steps": (2, 10_000, "updates, from 2: one before the interruption and one after it"),
    "rows": (10, 1_000_000, "rows of a split, from 10"),
}


@REHEARSAL.check("rehearsal-out-of-range", "no rehearsal can come of the value")
def _ranges(config: LaunchConfig) -> Iterator[Found]:
    for name, (low, high, meaning) in _RANGES.items():
        value = getattr(config.rehearsal, name)
        if not low <= value <= high:
            yield f"rehearsal.{name}={value}", "is out of range", meaning


@REHEARSAL.check("rehearsal-unused", "only action=rehearse runs a job here", Severity.warning)
def _unused(config: LaunchConfig) -> Iterator[Found]:
    if config.action is Action.rehearse:
        return
    for field in fields(RehearsalConfig):
        value = getattr(config.rehearsal, field.name)
        if value != field.default:
            where = f"rehearsal.{field.name}={typed(getattr(value, 'value', value))}"
            yield where, f"has no effect with action={config.action.value}", "action=rehearse"


@REHEARSAL.check("rehearsal-lane-unknown", "the libraries of the lane are taken from a known image")
def _lane(config: LaunchConfig) -> Iterator[Found]:
    if config.rehearsal.lane is RehearsalLane.image and config.cluster.image.uri is not None:
        what = "what an image of your own holds is not known here"
        yield "rehearsal.lane=image", what, "rehearsal.lane=here"
