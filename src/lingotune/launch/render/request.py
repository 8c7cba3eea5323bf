"""The CreateTrainingJob request itself, for boto3, the AWS CLI or Terraform. Pure."""

from __future__ import annotations

from lingotune.launch.render.shared_fields import (
    VOLUME_GB,
    Request,
    all_channels,
    given,
    hyperparameters,
    named,
    own_mode,
    placement,
    preferences,
    tensorboard,
)
from lingotune.launch.render.training_job import TrainingJob

# --- CreateTrainingJob --------------------------------------------------------------------------


def to_request(job: TrainingJob) -> Request:
    """Build the request, exactly as the v2 SDK sends it for `to_huggingface`."""
    return {
        "TrainingJobName": job.name,
        "RoleArn": job.role,
        "AlgorithmSpecification": _algorithm(job),
        "HyperParameters": hyperparameters(job),
        "InputDataConfig": [
            _channel(name, uri, own_mode(job, name)) for name, uri in all_channels(job)
        ],
        "OutputDataConfig": given(
            S3OutputPath=job.output_uri,
            KmsKeyId=job.output_key,
            CompressionType=None if job.compress_output else "NONE",
        ),
        "ResourceConfig": _resources(job),
        "StoppingCondition": given(
            MaxRuntimeInSeconds=job.max_run,
            MaxWaitTimeInSeconds=job.max_wait,
            MaxPendingTimeInSeconds=job.max_pending,
        ),
        "Environment": dict(job.environment),
        "Tags": named(job.tags, "Key", "Value"),
        "ProfilerConfig": (
            {"DisableProfiler": False, "S3OutputPath": job.output_uri}
            if job.profiler
            else {"DisableProfiler": True}
        ),
        **given(
            CheckpointConfig=_checkpoints(job),
            TensorBoardOutputConfig=tensorboard(job, "S3OutputPath", "LocalPath"),
            VpcConfig=given(Subnets=list(job.subnets), SecurityGroupIds=list(job.security_groups)),
            EnableManagedSpotTraining=job.max_wait is not None,
            EnableInterContainerTrafficEncryption=job.encrypt_traffic,
            EnableNetworkIsolation=job.network_isolation,
            RetryStrategy=given(MaximumRetryAttempts=job.retries),
            RemoteDebugConfig=given(EnableRemoteDebug=job.remote_debug),
            ModelPackageConfig=given(ModelPackageGroupArn=job.model_group),
            MlflowConfig=given(MlflowResourceArn=job.mlflow),
        ),
    }


def _algorithm(job: TrainingJob) -> Request:
    return {
        "TrainingImage": job.image,
        "TrainingInputMode": job.input_mode,
        "MetricDefinitions": named(job.metrics, "Name", "Regex"),
        "EnableSageMakerMetricsTimeSeries": True,
    }


def _channel(name: str, uri: str, mode: str | None) -> Request:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": uri,
        "S3DataDistributionType": "FullyReplicated",
    }
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": source},
        **given(InputMode=mode),
    }


def _resources(job: TrainingJob) -> Request:
    alone = not job.preferences
    return given(
        InstanceType=job.instance_type if alone else None,
        InstanceCount=job.instance_count if alone else None,
        InstancePreferences=preferences(job, "InstanceType", "InstanceCount", "TrainingPlanArns"),
        VolumeSizeInGB=job.volume_gb or VOLUME_GB,
        VolumeKmsKeyId=job.volume_key,
        KeepAlivePeriodInSeconds=job.keep_alive,
        TrainingPlanArn=job.training_plan if alone else None,
        InstancePlacementConfig=placement(job),
    )


def _checkpoints(job: TrainingJob) -> Request | None:
    if job.checkpoint_uri is None:
        return None
    return {"S3Uri": job.checkpoint_uri, "LocalPath": job.checkpoint_path}


# --- SageMaker Python SDK v2 --------------------------------------------------------------------


# --- SageMaker Python SDK v3 --------------------------------------------------------------------


# --- this machine -------------------------------------------------------------------------------
