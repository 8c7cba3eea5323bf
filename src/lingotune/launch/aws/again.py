"""Starting a job from the description of an earlier one: the same request under another name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.launch.aws.connection import Account
from lingotune.launch.aws.faults import Fault, fault_of, said_by
from lingotune.launch.aws.settle import NotKnown, NotStarted, Start, start_once
from lingotune.launch.render.shared_fields import Request

_OF_AWS = "aws:"
"""Beginning of tags that only AWS may set."""


def request_from(
    told: Mapping[str, Any], name: str, checkpoint_uri: str | None, client: Any
) -> Request:
    """Build the request of a further attempt from a description with tags: what a request can hold of it.

    checkpoint_uri: from where it goes on. client: of SageMaker, whose model knows the fields.
    """
    fields = client.meta.service_model.operation_model("CreateTrainingJob").input_shape.members
    request = {field: told[field] for field in fields if told.get(field) not in (None, {}, [])}
    tags = [tag for tag in told.get("Tags", []) if not tag["Key"].startswith(_OF_AWS)]
    request |= {"TrainingJobName": name, "Tags": tags}
    given = dict(told.get("HyperParameters", {}))
    if "sagemaker_job_name" in given:
        given["sagemaker_job_name"] = json.dumps(name)
    request["HyperParameters"] = given
    if "ResourceConfig" in request:  # the machine that the last attempt got of its list is no wish
        resources = request["ResourceConfig"].items()
        request["ResourceConfig"] = {k: v for k, v in resources if not k.startswith("Selected")}
    if checkpoint_uri is not None:
        request["CheckpointConfig"] = {**told["CheckpointConfig"], "S3Uri": checkpoint_uri}
    return request


def code_uri(told: Mapping[str, Any]) -> str | None:
    """Find the place of a job's code; None if it is in a channel, or nowhere."""
    value = told.get("HyperParameters", {}).get("sagemaker_submit_directory", "")
    uri = value.strip('"')
    return uri if uri.startswith("s3://") else None


def start_again(account: Account, request: Request) -> Start:
    """Start a job; ConfigError says what AWS refused, and whether anything was started."""
    name = request["TrainingJobName"]
    client = account.client("sagemaker")
    try:
        return start_once(
            lambda: client.create_training_job(**request), lambda: account.look_up(name)
        ).start
    except NotStarted as error:
        assert isinstance(error.__cause__, Exception)
        raise ConfigError([_refused(name, error.__cause__)]) from error
    except NotKnown as error:
        what = f"may have been started: {error}"
        fix = "the same command once more: it finds the job if it was"
        raise ConfigError(
            [Problem(name, what, fix, check="start-unknown", code=CLOUD_FAILED)]
        ) from error


def _refused(name: str, error: Exception) -> Problem:
    fix = "aws configure, or AWS_PROFILE=...; nothing was started"
    if fault_of(error) is Fault.full:
        fix = "the same command once a job has ended, or a higher quota; nothing was started"
    elif fault_of(error) is Fault.lost:
        fix = "the same command once more; nothing was started"
    return Problem(name, said_by(error), fix, check="not-started", code=CLOUD_FAILED)
