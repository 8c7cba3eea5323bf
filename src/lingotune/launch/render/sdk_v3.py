"""A training job for the SageMaker Python SDK v3: `ModelTrainer`. Pure."""

from __future__ import annotations

from lingotune.launch.render.shared_fields import (
    VOLUME_GB,
    Arguments,
    all_channels,
    given,
    hyperparameters,
    named,
    own_mode,
    preferences,
    tensorboard,
)
from lingotune.launch.render.training_job import TrainingJob


def has_arguments_for(job: TrainingJob) -> bool:
    """Tell whether ModelTrainer can ask for all of a job: not for SageMaker's MLflow."""
    return job.mlflow is None


def to_model_trainer(job: TrainingJob) -> Arguments:
    """Build `{"trainer": {...}, "with": {...}}` for `ModelTrainer(**trainer)` and its `with_...` methods.

    Values are arguments of the SDK's classes (`aws.start.start_v3` builds these). No `source_code` is
    given, so that the container's own launcher runs, as for v2, and reads the same hyperparameters.
    """
    alone = not job.preferences
    trainer = {
        "base_job_name": job.name,
        "role": job.role,
        "training_image": job.image,
        "training_input_mode": job.input_mode,
        "hyperparameters": hyperparameters(job),
        "environment": dict(job.environment),
        "tags": named(job.tags, "key", "value"),
        "compute": given(
            instance_type=job.instance_type if alone else None,
            instance_count=job.instance_count if alone else None,
            instance_preferences=preferences(
                job, "instance_type", "instance_count", "training_plan_arns"
            ),
            volume_size_in_gb=job.volume_gb or VOLUME_GB,
            volume_kms_key_id=job.volume_key,
            keep_alive_period_in_seconds=job.keep_alive,
            training_plan_arn=job.training_plan if alone else None,
            instance_placement_config=_v3_placement(job),
            enable_managed_spot_training=job.max_wait is not None,
        ),
        "stopping_condition": given(
            max_runtime_in_seconds=job.max_run,
            max_wait_time_in_seconds=job.max_wait,
            max_pending_time_in_seconds=job.max_pending,
        ),
        "output_data_config": given(
            s3_output_path=job.output_uri,
            kms_key_id=job.output_key,
            compression_type=None if job.compress_output else "NONE",
        ),
        "input_data_config": [
            _v3_channel(name, uri, own_mode(job, name)) for name, uri in all_channels(job)
        ],
        **given(
            model_package_config=given(model_package_group_arn=job.model_group),
            checkpoint_config=job.checkpoint_uri
            and {"s3_uri": job.checkpoint_uri, "local_path": job.checkpoint_path},
            networking=given(
                subnets=list(job.subnets),
                security_group_ids=list(job.security_groups),
                enable_network_isolation=job.network_isolation,
                enable_inter_container_traffic_encryption=job.encrypt_traffic,
            ),
        ),
    }
    methods = given(
        metric_definitions=named(job.metrics, "name", "regex"),
        retry_strategy=given(maximum_retry_attempts=job.retries),
        remote_debug_config=given(enable_remote_debug=job.remote_debug),
        tensorboard_output_config=tensorboard(job, "s3_output_path", "local_path"),
    )
    return {"trainer": trainer, "with": methods}


def _v3_channel(name: str, uri: str, mode: str | None) -> Arguments:
    source = {
        "s3_data_type": "S3Prefix",
        "s3_uri": uri,
        "s3_data_distribution_type": "FullyReplicated",
    }
    return {
        "channel_name": name,
        "data_source": {"s3_data_source": source},
        **given(input_mode=mode),
    }


def _v3_placement(job: TrainingJob) -> Arguments | None:
    if job.ultra_server is None:
        return None
    place = {"ultra_server_id": job.ultra_server, "instance_count": job.instance_count}
    # v3 requires the flag, but does not send it if it is false.
    return {"enable_multiple_jobs": False, "placement_specifications": [place]}
