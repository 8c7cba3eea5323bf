"""SageMaker's model registry: a model as a version of a group, and its approval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.launch.aws.faults import errors, said_by
from lingotune.launch.render.shared_fields import Request

MODEL_KEY = "lingotune-model-sha256"
"""Key of a version's metadata that says which model it is."""


def versions_of(client: Any, group: str, model: str) -> Iterator[Mapping[str, Any]]:
    """Describe the versions of a group that are this model, newest first; raises `errors()`.

    model: SHA-256 of its files.
    """
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending"
    )
    for page in pages:
        for entry in page["ModelPackageSummaryList"]:
            found = client.describe_model_package(ModelPackageName=entry["ModelPackageArn"])
            if found.get("CustomerMetadataProperties", {}).get(MODEL_KEY) == model:
                yield found


def register_version(client: Any, request: Request, model: str) -> tuple[str, bool]:
    """Add a version, unless the model is one already; returns its ARN, and whether it is new."""
    group = request["ModelPackageGroupName"]
    try:
        for found in versions_of(client, group, model):
            return str(found["ModelPackageArn"]), False
        return str(client.create_model_package(**request)["ModelPackageArn"]), True
    except errors() as error:
        raise ConfigError([_refused(group, error)]) from error


def approve_version(client: Any, group: str, model: str) -> tuple[str, bool]:
    """Approve the newest version that is this model; returns its ARN, and whether it was not before.

    ConfigError if there is none, or AWS refuses.
    """
    try:
        for found in versions_of(client, group, model):
            arn = str(found["ModelPackageArn"])
            if found.get("ModelApprovalStatus") == "Approved":
                return arn, False
            client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
            return arn, True
    except errors() as error:
        raise ConfigError([_refused(group, error)]) from error
    what, fix = "holds no version that is this model", "the same command with action=register first"
    raise ConfigError([Problem(f"aws.model_group={group}", what, fix, check="not-registered")])


def _refused(group: str, error: Exception) -> Problem:
    fix = f"aws sagemaker create-model-package-group --model-package-group-name {group.rpartition('/')[2]}"
    return Problem(f"aws.model_group={group}", said_by(error), fix, code=CLOUD_FAILED)
