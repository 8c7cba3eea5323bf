"""Parts that the requests of all libraries share. Pure."""

from __future__ import annotations

import json
from typing import Any

from lingotune.config.schema import Distribution, InputMode
from lingotune.contract.container import MODEL_CHANNEL
from lingotune.launch.render.training_job import Pairs, TrainingJob

Request = dict[str, Any]
"""CreateTrainingJob request, or an object in it, in the form of SageMaker's API."""
Arguments = dict[str, Any]
"""Arguments for an SDK, with objects of its classes as dicts of their arguments."""
CODE_CHANNEL = "code"
CODE_IN_CONTAINER = "/opt/ml/input/data/code/sourcedir.tar.gz"
"""Path of the code in an isolated container, which cannot fetch it: SageMaker provides it as a channel."""
VOLUME_GB = 30
"""Size of SageMaker's storage volume if the job does not set one."""


def given(**values: object) -> Request:
    """Select the values that are set, neither None nor false nor empty."""
    return {key: value for key, value in values.items() if value not in (None, False, (), [], {})}


def hyperparameters(job: TrainingJob) -> dict[str, str]:
    """Build the hyperparameters for the container's launcher, each value as JSON.

    None of them is a setting of the job: hyperparameters are joined into a shell command, limited to 2 500
    characters, and logged.
    """
    values: dict[str, object] = {
        "sagemaker_submit_directory": CODE_IN_CONTAINER if job.network_isolation else job.code_uri,
        "sagemaker_program": job.program,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": job.name,
        "sagemaker_region": job.region,
    }
    if job.distribution is not Distribution.none and not job.preferences:
        values["sagemaker_instance_type"] = (
            job.instance_type
        )  # else the container tells which it got
    if job.distribution is Distribution.torch_distributed:
        values["sagemaker_torch_distributed_enabled"] = True
    if job.distribution is Distribution.smdistributed:
        values["sagemaker_distributed_dataparallel_enabled"] = True
        values["sagemaker_distributed_dataparallel_custom_mpi_options"] = ""
    return {name: json.dumps(value) for name, value in values.items()}


def all_channels(job: TrainingJob) -> Pairs:
    """Pair names and S3 prefixes of the input channels, including the code's if there is one."""
    code = ((CODE_CHANNEL, job.code_uri),) if job.network_isolation else ()
    return (*job.channels, *code)


def own_mode(job: TrainingJob, channel: str) -> str | None:
    """Return the input mode of a channel where it is not the job's; None where it is.

    A model is copied in any case: every process reads all of it, and maps it into memory.
    """
    is_model = channel == MODEL_CHANNEL
    return InputMode.File.value if is_model and job.input_mode != InputMode.File.value else None


def placement(job: TrainingJob) -> Request | None:
    """Build the placement on the job's UltraServer; None if it has none."""
    if job.ultra_server is None:
        return None
    place = {"UltraServerId": job.ultra_server, "InstanceCount": job.instance_count}
    return {"PlacementSpecifications": [place]}


def preferences(job: TrainingJob, type: str, count: str, plans: str) -> list[Request]:
    """List the machines that SageMaker tries in turn, under these keys.

    Each has its count, as numbers of GPUs differ. A training plan holds capacity of the first alone.
    Empty without a list.
    """
    rows: list[Request] = [{type: name, count: number} for name, number in job.preferences]
    if rows and job.training_plan:
        rows[0][plans] = [job.training_plan]
    return rows


def tensorboard(job: TrainingJob, uri: str, path: str) -> Request | None:
    """Build the destination of TensorBoard's events, under the keys `uri` and `path`; None without one."""
    if job.tensorboard_uri is None:
        return None
    return {uri: job.tensorboard_uri, path: job.tensorboard_path}


def named(pairs: Pairs, first: str, second: str) -> list[dict[str, str]]:
    """Convert pairs to the list of objects that AWS expects."""
    return [{first: name, second: value} for name, value in pairs]
