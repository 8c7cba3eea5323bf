"""Deployments for the SDK v3: the arguments of sagemaker-core's resources become our requests."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from sagemaker.core import resources
from sagemaker.core.utils.utils import serialize

from lingotune.config.schema import AwsConfig, DeployConfig, DeployKind
from lingotune.launch.render.deployment import Served, describe
from lingotune.launch.render.deployment_requests import to_requests
from lingotune.launch.render.deployment_sdks import to_sdk_v3

SERVED = Served("reviews", "a" * 64, "b" * 64, "distilbert", "5.3.0", 540_000_000)
ACCOUNT = AwsConfig(
    region="us-east-1",
    role="arn:aws:iam::111122223333:role/SageMakerRole",
    bucket="a-bucket",
    tags={"team": "search"},
    subnets=["subnet-0123456789abcdef0"],
    security_groups=["sg-0123456789abcdef0"],
)
KINDS = {
    "realtime": DeployConfig(count=2),
    "serverless": DeployConfig(kind=DeployKind.serverless),
    "async": DeployConfig(kind=DeployKind["async"], instance_type="ml.g5.xlarge"),
    "batch": DeployConfig(kind=DeployKind.batch, input="s3://a-bucket/texts.jsonl"),
}


class _Ok:
    """HTTP answer of a call that is not made."""

    status_code = 200


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "serverless"])
def test_the_sdk_v3_sends_our_requests(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = describe(SERVED, KINDS[kind], ACCOUNT)
    sent: dict[str, Any] = {}
    session = boto3.Session("key", "secret", region_name="us-east-1")
    for operation in to_requests(one):
        session.events.register(
            f"provide-client-params.sagemaker.{operation}",
            lambda params, model, **_: sent.__setitem__(model.name, params),
        )
    session.events.register("before-call.sagemaker", lambda **_: (_Ok(), {}))
    rendered = to_sdk_v3(one)
    assert rendered is not None
    for name, arguments in rendered.items():
        kind_of_resource = getattr(resources, name)
        monkeypatch.setattr(kind_of_resource, "get", lambda *_, **__: None)
        kind_of_resource.create(**arguments, session=session, region="us-east-1")
    assert sent == to_requests(one)


def test_v3_cannot_send_serverless_endpoints() -> None:
    """The day on which it can shows here: to_sdk_v3 has to render it then."""
    assert to_sdk_v3(describe(SERVED, KINDS["serverless"], ACCOUNT)) is None
    sizes = resources.ProductionVariantServerlessConfig(memory_size_in_mb=2048, max_concurrency=1)
    assert "MemorySizeInMb" in serialize(sizes)
