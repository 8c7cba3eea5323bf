"""The commands by which an endpoint is scaled: as documented, for the endpoints that lingotune makes."""

from __future__ import annotations

import json
import shlex
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.model import Shape, StructureShape
from conftest import ROOT
from deployed import serving_account
from documents import blocks_of

from lingotune.launch.aws.deployments import deregister_command
from lingotune.launch.render.deployment_requests import VARIANT
from lingotune.launch.simulator.loopback.fake_account import REGION

DOCUMENTED = [
    command
    for block in blocks_of(ROOT / "docs" / "serving.md")
    for command in block.commands
    if command.startswith("aws ")
]
SENTENCES = (
    "aws cloudwatch delete-alarms --alarm-names later-from-zero",
    deregister_command("later", REGION).removesuffix(f" --region {REGION}"),
)
"""Commands that are named in a text, or in a message."""
_PLAIN = {"integer": int, "double": float, "string": str}


class Command:
    """A command of the AWS command line, as the call that it makes."""

    def __init__(self, typed: str) -> None:
        _, self.service, name, *words = shlex.split(typed)
        session = boto3.Session(region_name=REGION)
        model = session.client(self.service, endpoint_url="http://127.0.0.1:9").meta.service_model
        (self.operation,) = [one for one in model.operation_names if xform_name(one, "-") == name]
        shape = model.operation_model(self.operation).input_shape
        assert isinstance(shape, StructureShape)
        members = {f"--{xform_name(key, '-')}": (key, of) for key, of in shape.members.items()}
        pairs = dict(zip(words[::2], words[1::2], strict=True))
        self.parameters = {members[o][0]: _value(members[o][1], v) for o, v in pairs.items()}
        self.strangers = list(_strangers(shape, self.parameters))

    def run(self) -> Any:
        """Call it, in the account that this process knows."""
        return getattr(boto3.client(self.service, region_name=REGION), xform_name(self.operation))(
            **self.parameters
        )


def _value(shape: Shape, word: str) -> Any:
    """Read a word as the AWS command line does: JSON where the value has parts."""
    if shape.type_name == "list" and not word.startswith("["):
        return [word]
    return _PLAIN.get(shape.type_name, json.loads)(word)


def _strangers(shape: Any, value: Any) -> Any:
    """Yield values that an enum of the model lacks, which botocore does not look at."""
    if shape.type_name == "structure":
        for key, inner in value.items():
            yield from _strangers(shape.members[key], inner)
    elif shape.type_name == "list":
        for inner in value:
            yield from _strangers(shape.member, inner)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield value


@pytest.mark.parametrize("typed", [*DOCUMENTED, *SENTENCES])
def test_the_models_of_the_services_know_all_parameters(typed: str) -> None:
    command = Command(typed)
    assert command.strangers == []
    resource = command.parameters.get("ResourceId")
    assert resource in (
        None,
        f"endpoint/reviews/variant/{VARIANT}",
        f"endpoint/later/variant/{VARIANT}",
    )


def test_the_commands_scale_both_endpoints_and_one_wakes_from_zero() -> None:
    assert len(DOCUMENTED) == 6
    with serving_account() as account:
        account.sagemaker.create_model(
            ModelName="m", ExecutionRoleArn="arn:aws:iam::111122223333:role/r",
            PrimaryContainer={"Image": "a/b:c"},
        )  # fmt: skip
        arns = [_run(typed).get("PolicyARN") for typed in DOCUMENTED[:-1]]
        _run(DOCUMENTED[-1].replace("POLICY_ARN", arns[-1]))
        scaling = boto3.client("application-autoscaling", region_name=REGION)
        told = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        limits = {one["ResourceId"].split("/")[1]: one["MinCapacity"] for one in told}
        assert limits == {"reviews": 1, "later": 0}
        (alarm,) = boto3.client("cloudwatch", region_name=REGION).describe_alarms(
            AlarmNames=["later-from-zero"]
        )["MetricAlarms"]
        assert (
            alarm["AlarmActions"] == [arns[-1]]
            and alarm["MetricName"] == "HasBacklogWithoutCapacity"
        )
        for typed in SENTENCES:
            _run(typed)
        left = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        assert [one["ResourceId"] for one in left] == [f"endpoint/reviews/variant/{VARIANT}"]


def _run(typed: str) -> Any:
    return Command(typed).run()
