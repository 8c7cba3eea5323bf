"""States of training jobs as SageMaker tells them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lingotune.launch.aws.machines import machine_in
from lingotune.launch.render.sweep_tags import PRUNED_TAG
from lingotune.launch.sweeps.trial import JobState, State

_STATES = {
    "InProgress": State.running,
    "Stopping": State.stopping,
    "Completed": State.completed,
    "Failed": State.failed,
    "Stopped": State.stopped,
}
_LIMITS = {
    "MaxRuntimeExceeded": "its time limit was reached (cluster.max_run)",
    "MaxWaitTimeExceeded": "its limit for waiting and running was reached (cluster.max_wait)",
    "Interrupted": "the spot machines were taken back",
}
"""Last secondary statuses of stopped jobs that nobody stopped -> what they mean."""


def state_of(told: Mapping[str, Any]) -> JobState:
    """Read the state of a job from its description, or from its entry in a listing.

    A job that was ended for its scores is told from others that were stopped by its tags alone.
    """
    secondary = told.get("SecondaryStatus", "")
    state = _STATES.get(told["TrainingJobStatus"], State.running)
    reason = told.get("FailureReason", "")
    if state is State.stopped:
        reason = reason or _LIMITS.get(secondary, "")
        if any(tag["Key"] == PRUNED_TAG for tag in told.get("Tags", [])):
            state = State.pruned
    return JobState(
        name=told["TrainingJobName"],
        state=state,
        secondary=secondary,
        reason=reason,
        created=_seconds(told.get("CreationTime")),
        started=_seconds(told.get("TrainingStartTime")),
        ended=_seconds(told.get("TrainingEndTime")),
        billable_seconds=told.get("BillableTimeInSeconds"),
        instance_type=machine_in(told)[0],
    )


def _seconds(time: datetime | None) -> float | None:
    return time.timestamp() if time is not None else None
