"""Description of a deployment, an endpoint or a batch transform, independent of any SDK. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lingotune.catalog.hardware import Instance, instances
from lingotune.config.schema import AwsConfig, DeployConfig, DeployKind
from lingotune.launch.render.inference_image import newest_image
from lingotune.launch.render.training_job import UNSET, Pairs, root_uri
from lingotune.serving.payloads import CSV, LINES, MOST_TEXTS_VARIABLE, TEXT

ENDPOINT_TAG = "lingotune:endpoint"
"""Tag of everything that a deployment makes; its value is the name of the endpoint."""
MODEL_TAG = "lingotune:model-sha256"
INSTANCE = "ml.m5.xlarge"
"""Instance type where none is set."""
LONGEST_NAME = 52
"""Characters of a name to which ten digits are added: SageMaker takes 63."""
WORKER_MB = 900
"""Memory of a process that serves a model, beside its weights: 430 MB of Python and PyTorch, as measured
here, and room for a batch of texts."""
SERVER_MB = 600
"""Memory of the container's HTTP server, a Java program."""
_MOST_TEXTS = 1_000_000
"""Texts in a request of a kind that waits up to an hour."""

CONTENT_TYPES = {".jsonl": LINES, ".csv": CSV, ".txt": TEXT}
"""Suffix of a batch's files -> their content type."""
_PIECE_MB, _WHOLE_MB = 6, 100
"""Size of a request of a batch whose files are cut at lines, and of one that gets whole files."""


@dataclass(frozen=True)
class Served:
    """Model that is to be served, as far as its files tell.

    digest: SHA-256 of the archive's contents. model: the one that answers name. model_type: its
    architecture. transformers: the release that wrote it; None if unknown. installs: packages that the
    container installs at its start.
    """

    name: str
    digest: str
    model: str
    model_type: str | None
    transformers: str | None
    weights_bytes: int
    installs: tuple[str, ...] = ()

    @property
    def process_mb(self) -> int:
        """Megabytes that a process needs which serves it."""
        return WORKER_MB + round(self.weights_bytes / 1e6)


@dataclass(frozen=True)
class Deployment:
    """Everything that SageMaker needs to know.

    name: of the endpoint, or of the transform job. family: the name that its parts are tagged with.
    instance_type: None if serverless. transformers: version of the image; None for one of the user's.
    output_uri: where answers go; None if they go to who asks. Pairs keep their order.
    """

    name: str
    family: str
    kind: DeployKind
    region: str
    role: str
    model_name: str
    config_name: str
    image: str
    transformers: str | None
    model_uri: str
    environment: Pairs
    processes: int
    instance_type: str | None
    count: int
    memory_mb: int
    max_concurrency: int
    volume_key: str | None
    input_uri: str | None
    content_type: str | None
    output_uri: str | None
    output_key: str | None
    timeout: int
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    network_isolation: bool
    tags: Pairs

    @property
    def is_endpoint(self) -> bool:
        """True for what stands until it is deleted."""
        return self.kind is not DeployKind.batch

    @property
    def payload_mb(self) -> int:
        """Megabytes of one request of a batch."""
        return _WHOLE_MB if self.content_type == CSV else _PIECE_MB


def deployment_name(served: Served, settings: DeployConfig) -> str:
    """Name the endpoint: as typed, else as the run."""
    return settings.name or served.name[:LONGEST_NAME].rstrip("-")


def instance_for(settings: DeployConfig) -> Instance | None:
    """Look up the instance type of a deployment; None if serverless, and for an unknown type."""
    if settings.kind is DeployKind.serverless:
        return None
    return instances().get(settings.instance_type or INSTANCE)


def processes_for(served: Served, settings: DeployConfig) -> int:
    """Choose the processes of an instance: one for each vCPU that fits into memory, one on a GPU."""
    instance = instance_for(settings)
    if settings.processes is not None:
        return settings.processes
    if instance is None or instance.gpus:
        return 1
    fitting = (instance.ram_gib * 1024 - SERVER_MB) // served.process_mb
    return max(1, min(instance.vcpus, fitting))


def needed_mb(served: Served, settings: DeployConfig) -> int:
    """Compute the megabytes of memory that the container needs."""
    return SERVER_MB + processes_for(served, settings) * served.process_mb


def describe(
    served: Served, settings: DeployConfig, aws: AwsConfig, attempt: int = 1
) -> Deployment:
    """Describe a deployment; names that `aws` lacks become placeholders such as `<aws.role>`.

    Models and configurations are named by the digits of what they hold, so that the same deployment has
    the same names. attempt: counts starts of the same batch.
    """
    kind, instance = settings.kind, instance_for(settings)
    name, region = (
        deployment_name(served, settings),
        aws.region or UNSET.format("region"),
    )
    image, release = _image(settings, region, gpu=instance is not None and instance.gpus > 0)
    processes = processes_for(served, settings)
    environment = _environment(settings, region, processes, instance)
    role = aws.role or UNSET.format("role")
    network = (tuple(aws.subnets), tuple(aws.security_groups), aws.network_isolation)
    model = f"{name}-{_digits(served.digest, image, environment, role, network)}"
    output = _output_uri(settings, aws, name)
    instance_type = None if kind is DeployKind.serverless else settings.instance_type or INSTANCE
    size = (
        (settings.memory_mb, settings.max_concurrency)
        if instance_type is None
        else (instance_type, settings.count)
    )
    digits = _digits(model, kind.value, size, output, aws.kms_key, aws.volume_kms_key)
    is_batch = kind is DeployKind.batch
    if is_batch:
        digits = _digits(digits, settings.input, settings.timeout)
    suffix = f"-{attempt}" if is_batch and attempt > 1 else ""
    return Deployment(
        name=f"{name}-{digits}{suffix}" if is_batch else name,
        family=name,
        kind=kind,
        region=region,
        role=role,
        model_name=model,
        config_name=f"{name}-{digits}",
        image=image,
        transformers=release,
        model_uri=f"{root_uri(aws)}/deployments/{served.digest}/model.tar.gz",
        environment=environment,
        processes=processes,
        instance_type=instance_type,
        count=settings.count,
        memory_mb=settings.memory_mb,
        max_concurrency=settings.max_concurrency,
        volume_key=aws.volume_kms_key,
        input_uri=settings.input,
        content_type=content_type(settings.input) if is_batch else None,
        output_uri=output,
        output_key=aws.kms_key,
        timeout=settings.timeout,
        subnets=network[0],
        security_groups=network[1],
        network_isolation=aws.network_isolation,
        tags=((ENDPOINT_TAG, name), (MODEL_TAG, served.model), *aws.tags.items()),
    )


def content_type(uri: str | None) -> str | None:
    """Tell the content type of a batch's files by their suffix, JSON lines for a prefix; None = unknown."""
    if uri is None or uri.endswith("/"):
        return LINES
    return next((kind for end, kind in CONTENT_TYPES.items() if uri.endswith(end)), None)


def _output_uri(settings: DeployConfig, aws: AwsConfig, name: str) -> str | None:
    if settings.kind not in (DeployKind.batch, DeployKind["async"]):
        return None
    return settings.answers or f"{root_uri(aws)}/answers/{name}"


def _image(settings: DeployConfig, region: str, *, gpu: bool) -> tuple[str, str | None]:
    if settings.image is not None:
        return settings.image, None
    newest = newest_image()
    return newest.uri(region, gpu=gpu), newest.transformers


def _environment(
    settings: DeployConfig, region: str, processes: int, instance: Instance | None
) -> Pairs:
    """List the variables of the container. OMP_NUM_THREADS shares the vCPUs among the processes."""
    threads = max(1, instance.vcpus // processes) if instance else 1
    waits = settings.kind in (DeployKind.batch, DeployKind["async"])
    return (
        ("SAGEMAKER_PROGRAM", "inference.py"),
        ("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/code"),
        ("SAGEMAKER_CONTAINER_LOG_LEVEL", "20"),
        ("SAGEMAKER_REGION", region),
        # Otherwise the server starts one for each vCPU, whether they fit into memory or not.
        ("SAGEMAKER_MODEL_SERVER_WORKERS", str(processes)),
        ("OMP_NUM_THREADS", str(threads)),
        ("HF_HUB_OFFLINE", "1"),
        *(
            (
                ("SAGEMAKER_MODEL_SERVER_TIMEOUT", str(settings.timeout)),
                (MOST_TEXTS_VARIABLE, str(_MOST_TEXTS)),
            )
            if waits
            else ()
        ),
        *([("SAGEMAKER_MAX_PAYLOAD_IN_MB", "1024")] if settings.kind.value == "async" else []),
    )


def _digits(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:10]
