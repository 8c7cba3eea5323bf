"""Description of one training job, independent of any SDK; the other modules here translate it. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from lingotune.catalog.hardware import image_uri, resolve_image
from lingotune.config.remote_code import VARIABLE as REMOTE_CODE
from lingotune.config.schema import (
    AwsConfig,
    ClusterConfig,
    Distribution,
    FallbackBy,
    JobConfig,
    Lane,
    Sdk,
    further_metrics,
)
from lingotune.contract.container import (
    CHECKPOINTS,
    CONFIG_CHANNEL,
    DATA_CHANNEL,
    DIGEST_VARIABLE,
    MODEL_CHANNEL,
    TENSORBOARD,
    TRACKING_URI,
)
from lingotune.contract.log_lines import metric_definitions
from lingotune.data.sources.languages import known_languages
from lingotune.launch.render.bundle import PROGRAM

UNSET = "<aws.{}>"
"""Placeholder for a name of the account that has not been set yet."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Digests:
    """SHA-256 of the job file and the code, and the digest of the prepared data: 64 hexadecimal digits.

    `data` is None if the workers prepare the data themselves, `model` unless a folder is uploaded.
    """

    job: str
    code: str
    data: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class ImageVersions:
    """Versions by which the v2 estimator looks up an image; exactly as typed, as it compares strings."""

    transformers: str
    pytorch: str
    python: str


@dataclass(frozen=True)
class TrainingJob:
    """Everything that SageMaker needs to know. Times are in seconds.

    max_wait: None without spot capacity. preferences: instance types and their numbers in the order in
    which SageMaker tries them; empty = `instance_type` alone. versions: None where the image is asked for
    by its address: the user's own, one that the SDK v2 does not list, and any without GPUs. program: script
    in the code that the toolkit starts. Pairs keep their order.
    """

    name: str
    region: str
    role: str
    image: str
    versions: ImageVersions | None
    instance_type: str
    instance_count: int
    preferences: tuple[tuple[str, int], ...]
    distribution: Distribution
    code_uri: str
    channels: Pairs
    input_mode: str
    output_uri: str
    output_key: str | None
    compress_output: bool
    checkpoint_uri: str | None
    checkpoint_path: str
    tensorboard_uri: str | None
    tensorboard_path: str
    environment: Pairs
    tags: Pairs
    metrics: Pairs
    max_run: int
    max_wait: int | None
    max_pending: int | None
    keep_alive: int | None
    retries: int | None
    volume_gb: int | None
    volume_key: str | None
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    encrypt_traffic: bool
    network_isolation: bool
    training_plan: str | None
    ultra_server: str | None
    remote_debug: bool
    profiler: bool
    program: str = PROGRAM
    model_group: str | None = None
    mlflow: str | None = None


def root_uri(aws: AwsConfig) -> str:
    """S3 prefix of everything that lingotune writes, without a trailing slash."""
    bucket = aws.bucket or UNSET.format("bucket")
    return "/".join(["s3:/", bucket, *filter(None, [aws.prefix.strip("/")])])


def job_name(job: JobConfig, digests: Digests, attempt: int = 1) -> str:
    """Format `<name>-<10 digits>[-attempt]`.

    The same job, code and data get the same name, so that a job is not billed twice by mistake; `attempt`
    makes a new name.
    """
    parts = [digests.job, digests.code, digests.data or ""]
    parts += [digests.model] if digests.model else []
    identity = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
    suffix = f"-{attempt}" if attempt > 1 else ""
    return f"{job.name}-{identity}{suffix}"


def describe(
    job: JobConfig,
    aws: AwsConfig,
    digests: Digests,
    attempt: int = 1,
    data_uri: str | None = None,
    model_uri: str | None = None,
    sweep_tags: Pairs = (),
) -> TrainingJob:
    """Describe the training job for a job on SageMaker that the preflight has accepted.

    The job is not unpacked into hyperparameters: it travels as a file in the input channel `config`.
    data_uri, model_uri: S3 prefixes of data and of a base model that are there already, with a slash at the
    end. sweep_tags: say which job of which sweep it is. Names that `aws` lacks become placeholders such as
    `<aws.role>`.
    """
    cluster, root = job.cluster, root_uri(aws)
    name = job_name(job, digests, attempt)
    region = aws.region or UNSET.format("region")
    image, versions = _image(job, region)
    return TrainingJob(
        name=name,
        region=region,
        role=aws.role or UNSET.format("role"),
        image=image,
        versions=versions,
        instance_type=cluster.instance_type or "",
        instance_count=cluster.nodes,
        preferences=_preferences(cluster),
        distribution=cluster.distribution,
        # Content-addressed: jobs with the same code share an object, those with the same data a prefix.
        code_uri=f"{root}/code/{digests.code}/sourcedir.tar.gz",
        channels=_channels(root, digests, data_uri, model_uri),
        input_mode=cluster.input_mode.value,
        output_uri=f"{root}/output",
        output_key=aws.kms_key,
        compress_output=cluster.compress_output,
        checkpoint_uri=f"{root}/checkpoints/{name}" if cluster.checkpoints else None,
        checkpoint_path=CHECKPOINTS,
        tensorboard_uri=f"{root}/tensorboard/{name}" if cluster.tensorboard else None,
        tensorboard_path=TENSORBOARD,
        environment=(
            (DIGEST_VARIABLE, digests.job),
            *([(REMOTE_CODE, job.model.remote_code)] if job.model.remote_code else []),
            *([(TRACKING_URI, aws.mlflow)] if aws.mlflow else []),
            *cluster.environment.items(),
        ),
        tags=(
            ("lingotune:name", job.name),
            ("lingotune:job-sha256", digests.job),
            ("lingotune:code-sha256", digests.code),
            *sweep_tags,
            *aws.tags.items(),
        ),
        metrics=tuple(
            (m["Name"], m["Regex"])
            for m in metric_definitions(known_languages(job.data), further_metrics(job))
        ),
        max_run=cluster.max_run,
        max_wait=(cluster.max_wait or 2 * cluster.max_run) if cluster.spot else None,
        max_pending=cluster.max_pending,
        keep_alive=cluster.keep_alive,
        retries=cluster.retries,
        volume_gb=cluster.volume_gb,
        volume_key=aws.volume_kms_key,
        subnets=tuple(aws.subnets),
        security_groups=tuple(aws.security_groups),
        encrypt_traffic=aws.encrypt_traffic,
        network_isolation=aws.network_isolation,
        training_plan=cluster.training_plan,
        ultra_server=cluster.ultra_server,
        remote_debug=cluster.remote_debug,
        profiler=cluster.profiler,
        model_group=aws.model_group,
        mlflow=aws.mlflow,
    )


def on_machine(job: TrainingJob, name: str, instance_type: str, count: int) -> TrainingJob:
    """Describe a job under another name on another machine, with the places that are named after it."""

    def renamed(uri: str | None) -> str | None:
        return uri and f"{uri.removesuffix(job.name)}{name}"

    return replace(
        job,
        name=name,
        instance_type=instance_type,
        instance_count=count,
        checkpoint_uri=renamed(job.checkpoint_uri),
        tensorboard_uri=renamed(job.tensorboard_uri),
    )


def _preferences(cluster: ClusterConfig) -> tuple[tuple[str, int], ...]:
    """List the machines in their order, for SageMaker to go through."""
    if cluster.fallback_by is not FallbackBy.sagemaker:
        return ()
    return tuple((row.instance_type or "", row.nodes or 1) for row in cluster.fallback)


def renamed(job: TrainingJob, name: str) -> TrainingJob:
    """Give a job another name, and its places in S3 with it."""

    def place(uri: str | None) -> str | None:
        return uri and f"{uri.rpartition('/')[0]}/{name}"

    checkpoints, tensorboard = place(job.checkpoint_uri), place(job.tensorboard_uri)
    return replace(job, name=name, checkpoint_uri=checkpoints, tensorboard_uri=tensorboard)


def _channels(root: str, digests: Digests, data_uri: str | None, model_uri: str | None) -> Pairs:
    # The final slash matters, as S3Prefix is a prefix of strings.
    found = [(CONFIG_CHANNEL, f"{root}/jobs/{digests.job}/")]
    if digests.data is not None:
        found.append((DATA_CHANNEL, data_uri or f"{root}/data/{digests.data}/"))
    if model_uri or digests.model:
        found.append((MODEL_CHANNEL, model_uri or f"{root}/models/{digests.model}/"))
    return tuple(found)


def _image(job: JobConfig, region: str) -> tuple[str, ImageVersions | None]:
    """Resolve address and versions of the image; pinned versions stay as typed."""
    typed = job.cluster.image
    if typed.uri is not None:
        return typed.uri, None
    image = resolve_image(job.cluster)
    assert image is not None, "preflight requires it"
    versions = ImageVersions(image.transformers, image.pytorch, image.python)
    if typed.lane is Lane.pinned:
        assert typed.transformers and typed.pytorch and typed.python, "preflight requires it"
        versions = ImageVersions(typed.transformers, typed.pytorch, typed.python)
    tag = f"{versions.pytorch}-transformers{versions.transformers}-gpu-{versions.python}"
    uri = image_uri(f"{tag}-{image.container}", region)
    # v2 lists images for GPUs alone; they run without one, too
    by_versions = Sdk.v2.value in image.sdks and job.cluster.gpus_per_node > 0
    return uri, versions if by_versions else None
