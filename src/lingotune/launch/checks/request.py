"""Checks of what would be sent: the code archive, and every field of the request. Pure.

Fields are compared with SageMaker's own model, so that no limits need copying by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lingotune.config.secrets import looks_secret, text_in
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.service_model import mistakes
from lingotune.launch.render.shared_fields import Request
from lingotune.preflight.registry import Found, Table

REQUEST: Table[Request] = Table()
CODE: Table[Bundle] = Table()

BUNDLE_BYTES = 10_000_000
"""Size limit of the code archive. The worker's code is a fraction of a MB; more is there by mistake."""
FILE_BYTES = 1_000_000
_DATA_FILE = re.compile(
    r"\.(jsonl?|csv|tsv|parquet|arrow|feather|safetensors|bin|pt|pth|ckpt|zip|gz)$"
)

SETTINGS = {
    "TrainingJobName": "name",
    "RoleArn": "aws.role",
    "Tags": "aws.tags",
    "Environment": "cluster.environment",
    "VpcConfig.Subnets": "aws.subnets",
    "VpcConfig.SecurityGroupIds": "aws.security_groups",
    "OutputDataConfig.KmsKeyId": "aws.kms_key",
    "ResourceConfig.VolumeKmsKeyId": "aws.volume_kms_key",
    "ResourceConfig.TrainingPlanArn": "cluster.training_plan",
    "ResourceConfig.InstancePlacementConfig": "cluster.ultra_server",
    "ResourceConfig.InstancePreferences": "cluster.fallback",
    "ResourceConfig.InstanceType": "cluster.instance_type",
    "ResourceConfig.InstanceCount": "cluster.nodes",
    "ResourceConfig.VolumeSizeInGB": "cluster.volume_gb",
    "ResourceConfig.KeepAlivePeriodInSeconds": "cluster.keep_alive",
    "RetryStrategy": "cluster.retries",
    "StoppingCondition.MaxRuntimeInSeconds": "cluster.max_run",
    "StoppingCondition.MaxWaitTimeInSeconds": "cluster.max_wait",
    "StoppingCondition.MaxPendingTimeInSeconds": "cluster.max_pending",
    "AlgorithmSpecification.TrainingImage": "cluster.image.uri",
    "AlgorithmSpecification.MetricDefinitions": "data.languages",
    "OutputDataConfig.S3OutputPath": "aws.bucket",
    "CheckpointConfig": "aws.bucket",
    "InputDataConfig": "aws.bucket",
    "TensorBoardOutputConfig": "aws.bucket",
    "ModelPackageConfig": "aws.model_group",
    "MlflowConfig": "aws.mlflow",
}
"""Start of a field's path in the request -> the setting that it comes from."""

EXAMPLES = {
    "aws.role": "aws.role=arn:aws:iam::111122223333:role/SageMakerRole",
    "aws.subnets": "'aws.subnets=[subnet-0123456789abcdef0]'",
    "aws.security_groups": "'aws.security_groups=[sg-0123456789abcdef0]'",
    "aws.tags": "letters, digits, spaces and _ . : / = + - @; at most 47 of your own",
    "aws.bucket": "aws.bucket=my-bucket",
    "cluster.environment": "names of letters, digits and _, values of at most 512 characters",
    "cluster.training_plan": "the ARN: arn:aws:sagemaker:us-east-1:111122223333:training-plan/NAME",
    "cluster.image.uri": "111122223333.dkr.ecr.us-east-1.amazonaws.com/image:tag",
    "name": "name=my-run",
}
"""Setting -> a valid override."""


@REQUEST.check("request-field", "SageMaker refuses a request that does not fit its model")
def _fields(request: Request) -> Iterator[Found]:
    for mistake in mistakes(request):
        if "<aws." not in str(mistake.value):  # a name that is not set yet
            setting = _setting(mistake.path)
            yield setting, f"{mistake.what} ({mistake.path})", EXAMPLES.get(setting, "")


def _setting(path: str) -> str:
    starts = [start for start in SETTINGS if path.startswith(start)]
    return SETTINGS[max(starts, key=len)] if starts else path


_FACTS = tuple(f"lingotune/{package}/facts/" for package in ("catalog", "config", "data/rows"))
_FORMS = "lingotune/config/facts/secrets.json"
"""The forms of secrets themselves."""


@CODE.check("code-too-large", "the archive holds code; data and models have their own channels")
def _size(bundle: Bundle) -> Iterator[Found]:
    if len(bundle.tar) > BUNDLE_BYTES and len(bundle.content) > BUNDLE_BYTES:
        what = f"the code archive has {len(bundle.content) / 1e6:.1f} MB; expected is below 1 MB"
        yield "src/lingotune", what, "move what is no code out of src/lingotune"


@CODE.check("data-in-code", "reviews may be personal data; code is kept for every run")
def _data(bundle: Bundle) -> Iterator[Found]:
    for name, content in bundle.files.items():
        own = name.startswith(_FACTS)
        if len(content) > FILE_BYTES or (_DATA_FILE.search(name) and not own):
            what = f"looks like data ({len(content)} bytes) and would travel with the code"
            yield name, what, "move it out of src/lingotune, name it in data.path=..."


@CODE.check("secret-in-code", "the code archive lies in S3 for as long as its runs matter")
def _secrets(bundle: Bundle) -> Iterator[Found]:
    texts = {name: text_in(content) for name, content in bundle.files.items() if name != _FORMS}
    together = "\n\n".join(texts.values())  # searched in a third of the time that each takes
    if not looks_secret(together):
        return
    for name, text in texts.items():
        if looks_secret(text):
            fix = "read it from the environment, or from AWS Secrets Manager"
            yield name, "holds something that looks like an access token", fix


@CODE.check("requirements-missing", "the listed images lack omegaconf, which reads the job file")
def _requirements(bundle: Bundle) -> Iterator[Found]:
    needed = bundle.files.get("requirements.txt", b"").decode(errors="replace")
    if not re.search(r"^omegaconf\b", needed, re.MULTILINE):
        fix = "omegaconf>=2.3,<2.4 in requirements-worker.txt"
        yield "requirements-worker.txt", "does not name omegaconf", fix
    if re.search(r"^(torch|transformers)\b", needed, re.MULTILINE):
        what = "replaces torch or transformers, which the image brings to fit its GPUs"
        yield "requirements-worker.txt", what, "take that line out"
