"""A deployment for the SageMaker Python SDKs, for notebooks and pipelines of one's own. Pure.

v2: `Model(**model).deploy(**deploy)`, or `.transformer(...).transform(...)` of a batch. It names the
configuration as the endpoint; HuggingFaceModel would pack the archive anew. v3: `Model.create(**arguments)`
and the others of `sagemaker.core.resources`, whose arguments are the requests' fields.
"""

from __future__ import annotations

import re
from typing import Any

from lingotune.config.schema import DeployKind
from lingotune.launch.render.deployment import Deployment
from lingotune.launch.render.deployment_requests import to_requests
from lingotune.launch.render.shared_fields import Arguments, given

_MAPS = ("Environment",)
"""Fields whose keys are no names of the API."""


def to_sdk_v2(one: Deployment) -> Arguments:
    """Build the arguments for the SDK v2, with those of its classes for the configurations in `deploy`."""
    requests = to_requests(one)
    request = requests["CreateModel"]
    model = {
        "model_data": one.model_uri,
        "role": one.role,
        "image_uri": one.image,
        "env": dict(one.environment),
        "name": one.model_name,
        **given(
            vpc_config=request.get("VpcConfig"), enable_network_isolation=one.network_isolation
        ),
    }
    if one.kind is DeployKind.batch:
        return {"model": model, **_transform(one, requests["CreateTransformJob"])}
    return {"model": model, "deploy": _deploy(one, requests["CreateEndpointConfig"])}


def _deploy(one: Deployment, config: Arguments) -> Arguments:
    (variant,) = config["ProductionVariants"]
    serverless = variant.get("ServerlessConfig")
    later = config.get("AsyncInferenceConfig")
    return given(
        initial_instance_count=variant.get("InitialInstanceCount"),
        instance_type=variant.get("InstanceType"),
        endpoint_name=one.name,
        tags=config["Tags"],
        kms_key=config.get("KmsKeyId"),
        serverless_inference_config=serverless
        and {
            "memory_size_in_mb": serverless["MemorySizeInMB"],
            "max_concurrency": serverless["MaxConcurrency"],
        },
        async_inference_config=later
        and given(
            output_path=one.output_uri,
            failure_path=later["OutputConfig"]["S3FailurePath"],
            kms_key_id=one.output_key,
            max_concurrent_invocations_per_instance=one.processes,
        ),
    ) | {"wait": False}


def _transform(one: Deployment, request: Arguments) -> Arguments:
    given_input, output = request["TransformInput"], request["TransformOutput"]
    return {
        "transformer": {
            "instance_count": one.count,
            "instance_type": one.instance_type,
            "strategy": request["BatchStrategy"],
            "assemble_with": output["AssembleWith"],
            "output_path": one.output_uri,
            "accept": output["Accept"],
            "max_concurrent_transforms": request["MaxConcurrentTransforms"],
            "max_payload": request["MaxPayloadInMB"],
            "tags": request["Tags"],
            **given(output_kms_key=one.output_key, volume_kms_key=one.volume_key),
        },
        "transform": {
            "data": one.input_uri,
            "content_type": one.content_type,
            "split_type": given_input["SplitType"],
            "job_name": one.name,
            "model_client_config": request["ModelClientConfig"],
            "wait": False,
            "logs": False,
        },
    }


def to_sdk_v3(one: Deployment) -> dict[str, Arguments] | None:
    """Build the arguments of each `create` of the SDK v3, by its class, in their order.

    None for a serverless endpoint: sagemaker-core 2.27 sends its memory as MemorySizeInMb, and is refused.
    """
    if one.kind is DeployKind.serverless:
        return None
    return {
        operation.removeprefix("Create"): _snake(request)
        for operation, request in to_requests(one).items()
    }


def _snake(value: Any) -> Any:
    """Spell the fields of a request as sagemaker-core does: ModelName becomes model_name."""
    if isinstance(value, list):
        return [_snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        _snake_name(name): dict(inner) if name in _MAPS else _snake(inner)
        for name, inner in value.items()
    }


def _snake_name(name: str) -> str:
    """Spell one name: S3OutputPath becomes s3_output_path, MemorySizeInMB memory_size_in_mb."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
