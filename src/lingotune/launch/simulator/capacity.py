"""Capacity of a simulated SageMaker: which instance types are full, and which one a job gets. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.render.shared_fields import Request

NO_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML"
    " instance type."
)
"""FailureReason of a job that got no machine, in SageMaker's words."""


def got(request: Request, full: Collection[str] = ()) -> Request | None:
    """Return the request as of the one machine that the job gets; None if all that it wants are full.

    Its ResourceConfig then names type and count, as the container is told them.
    """
    resources = request["ResourceConfig"]
    rows = resources.get("InstancePreferences")
    if rows is None:
        return None if resources["InstanceType"] in full else request
    for row in rows:
        if row["InstanceType"] not in full:
            count = row.get("InstanceCount", resources.get("InstanceCount"))
            chosen = {"InstanceType": row["InstanceType"], "InstanceCount": count}
            others = {k: v for k, v in resources.items() if k != "InstancePreferences"}
            return {**request, "ResourceConfig": {**others, **chosen}}
    return None


def got_here(request: Request, full: Collection[str]) -> Request:
    """Return the request as of the machine that a job run here gets; ConfigError if all are full."""
    found = got(request, full)
    if found is None:
        what = "leaves the job no machine: each that it may get is full"
        raise ConfigError([Problem("rehearsal.full", what, "'rehearsal.full=[]'")])
    return found


def contradictions(request: Request) -> Iterator[str]:
    """Yield what CreateTrainingJob refuses in a list of machines beyond its service model."""
    resources = request["ResourceConfig"]
    rows = resources.get("InstancePreferences")
    if rows is None:
        if "InstanceType" not in resources and "InstanceGroups" not in resources:
            yield "ResourceConfig: InstanceType or InstancePreferences is required"
        return
    beside = ("InstanceType", "InstanceGroups", "InstancePlacementConfig")
    for name in beside:
        if name in resources:
            yield f"InstancePreferences is mutually exclusive with {name}"
    if request.get("EnableManagedSpotTraining"):
        yield "InstancePreferences is mutually exclusive with EnableManagedSpotTraining"
    counts = ["InstanceCount" in row for row in rows]
    if any(counts) == ("InstanceCount" in resources) or (any(counts) and not all(counts)):
        yield "InstanceCount must be set on every preference, or once in ResourceConfig"
    types = [row["InstanceType"] for row in rows]
    if len(types) != len(set(types)):
        yield "an instance type can appear only once in InstancePreferences"
    if "TrainingPlanArn" in resources and any("TrainingPlanArns" in row for row in rows):
        yield "TrainingPlanArn is mutually exclusive with TrainingPlanArns of a preference"
