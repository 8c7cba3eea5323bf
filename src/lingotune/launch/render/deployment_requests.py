"""The requests of a deployment, in the order in which they are sent. Pure."""

from __future__ import annotations

from lingotune.config.schema import DeployKind
from lingotune.launch.render.deployment import Deployment
from lingotune.launch.render.shared_fields import Request, given, named
from lingotune.serving.payloads import CSV, LINES

VARIANT = "AllTraffic"
"""Name of the only variant of an endpoint."""


def to_requests(one: Deployment) -> dict[str, Request]:
    """Build the request of each operation: CreateModel, then what makes the endpoint, or starts the job."""
    model = {"CreateModel": _model(one)}
    if one.kind is DeployKind.batch:
        return {**model, "CreateTransformJob": _transform_job(one)}
    return {
        **model,
        "CreateEndpointConfig": _endpoint_config(one),
        "CreateEndpoint": _endpoint(one),
    }


def to_update(one: Deployment) -> Request:
    """Build the UpdateEndpoint request that moves an endpoint to this configuration."""
    return {"EndpointName": one.name, "EndpointConfigName": one.config_name}


def _model(one: Deployment) -> Request:
    return {
        "ModelName": one.model_name,
        "ExecutionRoleArn": one.role,
        "PrimaryContainer": {
            "Image": one.image,
            "ModelDataUrl": one.model_uri,
            "Environment": dict(one.environment),
        },
        "Tags": named(one.tags, "Key", "Value"),
        **given(
            VpcConfig=given(Subnets=list(one.subnets), SecurityGroupIds=list(one.security_groups)),
            EnableNetworkIsolation=one.network_isolation,
        ),
    }


def _endpoint_config(one: Deployment) -> Request:
    return {
        "EndpointConfigName": one.config_name,
        "ProductionVariants": [
            {
                "VariantName": VARIANT,
                "ModelName": one.model_name,
                "InitialVariantWeight": 1.0,
                **_capacity(one),
            }
        ],
        "Tags": named(one.tags, "Key", "Value"),
        **given(
            KmsKeyId=one.volume_key,
            AsyncInferenceConfig=_async(one) if one.kind is DeployKind["async"] else None,
        ),
    }


def _capacity(one: Deployment) -> Request:
    if one.instance_type is None:
        size = {"MemorySizeInMB": one.memory_mb, "MaxConcurrency": one.max_concurrency}
        return {"ServerlessConfig": size}
    return {
        "InstanceType": one.instance_type,
        "InitialInstanceCount": one.count,
    }


def _async(one: Deployment) -> Request:
    return {
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": one.processes},
        "OutputConfig": {
            "S3OutputPath": one.output_uri,
            "S3FailurePath": f"{one.output_uri}/failed",
            **given(KmsKeyId=one.output_key),
        },
    }


def _endpoint(one: Deployment) -> Request:
    return {**to_update(one), "Tags": named(one.tags, "Key", "Value")}


def _transform_job(one: Deployment) -> Request:
    cut = one.content_type != CSV  # a piece of a table would lack its header
    return {
        "TransformJobName": one.name,
        "ModelName": one.model_name,
        "MaxConcurrentTransforms": min(one.processes, 100 // one.payload_mb),
        "ModelClientConfig": {
            "InvocationsTimeoutInSeconds": one.timeout,
            "InvocationsMaxRetries": 1,
        },
        "MaxPayloadInMB": one.payload_mb,
        "BatchStrategy": "MultiRecord" if cut else "SingleRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": one.input_uri}},
            "ContentType": one.content_type,
            "SplitType": "Line" if cut else "None",
        },
        # Each answer ends with a line break, so that they need nothing between them.
        "TransformOutput": {
            "S3OutputPath": one.output_uri,
            "Accept": LINES,
            "AssembleWith": "None",
            **given(KmsKeyId=one.output_key),
        },
        "TransformResources": {
            "InstanceType": one.instance_type,
            "InstanceCount": one.count,
            **given(VolumeKmsKeyId=one.volume_key),
        },
        "Tags": named(one.tags, "Key", "Value"),
    }
