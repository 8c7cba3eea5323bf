"""Going on with a job from the checkpoints of its attempt before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lingotune.launch.aws.again import code_uri
from lingotune.launch.render.training_job import TrainingJob


def continued(job: TrainingJob, before: Mapping[str, Any] | None) -> TrainingJob:
    """Give a job the checkpoints of the attempt before, if both have the same code and inputs.

    before: the request of that attempt, as AWS tells it; None if it is unknown. With other code or data the
    job keeps the empty folder of its own, and begins anew.
    """
    if before is None or job.checkpoint_uri is None:
        return job
    place = before.get("CheckpointConfig", {}).get("S3Uri")
    is_same = code_uri(before) == job.code_uri and _inputs(before) == dict(job.channels)
    return replace(job, checkpoint_uri=place) if place and is_same else job


def _inputs(asked: Mapping[str, Any]) -> dict[str, str]:
    return {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in asked.get("InputDataConfig", [])
    }
