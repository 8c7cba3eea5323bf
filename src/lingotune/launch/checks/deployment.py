"""Checks of a deployment, of everything that SageMaker would refuse or that would fail there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields

from lingotune.catalog.architectures import architectures
from lingotune.catalog.hardware import FIRST_CUDA, Instance, instances, version
from lingotune.config.problems import Severity, closest, nearest
from lingotune.config.schema import DeployConfig, DeployKind, LaunchConfig
from lingotune.launch.render.deployment import (
    INSTANCE,
    LONGEST_NAME,
    Served,
    content_type,
    deployment_name,
    describe,
    instance_for,
    needed_mb,
    processes_for,
)
from lingotune.launch.render.deployment_requests import to_requests
from lingotune.launch.render.inference_image import newest_image
from lingotune.launch.render.service_model import choices, mistakes
from lingotune.preflight.registry import Found, Table, typed


@dataclass(frozen=True)
class Wanted:
    """A model, and how it is to be served."""

    served: Served
    config: LaunchConfig

    @property
    def settings(self) -> DeployConfig:
        """Settings of the deployment."""
        return self.config.deploy

    @property
    def instance(self) -> Instance | None:
        """The instance type, if it is known and one is needed."""
        return instance_for(self.settings)


DEPLOYMENT: Table[Wanted] = Table()

_ALL = frozenset(kind.value for kind in DeployKind)
_ON_INSTANCES = _ALL - {"serverless"}
_USED_BY = {
    "instance_type": _ON_INSTANCES,
    "count": _ON_INSTANCES,
    "processes": _ON_INSTANCES,
    "memory_mb": {"serverless"},
    "max_concurrency": {"serverless"},
    "input": {"batch"},
    "answers": {"batch", "async"},
    "timeout": {"batch", "async"},
}
"""Setting -> the kinds that it has an effect on; those that are missing have one on all."""
_RANGES = {
    "count": (1, 1000, "instances, from 1"),
    "processes": (1, 1000, "processes on each instance, from 1; null = as many as fit"),
    "max_concurrency": (1, 200, "requests at a time, from 1 to 200"),
    "timeout": (1, 3600, "seconds, from 1 to 3600"),
}
_SIZES = range(1024, 6145, 1024)
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")


def _where(name: str, value: object) -> str:
    return f"deploy.{name}={typed(value)}"


@DEPLOYMENT.check("deploy-unused", "a setting without an effect is a mistake")
def _unused(wanted: Wanted) -> Iterator[Found]:
    kind = wanted.settings.kind.value
    for setting in fields(DeployConfig):
        value = getattr(wanted.settings, setting.name)
        of = _USED_BY.get(setting.name, _ALL)
        if value != setting.default and kind not in of:
            fix = " | ".join(f"deploy.kind={name}" for name in sorted(of))
            yield _where(setting.name, value), f"has no effect with deploy.kind={kind}", fix
    if wanted.config.attempt != 1 and kind != "batch":
        where = f"attempt={wanted.config.attempt}"
        yield where, f"has no effect with deploy.kind={kind}", "deploy.kind=batch"
    rate = wanted.config.budget.usd_per_hour
    if rate is not None and kind not in _ON_INSTANCES:
        where, fix = f"budget.usd_per_hour={rate:g}", "budget.usd_per_hour=null"
        yield where, f"has no effect with deploy.kind={kind}, which has no instance", fix


@DEPLOYMENT.check("deploy-range", "SageMaker takes no other value")
def _ranges(wanted: Wanted) -> Iterator[Found]:
    for name, (low, high, meaning) in _RANGES.items():
        value = getattr(wanted.settings, name)
        if value is not None and not low <= value <= high:
            nearest_value = min(max(value, low), high)
            fix = f"deploy.{name}={nearest_value}; possible: {meaning}"
            yield _where(name, value), "is out of range", fix
    memory = wanted.settings.memory_mb
    if memory not in _SIZES:
        fix = f"deploy.memory_mb={min(_SIZES, key=lambda size: abs(size - memory))}"
        yield _where("memory_mb", memory), f"is none of {', '.join(map(str, _SIZES))}", fix


@DEPLOYMENT.check("deploy-name", "SageMaker names endpoints so, and ten digits are added")
def _name(wanted: Wanted) -> Iterator[Found]:
    name = deployment_name(wanted.served, wanted.settings)
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        plain = re.sub(r"[^a-zA-Z0-9]+", "-", name)[:LONGEST_NAME].strip("-") or "reviews"
        what = f"is no name of at most {LONGEST_NAME} letters, digits and hyphens between them"
        yield _where("name", name), what, f"deploy.name={plain}"


# --- machine ------------------------------------------------------------------------------------


@DEPLOYMENT.check("deploy-instance", "SageMaker serves on its own list of instance types")
def _instance(wanted: Wanted) -> Iterator[Found]:
    name, kind = wanted.settings.instance_type, wanted.settings.kind
    if name is None or kind is DeployKind.serverless:
        return
    batch = kind is DeployKind.batch
    known = choices("TransformInstanceType" if batch else "ProductionVariantInstanceType")
    usable = [one for one in known if one in instances()]
    fix = f"deploy.instance_type={closest(name, usable) or INSTANCE}"
    if name not in known:
        does = "runs no batch transform" if batch else "serves no endpoint"
        what = f"is a type on which SageMaker {does}{nearest(name, usable)}"
        yield _where("instance_type", name), what, fix
    elif name not in instances():
        what = "is a type that no image of ours is known to run on"
        yield _where("instance_type", name), what, fix


@DEPLOYMENT.check("deploy-one-gpu", "a process computes on the first GPU, and all are billed")
def _gpus(wanted: Wanted) -> Iterator[Found]:
    instance = wanted.instance
    if instance is not None and instance.gpus > 1:
        alone = [
            one for one in instances().values() if (one.family, one.gpus) == (instance.family, 1)
        ]
        smallest = alone[0].instance_type if alone else "ml.g5.xlarge"
        what = f"has {instance.gpus} GPUs, of which a served model uses one"
        fix = f"deploy.instance_type={smallest} deploy.count={instance.gpus}"
        yield _where("instance_type", instance.instance_type), what, fix


@DEPLOYMENT.check("deploy-image-gpu", "PyTorch has no kernels for the GPU, on the paid machine")
def _image_gpu(wanted: Wanted) -> Iterator[Found]:
    instance, image = wanted.instance, newest_image()
    if instance is None or instance.capability is None or wanted.settings.image is not None:
        return
    oldest = FIRST_CUDA.get(instance.capability)
    if oldest and image.cuda < oldest:
        has, needs = (".".join(map(str, cuda)) for cuda in (image.cuda, oldest))
        what = f"has a {instance.gpu}, which needs CUDA {needs}; the inference image has {has}"
        fix = "deploy.instance_type=ml.g5.xlarge, or deploy.image= of an image that has it"
        yield _where("instance_type", instance.instance_type), what, fix


@DEPLOYMENT.check("deploy-memory", "the container would be ended when it loads the model")
def _memory(wanted: Wanted) -> Iterator[Found]:
    settings, served = wanted.settings, wanted.served
    needs, processes = needed_mb(served, settings), processes_for(served, settings)
    each = f"about {needs} MB for {processes} x the model ({round(served.weights_bytes / 1e6)} MB)"
    if settings.kind is DeployKind.serverless:
        if settings.memory_mb in _SIZES and needs > settings.memory_mb:
            larger = [size for size in _SIZES if size >= needs]
            fix = f"deploy.memory_mb={larger[0]}" if larger else "deploy.kind=realtime"
            yield _where("memory_mb", settings.memory_mb), f"is too little: {each}", fix
        return
    instance = wanted.instance
    if instance is not None and needs > instance.ram_gib * 1024:
        where = _where("instance_type", instance.instance_type)
        fix = f"deploy.instance_type={_larger(instance, needs)}"
        if settings.processes is not None:
            where = _where("processes", settings.processes)
            fix = f"deploy.processes=null, or {fix}"
        yield where, f"{instance.instance_type} has {instance.ram_gib} GiB of memory: {each}", fix


def _larger(instance: Instance, needs: int) -> str:
    """Name the smallest instance type with enough memory, of the family if there is one."""
    known = set(choices("ProductionVariantInstanceType"))
    fits = [
        one for one in instances().values()
        if one.instance_type in known and one.ram_gib * 1024 >= needs and one.gpus <= 1
    ]  # fmt: skip
    fits.sort(key=lambda one: (one.family != instance.family, one.ram_gib))
    return fits[0].instance_type


# --- image and model ----------------------------------------------------------------------------


@DEPLOYMENT.check("deploy-architecture", "transformers would not know the model, in the container")
def _architecture(wanted: Wanted) -> Iterator[Found]:
    name, image = wanted.served.model_type, newest_image()
    if name is None or wanted.settings.image is not None:
        return
    known = architectures().get(name)
    if known is None or not known.is_in(image.transformers):
        what = (
            f"is of the architecture {name}, which transformers {image.transformers} of the newest"
        )
        first = known.first if known else "that has it"
        yield (
            "model",
            f"{what} inference image lacks",
            f"deploy.image= of one with {first} or newer",
        )


@DEPLOYMENT.check(
    "deploy-older-image",
    "newer files are mostly read by older releases, not always",
    Severity.warning,
)
def _older_image(wanted: Wanted) -> Iterator[Found]:
    wrote, image = wanted.served.transformers, newest_image()
    if wrote is None or wanted.settings.image is not None or not _is_release(wrote):
        return
    if version(wrote)[:1] > version(image.transformers)[:1]:
        what = f"was written by transformers {wrote}; the newest inference image has"
        fix = "ask the endpoint before others do, or deploy.image= of a newer one"
        yield "model", f"{what} {image.transformers}", fix


def _is_release(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)*", text) is not None


@DEPLOYMENT.check("deploy-isolated", "an isolated container reaches no package index")
def _isolated(wanted: Wanted) -> Iterator[Found]:
    if wanted.config.aws.network_isolation and wanted.served.installs:
        needed = ", ".join(wanted.served.installs)
        what = f"keeps the container from installing {needed}, which the model needs"
        yield "aws.network_isolation=true", what, "aws.network_isolation=false"


# --- kinds --------------------------------------------------------------------------------------


@DEPLOYMENT.check("deploy-serverless", "serverless endpoints have no network and volume of yours")
def _serverless(wanted: Wanted) -> Iterator[Found]:
    if wanted.settings.kind is not DeployKind.serverless:
        return
    aws = wanted.config.aws
    given = {
        "subnets": aws.subnets,
        "security_groups": aws.security_groups,
        "network_isolation": aws.network_isolation,
        "volume_kms_key": aws.volume_kms_key,
    }
    for name, value in given.items():
        if value:
            shown = f"[{','.join(value)}]" if isinstance(value, list) else typed(value)
            empty = {list: "[]", bool: "false"}.get(type(value), "null")
            fix = f"aws.{name}={empty}, or deploy.kind=realtime"
            yield f"aws.{name}={shown}", "cannot go with deploy.kind=serverless", fix


@DEPLOYMENT.check("deploy-volume-key", "AWS encrypts local NVMe disks with keys of its own")
def _volume_key(wanted: Wanted) -> Iterator[Found]:
    key, instance = wanted.config.aws.volume_kms_key, wanted.instance
    if key and instance is not None and instance.nvme_gb:
        what = f"is refused for {instance.instance_type}, which has a local disk"
        yield f"aws.volume_kms_key={key}", what, "aws.volume_kms_key=null"


@DEPLOYMENT.check("deploy-places", "a batch reads from S3, and answers go there")
def _places(wanted: Wanted) -> Iterator[Found]:
    settings = wanted.settings
    batch = settings.kind is DeployKind.batch
    if batch and settings.input is None:
        yield (
            "deploy.input",
            "is needed: what shall be classified",
            "deploy.input=s3://BUCKET/texts.jsonl",
        )
    for name, value in (("input", settings.input), ("answers", settings.answers)):
        if value is not None and not _S3.fullmatch(value):
            yield _where(name, value), "is no place in S3", f"deploy.{name}=s3://BUCKET/{name}"
    if batch and settings.input is not None and content_type(settings.input) is None:
        what = "ends in none of .jsonl, .csv, .txt"
        fix = "a file with that ending, or a prefix with / at its end for files of JSON lines"
        yield _where("input", settings.input), what, fix


SETTINGS = {
    "ExecutionRoleArn": "aws.role",
    "Tags": "aws.tags",
    "VpcConfig.Subnets": "aws.subnets",
    "VpcConfig.SecurityGroupIds": "aws.security_groups",
    "PrimaryContainer.Image": "deploy.image",
    "PrimaryContainer.ModelDataUrl": "aws.bucket",
    "KmsKeyId": "aws.volume_kms_key",
    "AsyncInferenceConfig.OutputConfig.KmsKeyId": "aws.kms_key",
    "AsyncInferenceConfig": "deploy.answers",
    "TransformInput": "deploy.input",
    "TransformOutput.KmsKeyId": "aws.kms_key",
    "TransformOutput": "deploy.answers",
    "TransformResources.VolumeKmsKeyId": "aws.volume_kms_key",
}
"""Start of a field's path in a request -> the setting that it comes from."""
_EXAMPLES = {
    "aws.role": "aws.role=arn:aws:iam::111122223333:role/SageMakerRole",
    "aws.tags": "letters, digits, spaces and _ . : / = + - @; at most 48 of your own",
    "aws.bucket": "aws.bucket=my-bucket",
    "aws.subnets": "'aws.subnets=[subnet-0123456789abcdef0]'",
    "aws.security_groups": "'aws.security_groups=[sg-0123456789abcdef0]'",
    "deploy.image": "deploy.image=111122223333.dkr.ecr.us-east-1.amazonaws.com/image:tag",
}


@DEPLOYMENT.check("deploy-request", "SageMaker refuses a request that does not fit its model")
def _requests(wanted: Wanted) -> Iterator[Found]:
    if any(True for check in (_unused, _ranges, _name, _instance, _places) for _ in check(wanted)):
        return  # which say the same in the words of the settings
    requests = to_requests(describe(wanted.served, wanted.settings, wanted.config.aws))
    told = set()
    for operation, request in requests.items():
        for mistake in mistakes(request, operation):
            starts = [start for start in SETTINGS if mistake.path.startswith(start)]
            where = SETTINGS[max(starts, key=len)] if starts else f"{operation}.{mistake.path}"
            if "<aws." not in str(mistake.value) and (where, mistake.what) not in told:
                told.add((where, mistake.what))
                yield (
                    where,
                    f"{mistake.what} ({operation}.{mistake.path})",
                    _EXAMPLES.get(where, ""),
                )
