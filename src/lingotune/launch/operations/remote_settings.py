"""Settings of the account that a job was started with, as its description tells them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lingotune.config.schema import AwsConfig
from lingotune.data.transfer.objects import split_uri

_OUTPUT = "output"
"""Last folder of the place of every job's output; the root of what lingotune writes holds it."""


def aws_of(raw: Mapping[str, Any], region: str) -> AwsConfig | None:
    """Read the settings from a description; None if its output lies where lingotune puts none."""
    output = raw.get("OutputDataConfig", {})
    bucket, key = split_uri(output.get("S3OutputPath", "").rstrip("/"))
    prefix, _, last = key.rpartition("/")
    if last != _OUTPUT or not bucket:
        return None
    network = raw.get("VpcConfig", {})
    return AwsConfig(
        region=region,
        role=raw.get("RoleArn"),
        bucket=bucket,
        prefix=prefix,
        kms_key=output.get("KmsKeyId") or None,
        volume_kms_key=raw.get("ResourceConfig", {}).get("VolumeKmsKeyId"),
        subnets=list(network.get("Subnets", [])),
        security_groups=list(network.get("SecurityGroupIds", [])),
        encrypt_traffic=raw.get("EnableInterContainerTrafficEncryption", False),
        network_isolation=raw.get("EnableNetworkIsolation", False),
    )
