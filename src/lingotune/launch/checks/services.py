"""Checks of AWS's services beside a job: the model registry, MLflow, the queue's quota shares. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lingotune.config.quoting import override_text
from lingotune.config.schema import Backend, LaunchConfig, Sdk, Tracker
from lingotune.contract.container import TRACKING_URI
from lingotune.preflight.registry import Found, Table

SERVICES: Table[LaunchConfig] = Table()

_ARNS = {
    "model_group": (
        r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]{9,16}:\d{12}:model-package-group/\S+",
        "arn:aws:sagemaker:us-east-1:111122223333:model-package-group/reviews",
    ),
    "mlflow": (
        r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]*:\d{12}:mlflow-[a-zA-Z-]*/.+",
        "arn:aws:sagemaker:us-east-1:111122223333:mlflow-tracking-server/team",
    ),
}
"""Setting -> the form of its ARN, from the service's model, and one for an example."""


@SERVICES.check("service-arn", "the service knows it by its ARN alone")
def _arns(config: LaunchConfig) -> Iterator[Found]:
    for name, (form, example) in _ARNS.items():
        value = getattr(config.aws, name)
        if value is not None and not re.fullmatch(form, value):
            yield f"aws.{name}={value}", "is no such ARN", f"aws.{name}={example}"


@SERVICES.check("service-with-sdk", "an SDK sends what it has arguments for")
def _sdk(config: LaunchConfig) -> Iterator[Found]:
    aws = config.aws
    if aws.queue is not None or config.cluster.backend is Backend.loopback:
        return
    lacking = {Sdk.v2: ("model_group", "mlflow"), Sdk.v3: ("mlflow",)}.get(aws.sdk, ())
    wanted = [f"aws.{name}" for name in lacking if getattr(aws, name) is not None]
    if wanted:
        what = f"cannot ask for {' and '.join(wanted)}"
        yield f"aws.sdk={aws.sdk.value}", what, "aws.sdk=boto3, which sends the same request"


@SERVICES.check("mlflow-unused", "MLflow is told what its tracker reports")
def _mlflow(config: LaunchConfig) -> Iterator[Found]:
    trackers = config.training.report_to
    if config.aws.mlflow is not None and Tracker.mlflow not in trackers:
        names = [tracker.value for tracker in [*trackers, Tracker.mlflow]]
        fix = f"{override_text('training.report_to', names)}, or aws.mlflow=null"
        yield f"aws.mlflow={config.aws.mlflow}", "has no effect: no tracker reports to it", fix


@SERVICES.check("mlflow-twice", "one of them decides")
def _two_places(config: LaunchConfig) -> Iterator[Found]:
    key = f"cluster.environment.{TRACKING_URI}"
    if config.aws.mlflow is not None and TRACKING_URI in config.cluster.environment:
        yield key, "is set beside aws.mlflow", f"aws.mlflow=null, or without {key}"


@SERVICES.check("queue-shares", "a queue shares its capacity out by one rule")
def _shares(config: LaunchConfig) -> Iterator[Found]:
    aws = config.aws
    if aws.queue_share is not None and aws.queue_quota_share is not None:
        where = f"aws.queue_quota_share={aws.queue_quota_share}"
        what = "is of a queue with quota shares, and aws.queue_share of one with fair shares"
        yield where, what, "aws.queue_share=null, or aws.queue_quota_share=null"
