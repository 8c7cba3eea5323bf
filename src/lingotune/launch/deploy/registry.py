"""Registering a run's model with its scores, and approving it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lingotune.config.jobfile import job_digest
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import DeployKind
from lingotune.evaluation.classifier import Trained
from lingotune.launch.aws.connection import connect
from lingotune.launch.aws.registry import MODEL_KEY, approve_version, register_version
from lingotune.launch.deploy.plan import DeployPlan
from lingotune.launch.deploy.submit import upload_model
from lingotune.launch.render.shared_fields import Request, given
from lingotune.runs.folder import MODEL, finished, folders_in
from lingotune.runs.results import Scores
from lingotune.serving.payloads import CSV, JSON, LINES, TEXT

_SHOWN = 256
"""Characters of a value of a version's metadata."""


def register(plan: DeployPlan, tell: Callable[[str], None]) -> None:
    """Make the model a version of `aws.model_group`, pending approval, with its test scores."""
    aws, one = plan.config.aws, plan.deployment
    group = _group(plan)
    account = connect(one.region, aws)
    upload_model(plan, account, tell)
    scores = test_scores(plan.model.trained)
    uri = None
    if scores is not None:
        uri = f"{one.model_uri.rpartition('/')[0]}/statistics.json"
        with TemporaryDirectory(prefix="lingotune-") as folder:
            file = Path(folder, "statistics.json")
            file.write_text(json.dumps(statistics(scores)), encoding="utf-8")
            account.upload({uri: file}, {}, tell)
    request = to_model_package(plan, group, scores, uri)
    arn, is_new = register_version(account.client("sagemaker"), request, plan.served.model)
    tell(f"{'registered' if is_new else 'is registered already'}: {arn}")


def approve(plan: DeployPlan) -> str:
    """Approve the version that is this model; returns what was done, in words."""
    client = connect(plan.deployment.region, plan.config.aws).client("sagemaker")
    arn, is_new = approve_version(client, _group(plan), plan.served.model)
    return f"{'approved' if is_new else 'was approved before'}: {arn}"


def _group(plan: DeployPlan) -> str:
    group = plan.config.aws.model_group
    if group is None:
        what = "is needed: the group of the registry that the model is a version of"
        fix = "aws.model_group=arn:aws:sagemaker:us-east-1:111122223333:model-package-group/NAME"
        raise ConfigError([Problem("aws.model_group", what, fix)])
    return group


def test_scores(trained: Trained) -> Scores | None:
    """Read the scores of the run's test split, those of its model card; None where they are not known."""
    if trained.job is None or trained.folder.name != MODEL:
        return None
    results = finished(folders_in(trained.folder.parent), job_digest(trained.job))
    return results.test.overall if results and results.test else None


def statistics(scores: Scores) -> dict[str, object]:
    """Write scores in the form in which SageMaker shows the quality of a model with several classes."""
    figures = {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1}
    named = {name: {"value": value, "standard_deviation": "NaN"} for name, value in figures.items()}
    return {"multiclass_classification_metrics": named, "dataset": {"item_count": scores.rows}}


def to_model_package(
    plan: DeployPlan, group: str, scores: Scores | None, statistics_uri: str | None
) -> Request:
    """Build the CreateModelPackage request.

    Its token makes a repeated call the same one. statistics_uri: where the scores lie.
    """
    one, served = plan.deployment, plan.served
    container = {
        "Image": one.image,
        "ModelDataUrl": one.model_uri,
        "Environment": dict(one.environment),
    }
    kinds = [one.instance_type] if one.instance_type else None
    is_batch = one.kind is DeployKind.batch
    figures = {} if scores is None else {
        "test-rows": str(scores.rows),
        "test-accuracy": f"{scores.accuracy:.4f}",
        "test-macro-f1": f"{scores.macro_f1:.4f}",
    }  # fmt: skip
    quality = {"Statistics": {"ContentType": JSON, "S3Uri": statistics_uri}}
    return {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": f"{served.name}, deployed by lingotune",
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": [JSON, LINES, CSV, TEXT],
            "SupportedResponseMIMETypes": [JSON, LINES, CSV],
            **given(
                SupportedRealtimeInferenceInstanceTypes=None if is_batch else kinds,
                SupportedTransformInstanceTypes=kinds if is_batch else None,
            ),
        },
        "ModelApprovalStatus": "PendingManualApproval",
        "CustomerMetadataProperties": {
            MODEL_KEY: served.model, "run": served.name[:_SHOWN], **figures
        },
        "ClientToken": hashlib.sha256(f"{group}\n{served.digest}".encode()).hexdigest()[:36],
        **given(ModelMetrics={"ModelQuality": quality} if statistics_uri else None),
    }  # fmt: skip
