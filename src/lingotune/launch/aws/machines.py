"""Machines of a training job as SageMaker tells them: the one it got, and those it asked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def machine_in(told: Mapping[str, Any]) -> tuple[str | None, int]:
    """Read instance type and number of a job from its description.

    The type is None where the job may get one of several, and has none yet; the number is then the largest.
    """
    resources = told.get("ResourceConfig", {})
    if "SelectedInstanceType" in resources:
        return resources["SelectedInstanceType"], resources.get("SelectedInstanceCount", 1)
    wanted = machines_in(told)
    if len(wanted) == 1:
        return wanted[0]
    return None, max((count for _, count in wanted), default=resources.get("InstanceCount", 1))


def machines_in(told: Mapping[str, Any]) -> list[tuple[str, int]]:
    """List the instance types that a job asked for, and how many of each, in its order."""
    resources = told.get("ResourceConfig", {})
    count = resources.get("InstanceCount", 1)
    rows = resources.get("InstancePreferences") or [resources]
    return [
        (row["InstanceType"], row.get("InstanceCount", count))
        for row in rows
        if "InstanceType" in row
    ]
