"""Starting a rendered job with each of the libraries, which are imported only when needed.

The SDKs report every call to their makers and read defaults from files of the machine; both are turned
off. v2 and v3 cannot be installed together.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

from lingotune.config.problems import Problem
from lingotune.config.schema import AwsConfig, Sdk
from lingotune.launch.render.shared_fields import Arguments, Request

_SDK_CONFIG = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


_LIBRARIES = {
    Sdk.v2: ("sagemaker", "2.", "pip install 'lingotune[launch]'"),
    Sdk.v3: (
        "sagemaker-train",
        "",
        "an environment of its own: pip install 'lingotune[launch-v3]'",
    ),
    Sdk.boto3: ("boto3", "", "pip install 'lingotune[launch]'"),
}
"""Requirement of each SDK: the distribution, the beginning of its version, how to install it."""


def missing_library(aws: AwsConfig) -> Problem | None:
    """Check, before anything is sent, whether the library that starts the job is installed here."""
    sdk = Sdk.boto3 if aws.queue else aws.sdk
    name, version, fix = _LIBRARIES[sdk]
    try:
        if metadata.version(name).startswith(version):
            return None
        what = f"needs {name} {version}x; installed is {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        what = f"needs {name}, which is not installed here"
    if sdk is not Sdk.boto3:
        fix += "; or aws.sdk=boto3, which sends the same request"
    return Problem(f"aws.sdk={sdk.value}", what, fix, check="sdk-not-installed")


@contextmanager
def _quiet() -> Iterator[None]:
    """Let an SDK log warnings only, and leave logging as it was: they make all that is logged visible."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        root.setLevel(before[0])
        root.handlers[:] = before[1]


@_quiet()
def start_v2(rendered: Arguments, session: Any, client: Any) -> None:
    """Run `HuggingFace(**estimator).fit(**fit)` with a boto3 session and its SageMaker client."""
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    from sagemaker.debugger import TensorBoardOutputConfig
    from sagemaker.huggingface import HuggingFace
    from sagemaker.inputs import TrainingInput
    from sagemaker.session import Session

    sdk = Session(boto_session=session, sagemaker_client=client, sagemaker_config=_SDK_CONFIG)
    estimator = dict(rendered["estimator"])
    if "tensorboard_output_config" in estimator:
        curves = TensorBoardOutputConfig(**estimator["tensorboard_output_config"])
        estimator["tensorboard_output_config"] = curves
    inputs = {
        name: given if isinstance(given, str) else TrainingInput(**given)
        for name, given in rendered["fit"]["inputs"].items()
    }
    HuggingFace(**estimator, sagemaker_session=sdk).fit(**{**rendered["fit"], "inputs": inputs})


@_quiet()
def start_v3(rendered: Arguments, session: Any) -> None:
    """Run `ModelTrainer(**trainer).train()` with a boto3 session of its own, under the job's own name.

    ModelTrainer appends the time to every name, so that the same job could be billed twice unnoticed.
    Therefore the name is set where botocore builds the requests: the one that starts the job, and the one
    by which the SDK asks about it. The session has to be new, as clients would keep the first job's name.
    """
    # action=check asks IAM the same questions, and reports those that it could not ask.
    os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")
    from sagemaker.core import shapes
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training import configs
    from sagemaker.train import ModelTrainer

    values = dict(rendered["trainer"])
    for key, kind in {
        "compute": configs.Compute,
        "networking": configs.Networking,
        "stopping_condition": shapes.StoppingCondition,
        "output_data_config": shapes.OutputDataConfig,
        "checkpoint_config": shapes.CheckpointConfig,
        "model_package_config": shapes.ModelPackageConfig,
    }.items():
        if key in values:
            values[key] = kind(**values[key])
    values["tags"] = [shapes.Tag(**tag) for tag in values["tags"]]
    values["input_data_config"] = [shapes.Channel(**c) for c in values["input_data_config"]]
    sdk = Session(boto_session=session, sagemaker_config=_SDK_CONFIG)
    trainer = ModelTrainer(**values, sagemaker_session=sdk)
    for method, value in _methods(rendered["with"], shapes).items():
        trainer = getattr(trainer, method)(value)
    name = rendered["trainer"]["base_job_name"]
    for operation in ("CreateTrainingJob", "DescribeTrainingJob"):
        session.events.register(
            f"provide-client-params.sagemaker.{operation}",
            lambda params, **_: {**params, "TrainingJobName": name},
        )
    trainer.train(wait=False, logs=False)


def _methods(rendered: Arguments, shapes: Any) -> dict[str, object]:
    """Map the names of `with_...` methods to their arguments."""
    kinds = {
        "retry_strategy": shapes.RetryStrategy,
        "remote_debug_config": shapes.RemoteDebugConfig,
        "tensorboard_output_config": shapes.TensorBoardOutputConfig,
    }
    arguments = {
        f"with_{name}": kind(**rendered[name]) for name, kind in kinds.items() if name in rendered
    }
    definitions = [shapes.MetricDefinition(**m) for m in rendered.get("metric_definitions", [])]
    return {**arguments, "with_metric_definitions": definitions} if definitions else arguments


def enqueue(request: Request, batch: Any, aws: AwsConfig) -> None:
    """Put the request into an AWS Batch queue for training jobs, with a Batch client.

    Tags become those of the service job, as the payload must not contain any.
    """
    payload = {key: value for key, value in request.items() if key != "Tags"}
    options = {
        "shareIdentifier": aws.queue_share,
        "quotaShareName": aws.queue_quota_share,
        "schedulingPriority": aws.queue_priority,
    }
    batch.submit_service_job(
        jobName=request["TrainingJobName"],
        jobQueue=aws.queue,
        serviceJobType="SAGEMAKER_TRAINING",
        serviceRequestPayload=json.dumps(payload),
        tags={tag["Key"]: tag["Value"] for tag in request["Tags"]},
        **{key: value for key, value in options.items() if value is not None},
    )
