"""Training jobs as SageMaker describes them, in the few facts that operations need. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lingotune.contract.container import DIGEST_VARIABLE
from lingotune.launch.aws.machines import machine_in, machines_in
from lingotune.launch.render.sweep_tags import (
    APPLICATION_CHANNEL,
    SWEEP_TAG,
    TRIAL_TAG,
    VARIES_TAG,
    read_varies,
)
from lingotune.launch.sweeps.job_states import state_of
from lingotune.launch.sweeps.trial import JobState

NAME_TAG = "lingotune:name"
"""Tag of every job of lingotune's."""


@dataclass(frozen=True)
class Remote:
    """A training job that SageMaker knows. metrics: last values by SageMaker's names, e.g. validation:loss.

    tags: empty where they were not asked for. interruptions: of a spot job. max_run: seconds. ours: True
    if lingotune has started it. of_application: of `hydra/launcher=sagemaker`, without a model of ours.
    candidates: instance types that it may get, and their
    numbers. raw: all that SageMaker told.
    """

    job: JobState
    nodes: int = 1
    spot: bool = False
    max_run: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    checkpoint_uri: str | None = None
    interruptions: int = 0
    ours: bool = True
    of_application: bool = False
    candidates: tuple[tuple[str, int], ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the job."""
        return self.job.name

    @property
    def came_by_queue(self) -> bool:
        """True for a job of lingotune's that AWS Batch started: the tags are its queue entry's.

        False where the tags were not asked for, or not told.
        """
        is_untagged = "Tags" in self.raw and NAME_TAG not in self.tags
        return self.ours and is_untagged and not self.of_application

    @property
    def sweep(self) -> str:
        """Name of its sweep; '' for a job of none."""
        return self.tags.get(SWEEP_TAG, "")

    @property
    def number(self) -> int | None:
        """Number of its trial; None for a job of no sweep."""
        text = self.tags.get(TRIAL_TAG, "")
        return int(text) if text.isdecimal() else None

    @property
    def varies(self) -> dict[str, str]:
        """Swept keys and values."""
        return read_varies(self.tags.get(VARIES_TAG, ""))


def remote_of(told: Mapping[str, Any]) -> Remote:
    """Read an answer of DescribeTrainingJob, or a TrainingJob of Search."""
    tags = {tag["Key"]: tag["Value"] for tag in told.get("Tags", [])}
    transitions = told.get("SecondaryStatusTransitions", [])
    application = any(map(_is_config_of_application, told.get("InputDataConfig", [])))
    return Remote(
        job=state_of(told),
        nodes=machine_in(told)[1],
        spot=told.get("EnableManagedSpotTraining", False),
        max_run=told.get("StoppingCondition", {}).get("MaxRuntimeInSeconds"),
        metrics={m["MetricName"]: m["Value"] for m in told.get("FinalMetricDataList", [])},
        tags=tags,
        checkpoint_uri=told.get("CheckpointConfig", {}).get("S3Uri"),
        interruptions=sum(entry["Status"] == "Interrupted" for entry in transitions),
        ours=NAME_TAG in tags or DIGEST_VARIABLE in told.get("Environment", {}) or application,
        of_application=application,
        candidates=tuple(machines_in(told)),
        raw={key: value for key, value in told.items() if key != "ResponseMetadata"},
    )


_CONFIG = re.compile(r"/jobs/[0-9a-f]{64}/$")


def _is_config_of_application(channel: Mapping[str, Any]) -> bool:
    uri = channel.get("DataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
    return channel.get("ChannelName") == APPLICATION_CHANNEL and bool(_CONFIG.search(uri))
