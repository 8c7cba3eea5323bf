"""A training job in the words of each library that can start it. Pure: a description in, dicts out.

`to_huggingface`: SageMaker Python SDK v2, `HuggingFace(**estimator).fit(**fit)`.
`to_model_trainer`: SDK v3, `ModelTrainer`.
`to_request`: the CreateTrainingJob request itself, for boto3, the AWS CLI or Terraform.
All three start the same job; tests build the SDKs' objects and compare what they send.
`render_local` gives the command line for this machine.
"""

from __future__ import annotations

import json
from typing import Any

from lingotune.scaling import processes_per_node, world_size
from lingotune.schema import Distribution, JobConfig
from lingotune.trainingjob import Pairs, TrainingJob

PROGRAM = "train.py"
CODE_CHANNEL = "code"
CODE_IN_CONTAINER = "/opt/ml/input/data/code/sourcedir.tar.gz"
"""Where the code lies when an isolated container cannot fetch it: SageMaker brings it as a channel."""
VOLUME_GB = 30
"""SageMaker's storage volume where the job names no size."""


def _given(**values: Any) -> dict[str, Any]:
    """The values that say something."""
    return {key: value for key, value in values.items() if value not in (None, False, (), [], {})}


# --- CreateTrainingJob --------------------------------------------------------------------------


def to_request(job: TrainingJob) -> dict[str, Any]:
    """Exactly what the v2 SDK sends for `to_huggingface`."""
    return {
        "TrainingJobName": job.name,
        "RoleArn": job.role,
        "AlgorithmSpecification": _algorithm(job),
        "HyperParameters": hyperparameters(job),
        "InputDataConfig": [_channel(name, uri) for name, uri in _channels(job)],
        "OutputDataConfig": _given(
            S3OutputPath=job.output_uri,
            KmsKeyId=job.output_key,
            CompressionType=None if job.compress_output else "NONE",
        ),
        "ResourceConfig": _resources(job),
        "StoppingCondition": _given(
            MaxRuntimeInSeconds=job.max_run, MaxWaitTimeInSeconds=job.max_wait
        ),
        "Environment": dict(job.environment),
        "Tags": _named(job.tags, "Key", "Value"),
        "ProfilerConfig": (
            {"DisableProfiler": False, "S3OutputPath": job.output_uri}
            if job.profiler
            else {"DisableProfiler": True}
        ),
        **_given(
            CheckpointConfig=_checkpoints(job),
            TensorBoardOutputConfig=_tensorboard(job, "S3OutputPath", "LocalPath"),
            VpcConfig=_given(Subnets=list(job.subnets), SecurityGroupIds=list(job.security_groups)),
            EnableManagedSpotTraining=job.max_wait is not None,
            EnableInterContainerTrafficEncryption=job.encrypt_traffic,
            EnableNetworkIsolation=job.network_isolation,
            RetryStrategy=_given(MaximumRetryAttempts=job.retries),
            RemoteDebugConfig=_given(EnableRemoteDebug=job.remote_debug),
        ),
    }


def hyperparameters(job: TrainingJob) -> dict[str, str]:
    """What the container's launcher reads, each value in JSON. None of them is a setting of the job:
    hyperparameters are joined into a shell command, cut at 2 500 characters, and logged."""
    values: dict[str, Any] = {
        "sagemaker_submit_directory": CODE_IN_CONTAINER if job.network_isolation else job.code_uri,
        "sagemaker_program": PROGRAM,
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": job.name,
        "sagemaker_region": job.region,
    }
    if job.distribution is not Distribution.none:
        values["sagemaker_instance_type"] = job.instance_type
    if job.distribution is Distribution.torch_distributed:
        values["sagemaker_torch_distributed_enabled"] = True
    if job.distribution is Distribution.smdistributed:
        values["sagemaker_distributed_dataparallel_enabled"] = True
        values["sagemaker_distributed_dataparallel_custom_mpi_options"] = ""
    return {name: json.dumps(value) for name, value in values.items()}


def _algorithm(job: TrainingJob) -> dict[str, Any]:
    return {
        "TrainingImage": job.image,
        "TrainingInputMode": job.input_mode,
        "MetricDefinitions": _named(job.metrics, "Name", "Regex"),
        "EnableSageMakerMetricsTimeSeries": True,
    }


def _channels(job: TrainingJob) -> Pairs:
    code = ((CODE_CHANNEL, job.code_uri),) if job.network_isolation else ()
    return (*job.channels, *code)


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": uri,
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _resources(job: TrainingJob) -> dict[str, Any]:
    return _given(
        InstanceType=job.instance_type,
        InstanceCount=job.instance_count,
        VolumeSizeInGB=job.volume_gb or VOLUME_GB,
        VolumeKmsKeyId=job.volume_key,
        KeepAlivePeriodInSeconds=job.keep_alive,
        TrainingPlanArn=job.training_plan,
        InstancePlacementConfig=_placement(job),
    )


def _placement(job: TrainingJob) -> dict[str, Any] | None:
    if job.ultra_server is None:
        return None
    place = {"UltraServerId": job.ultra_server, "InstanceCount": job.instance_count}
    return {"PlacementSpecifications": [place]}


def _checkpoints(job: TrainingJob) -> dict[str, Any] | None:
    if job.checkpoint_uri is None:
        return None
    return {"S3Uri": job.checkpoint_uri, "LocalPath": job.checkpoint_path}


def _tensorboard(job: TrainingJob, uri: str, path: str) -> dict[str, Any] | None:
    if job.tensorboard_uri is None:
        return None
    return {uri: job.tensorboard_uri, path: job.tensorboard_path}


def _named(pairs: Pairs, first: str, second: str) -> list[dict[str, str]]:
    return [{first: name, second: value} for name, value in pairs]


# --- SageMaker Python SDK v2 --------------------------------------------------------------------

_DISTRIBUTIONS: dict[Distribution, dict[str, Any] | None] = {
    Distribution.none: None,
    Distribution.torch_distributed: {"torch_distributed": {"enabled": True}},
    Distribution.smdistributed: {"smdistributed": {"dataparallel": {"enabled": True}}},
}


def to_huggingface(job: TrainingJob) -> dict[str, Any]:
    """`{"estimator": {...}, "fit": {...}}`; `tensorboard_output_config` as the arguments of its class."""
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
        "metric_definitions": _named(job.metrics, "Name", "Regex"),
        "tags": _named(job.tags, "Key", "Value"),
        # Debugger and profiler run processing jobs of their own, and are on unless refused.
        "debugger_hook_config": False,
        "disable_profiler": not job.profiler,
        **_given(
            distribution=_DISTRIBUTIONS[job.distribution],
            output_kms_key=job.output_key,
            disable_output_compression=not job.compress_output,
            checkpoint_s3_uri=job.checkpoint_uri,
            checkpoint_local_path=job.checkpoint_uri and job.checkpoint_path,
            tensorboard_output_config=_tensorboard(
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
            instance_placement_config=_placement(job),
            enable_remote_debug=job.remote_debug,
        ),
    }
    return {
        "estimator": estimator,
        "fit": {"inputs": dict(job.channels), "job_name": job.name, "wait": False},
    }


def _v2_image(job: TrainingJob) -> dict[str, str]:
    if job.versions is None:
        return {"image_uri": job.image, "py_version": "py3"}
    return {
        "transformers_version": job.versions.transformers,
        "pytorch_version": job.versions.pytorch,
        "py_version": job.versions.python,
    }


# --- SageMaker Python SDK v3 --------------------------------------------------------------------


def to_model_trainer(job: TrainingJob) -> dict[str, Any]:
    """`{"trainer": {...}, "with": {...}}` for `ModelTrainer(**trainer)` and its `with_...` methods.

    Values are the arguments of the SDK's classes (`submit.start_v3` builds them). No `source_code`
    is given: so the container's own launcher runs, as it does for v2, and reads the same
    hyperparameters.
    """
    trainer = {
        "base_job_name": job.name,
        "role": job.role,
        "training_image": job.image,
        "training_input_mode": job.input_mode,
        "hyperparameters": hyperparameters(job),
        "environment": dict(job.environment),
        "tags": _named(job.tags, "key", "value"),
        "compute": _given(
            instance_type=job.instance_type,
            instance_count=job.instance_count,
            volume_size_in_gb=job.volume_gb or VOLUME_GB,
            volume_kms_key_id=job.volume_key,
            keep_alive_period_in_seconds=job.keep_alive,
            training_plan_arn=job.training_plan,
            instance_placement_config=_v3_placement(job),
            enable_managed_spot_training=job.max_wait is not None,
        ),
        "stopping_condition": _given(
            max_runtime_in_seconds=job.max_run, max_wait_time_in_seconds=job.max_wait
        ),
        "output_data_config": _given(
            s3_output_path=job.output_uri,
            kms_key_id=job.output_key,
            compression_type=None if job.compress_output else "NONE",
        ),
        "input_data_config": [_v3_channel(name, uri) for name, uri in _channels(job)],
        **_given(
            checkpoint_config=job.checkpoint_uri
            and {"s3_uri": job.checkpoint_uri, "local_path": job.checkpoint_path},
            networking=_given(
                subnets=list(job.subnets),
                security_group_ids=list(job.security_groups),
                enable_network_isolation=job.network_isolation,
                enable_inter_container_traffic_encryption=job.encrypt_traffic,
            ),
        ),
    }
    methods = _given(
        metric_definitions=_named(job.metrics, "name", "regex"),
        retry_strategy=_given(maximum_retry_attempts=job.retries),
        remote_debug_config=_given(enable_remote_debug=job.remote_debug),
        tensorboard_output_config=_tensorboard(job, "s3_output_path", "local_path"),
    )
    return {"trainer": trainer, "with": methods}


def _v3_channel(name: str, uri: str) -> dict[str, Any]:
    source = {
        "s3_data_type": "S3Prefix",
        "s3_uri": uri,
        "s3_data_distribution_type": "FullyReplicated",
    }
    return {"channel_name": name, "data_source": {"s3_data_source": source}}


def _v3_placement(job: TrainingJob) -> dict[str, Any] | None:
    if job.ultra_server is None:
        return None
    place = {"ultra_server_id": job.ultra_server, "instance_count": job.instance_count}
    # v3 cannot leave the flag out, and does not send it when it is false.
    return {"enable_multiple_jobs": False, "placement_specifications": [place]}


# --- this machine -------------------------------------------------------------------------------


def render_local(job: JobConfig, job_file: str) -> list[str]:
    """The command that trains on this machine, one process or several."""
    if world_size(job.cluster) == 1:
        return ["python", PROGRAM, "--job", job_file]
    count = processes_per_node(job.cluster)
    return ["torchrun", "--standalone", f"--nproc_per_node={count}", PROGRAM, "--job", job_file]
