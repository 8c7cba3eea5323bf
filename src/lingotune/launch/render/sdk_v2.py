"""A training job for the SageMaker Python SDK v2: `HuggingFace(**estimator).fit(**fit)`. Pure."""

from __future__ import annotations

from lingotune.config.schema import Distribution
from lingotune.launch.render.bundle import PROGRAM
from lingotune.launch.render.shared_fields import (
    Arguments,
    given,
    named,
    own_mode,
    placement,
    tensorboard,
)
from lingotune.launch.render.training_job import TrainingJob

_DISTRIBUTIONS: dict[Distribution, Arguments | None] = {
    Distribution.none: None,
    Distribution.torch_distributed: {"torch_distributed": {"enabled": True}},
    Distribution.smdistributed: {"smdistributed": {"dataparallel": {"enabled": True}}},
}


def has_arguments_for(job: TrainingJob) -> bool:
    """Tell whether the SDK v2 can ask for all of a job: for a list of machines, a limit of waiting for
    capacity, the registry and SageMaker's MLflow it has no arguments."""
    newer = (job.max_pending, job.model_group, job.mlflow)
    return not job.preferences and all(value is None for value in newer)


def to_huggingface(job: TrainingJob) -> Arguments:
    """Build `{"estimator": {...}, "fit": {...}}`, with the arguments of its class for
    `tensorboard_output_config`, and of TrainingInput for a channel with a mode of its own."""
    estimator = {
        "entry_point": PROGRAM,
        "source_dir": job.code_uri,
        "role": job.role,
        "instance_type": job.instance_type,
        "instance_count": job.instance_count,
        **_v2_image(job),
        "hyperparameters": {},
        "environment": dict(job.environment),
        "input_mode": job.input_mode,
        "output_path": job.output_uri,
        "max_run": job.max_run,
        "metric_definitions": named(job.metrics, "Name", "Regex"),
        "tags": named(job.tags, "Key", "Value"),
        # Debugger and profiler run processing jobs of their own, and are on by default.
        "debugger_hook_config": False,
        "disable_profiler": not job.profiler,
        **given(
            distribution=_DISTRIBUTIONS[job.distribution],
            output_kms_key=job.output_key,
            disable_output_compression=not job.compress_output,
            checkpoint_s3_uri=job.checkpoint_uri,
            checkpoint_local_path=job.checkpoint_uri and job.checkpoint_path,
            tensorboard_output_config=tensorboard(
                job, "s3_output_path", "container_local_output_path"
            ),
            use_spot_instances=job.max_wait is not None,
            max_wait=job.max_wait,
            keep_alive_period_in_seconds=job.keep_alive,
            max_retry_attempts=job.retries,
            volume_size=job.volume_gb,
            volume_kms_key=job.volume_key,
            subnets=list(job.subnets),
            security_group_ids=list(job.security_groups),
            encrypt_inter_container_traffic=job.encrypt_traffic,
            enable_network_isolation=job.network_isolation,
            training_plan=job.training_plan,
            instance_placement_config=placement(job),
            enable_remote_debug=job.remote_debug,
        ),
    }
    return {
        "estimator": estimator,
        "fit": {
            "inputs": {name: _v2_input(job, name, uri) for name, uri in job.channels},
            "job_name": job.name,
            "wait": False,
        },
    }


def _v2_input(job: TrainingJob, channel: str, uri: str) -> str | Arguments:
    mode = own_mode(job, channel)
    return {"s3_data": uri, "input_mode": mode} if mode else uri


def _v2_image(job: TrainingJob) -> dict[str, str]:
    if job.versions is None:
        return {"image_uri": job.image, "py_version": "py3"}
    return {
        "transformers_version": job.versions.transformers,
        "pytorch_version": job.versions.pytorch,
        "py_version": job.versions.python,
    }
