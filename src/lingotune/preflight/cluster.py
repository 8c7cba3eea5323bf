"""Checks of the cluster: instance, GPUs, distribution, image, precision, this machine. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum

from lingotune.catalog.hardware import (
    BF16_CAPABILITY,
    Image,
    Instance,
    images,
    instance_of,
    instances,
    misfit,
    newest_image,
    pinned_image,
    resolve_precision,
)
from lingotune.catalog.neighbours import unfit
from lingotune.config.problems import Severity, listed, nearest
from lingotune.config.quoting import listing, override_text
from lingotune.config.schema import (
    ClusterConfig,
    Distribution,
    FallbackBy,
    ImageConfig,
    JobConfig,
    Lane,
    MachineConfig,
    Precision,
)
from lingotune.preflight.registry import Found, Table, changed, typed


def pin(image: Image | None) -> str:
    """Format the overrides that pin this image."""
    if image is None:
        return "another cluster"
    return (
        f"cluster.image.lane=pinned cluster.image.transformers={image.transformers}"
        f" cluster.image.pytorch={image.pytorch} cluster.image.python={image.python}"
    )


# --- this machine -------------------------------------------------------------------------------

CLUSTER: Table[JobConfig] = Table()


@CLUSTER.check("nodes-on-this-machine", "cluster=local is one machine")
def _local_nodes(job: JobConfig) -> Iterator[Found]:
    if job.cluster.instance_type is None and job.cluster.nodes != 1:
        fix = "cluster.processes=2, or a SageMaker cluster"
        yield f"cluster.nodes={job.cluster.nodes}", "cluster=local is this one machine", fix


@CLUSTER.check("processes-beside-gpus", "one process is started per GPU")
def _local_processes(job: JobConfig) -> Iterator[Found]:
    cluster = job.cluster
    if cluster.instance_type is None and cluster.gpus_per_node and cluster.processes != 1:
        what = "has no effect: with GPUs, one process is started per GPU"
        yield f"cluster.processes={cluster.processes}", what, "cluster.gpus_per_node=0"


@CLUSTER.check("image-on-this-machine", "images are SageMaker's")
def _local_image(job: JobConfig) -> Iterator[Found]:
    if job.cluster.instance_type is None and job.cluster.image != ImageConfig():
        yield "cluster.image", "has no effect: cluster=local has no image", "cluster=p4d_24xl"


@CLUSTER.check("distribution-on-this-machine", "cluster=local starts its processes with torchrun")
def _local_distribution(job: JobConfig) -> Iterator[Found]:
    distribution = job.cluster.distribution
    if job.cluster.instance_type is None and distribution is not Distribution.torch_distributed:
        where = f"cluster.distribution={distribution.value}"
        what = "cluster=local starts its processes with torchrun"
        yield where, what, "cluster.distribution=torch_distributed"


@CLUSTER.check("model-in-s3-on-this-machine", "SageMaker brings a model from S3 to its machines")
def _local_model(job: JobConfig) -> Iterator[Found]:
    model = job.model.name_or_path or ""
    if job.cluster.instance_type is None and model.startswith("s3://"):
        what = "is in S3, and cluster=local reads models from folders and from the hub"
        fix = f"aws s3 cp --recursive {model} FOLDER, then model.name_or_path=FOLDER"
        yield f"model.name_or_path={model}", what, fix


@CLUSTER.check(
    "sagemaker-setting-on-this-machine", "cluster=local starts no training job on SageMaker"
)
def _local_settings(job: JobConfig) -> Iterator[Found]:
    if job.cluster.instance_type is not None:
        return
    for name, value in changed(job.cluster, "sagemaker"):
        text = value.value if isinstance(value, Enum) else typed(value)
        where = f"cluster.{name}" + ("" if isinstance(value, (dict, list)) else f"={text}")
        yield where, "has no effect with cluster=local", "cluster=p4d_24xl"


# --- instances ----------------------------------------------------------------------------------


@CLUSTER.check("unknown-instance", "an unknown instance cannot be checked")
def _instance(job: JobConfig) -> Iterator[Found]:
    wanted = job.cluster.instance_type
    if wanted is not None and wanted not in instances() and unfit(wanted) is None:
        known = _alike(wanted)
        # of a family that is not known, what is spelled alike may cost a hundredfold
        misspelt = any(wanted.split(".")[:2] == other.split(".")[:2] for other in known)
        hint = nearest(wanted, known) if misspelt or wanted.count(".") != 2 else ""
        fix = f"cluster.instance_type={listed(wanted if hint else '', known)}"
        yield f"cluster.instance_type={wanted}", f"unknown instance type{hint}", fix


@CLUSTER.check("unfit-instance", "it would stop at its first import, on the paid machine")
def _unfit(job: JobConfig) -> Iterator[Found]:
    wanted = job.cluster.instance_type
    reason = unfit(wanted) if wanted else None
    if reason is not None:
        why, instead = reason
        yield f"cluster.instance_type={wanted}", why, f"cluster.instance_type={instead}"


def _alike(wanted: str) -> list[str]:
    """The known instances, those of the same size first."""
    size = wanted.rpartition(".")[2]
    return sorted(instances(), key=lambda other: other.rpartition(".")[2] != size)


@CLUSTER.check("processes-on-sagemaker", "SageMaker's launcher starts one process per GPU")
def _processes(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, instance_of(job.cluster)
    if instance and cluster.processes != 1:
        each = "per GPU" if instance.gpus else "on a machine without GPUs"
        what = f"has no effect on SageMaker: one process {each} is started"
        yield f"cluster.processes={cluster.processes}", what, "cluster.processes=1"
    if instance and cluster.gpus_per_node != instance.gpus:
        what = f"{cluster.instance_type} has {instance.gpus}"
        what += "; SageMaker starts one process on each" if instance.gpus else ""
        where = f"cluster.gpus_per_node={cluster.gpus_per_node}"
        yield where, what, f"cluster.gpus_per_node={instance.gpus}"


@CLUSTER.check(
    "no-distribution", "without a launcher one process runs, and the other GPUs are idle"
)
def _no_distribution(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, instance_of(job.cluster)
    alone = instance is not None and instance.gpus == 1 and cluster.nodes == 1
    if instance and instance.gpus and cluster.distribution is Distribution.none and not alone:
        what = f"starts one process, but there are {cluster.nodes * instance.gpus} GPUs"
        fix = "cluster.distribution=torch_distributed"
        yield "cluster.distribution=none", what, fix


@CLUSTER.check("nodes-without-gpus", "no launcher of SageMaker joins machines without GPUs")
def _cpu_nodes(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, instance_of(job.cluster)
    if instance and not instance.gpus and cluster.nodes != 1:
        what = f"{cluster.instance_type} has no GPU, and trains by itself"
        yield f"cluster.nodes={cluster.nodes}", what, "cluster.nodes=1, or cluster=g5_12xl"


@CLUSTER.check("distribution-without-gpus", "it starts one process on each GPU")
def _cpu_distribution(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, instance_of(job.cluster)
    if instance and not instance.gpus and cluster.distribution is not Distribution.none:
        what = f"{cluster.instance_type} has no GPU, and runs one process"
        where = f"cluster.distribution={cluster.distribution.value}"
        yield where, what, "cluster.distribution=none"


# --- machines to fall back on -------------------------------------------------------------------

MOST_MACHINES = 5
"""Instance types that SageMaker takes in a list."""


@CLUSTER.check("fallback-too-long", "SageMaker takes five instance types, the first among them")
def _too_many(job: JobConfig) -> Iterator[Found]:
    cluster = job.cluster
    if len(cluster.fallback) > MOST_MACHINES:
        what = (
            f"names {len(cluster.fallback) - 1} machines; {MOST_MACHINES - 1} fit behind the first"
        )
        yield fallback_text(cluster), what, fallback_override(cluster.fallback[1:MOST_MACHINES])


@CLUSTER.check("fallback-twice", "SageMaker takes an instance type once")
def _twice(job: JobConfig) -> Iterator[Found]:
    cluster = job.cluster
    types = [row.instance_type for row in cluster.fallback]
    again = [row for at, row in enumerate(cluster.fallback) if row.instance_type in types[:at]]
    if again:
        once = [row for row in cluster.fallback[1:] if not any(row is one for one in again)]
        first = " (the job's own comes first by itself)" if types[0] in types[1:] else ""
        what = f"{_names(again)} is there twice{first}"
        yield fallback_text(cluster), what, fallback_override(once)


@CLUSTER.check("fallback-by-unused", "there is nothing to go through")
def _walk_unused(job: JobConfig) -> Iterator[Found]:
    if not job.cluster.fallback and job.cluster.fallback_by is not FallbackBy.sagemaker:
        where = f"cluster.fallback_by={job.cluster.fallback_by.value}"
        fix = "'cluster.fallback=[g6e_12xl,g5_12xl]', or cluster.fallback_by=sagemaker"
        yield where, "has no effect without cluster.fallback", fix


# --- images -------------------------------------------------------------------------------------


@CLUSTER.check(
    "smdistributed-instance", "the library is built for instances with eight linked GPUs"
)
def _smdistributed(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, instance_of(job.cluster)
    wanted = cluster.distribution is Distribution.smdistributed
    if wanted and instance and instance.gpus and not instance.smdistributed:
        what = f"SageMaker's data parallel library does not run on {instance.instance_type}"
        fix = "cluster.distribution=torch_distributed"
        yield "cluster.distribution=smdistributed", what, fix


@CLUSTER.check("smdistributed-shard", "SageMaker's library sends gradients of whole models")
def _smdistributed_shard(job: JobConfig) -> Iterator[Found]:
    if job.training.shard and job.cluster.distribution is Distribution.smdistributed:
        what = "does not work with cluster.distribution=smdistributed"
        yield "training.shard=true", what, "cluster.distribution=torch_distributed"


@CLUSTER.check(
    "smdistributed-ends-on-p3", "its later versions refuse to start on p3", Severity.warning
)
def _smdistributed_p3(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, instance_of(job.cluster)
    wanted = cluster.distribution is Distribution.smdistributed
    if wanted and instance and instance.smdistributed and instance.gpu == "V100":
        what = "SageMaker's data parallel library has reached its end on p3: AWS lists p4d and p4de only"
        fix = f"cluster.distribution=torch_distributed{_image_for_torch(cluster, instance)}"
        yield "cluster.distribution=smdistributed", what, fix


def _image_for_torch(cluster: ClusterConfig, instance: Instance) -> str:
    """Write what pins another image, where the pinned one is not started by torch_distributed."""
    launched = Distribution.torch_distributed
    pinned = pinned_image(cluster.image)
    if cluster.image.lane is Lane.auto or pinned is None or not misfit(pinned, instance, launched):
        return ""
    return f" {pin(newest_image(replace(cluster, distribution=launched)))}"


def _instance_with_choice(cluster: ClusterConfig) -> Instance | None:
    """Return the instance if its distribution leaves a choice of images."""
    instance = instance_of(cluster)
    if instance is None or (not instance.gpus and cluster.distribution is not Distribution.none):
        return None
    wanted = cluster.distribution is Distribution.smdistributed
    return None if wanted and not instance.smdistributed else instance


@CLUSTER.check("image-versions-unpinned", "lane=auto takes the newest image that fits")
def _unpinned(job: JobConfig) -> Iterator[Found]:
    image = job.cluster.image
    given = any((image.transformers, image.pytorch, image.python, image.uri))
    if instance_of(job.cluster) and image.lane is Lane.auto and given:
        what = "the image's versions have no effect while the lane is auto"
        yield "cluster.image", what, "cluster.image.lane=pinned"


@CLUSTER.check("no-image", "a job needs an image with kernels for its GPU")
def _no_image(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, _instance_with_choice(job.cluster)
    if instance is None or cluster.image.lane is not Lane.auto:
        return
    if newest_image(cluster) is not None:
        return
    if newest_image(replace(cluster, fallback=[])) is not None:
        yield _no_common_image(cluster)
        return
    where = f"cluster.distribution={cluster.distribution.value}"
    what = f"no image runs it on {instance.instance_type}"
    yield where, what, "cluster.distribution=torch_distributed"


def _no_common_image(cluster: ClusterConfig) -> Found:
    """Name the machines of a list that some image bears beside the first, in their order."""
    kept: list[MachineConfig] = []
    for row in cluster.fallback:
        if newest_image(replace(cluster, fallback=[*kept, row])) is not None:
            kept.append(row)
    left_out = [row for row in cluster.fallback if row not in kept]
    what = f"no image runs on {_names(left_out)} and on all before: the job has one image for all"
    return fallback_text(cluster), what, fallback_override(kept[1:])


def _names(rows: Sequence[MachineConfig]) -> str:
    return ", ".join(row.instance_type or row.name or "" for row in rows)


def fallback_text(cluster: ClusterConfig) -> str:
    """Show the list of machines as it is typed."""
    return listing("cluster.fallback", [row.name or "" for row in cluster.fallback[1:]])


def fallback_override(rows: Sequence[MachineConfig]) -> str:
    """Write the override with these machines behind the first."""
    return override_text("cluster.fallback", [row.name or row.instance_type for row in rows])


@CLUSTER.check("unknown-image", "SageMaker has the images that the SDK lists")
def _unknown_image(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, _instance_with_choice(job.cluster)
    image = cluster.image
    if instance is None or image.lane is Lane.auto or image.uri or pinned_image(image):
        return
    got = ", ".join(str(v) for v in (image.transformers, image.pytorch, image.python))
    known = "; ".join(f"{i.transformers}, {i.pytorch}, {i.python}" for i in images())
    best = pin(newest_image(cluster))
    yield "cluster.image", f"no such image: {got}", f"{best}; known: {known}"


@CLUSTER.check(
    "image-misfit", "an image without the GPU's kernels or the launcher fails once it is billed"
)
def _misfit(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, _instance_with_choice(job.cluster)
    if instance is None or cluster.image.lane is Lane.auto or cluster.image.uri:
        return
    pinned = pinned_image(cluster.image)
    reason = pinned and misfit(pinned, instance, cluster.distribution)
    if reason:
        best = pin(newest_image(cluster))
        yield "cluster.image", f"{pinned}: {reason}", best


@CLUSTER.check("image-version-short", "the SDK compares the version as typed with its list")
def _short_version(job: JobConfig) -> Iterator[Found]:
    cluster = job.cluster
    if cluster.image.lane is Lane.auto or cluster.image.uri:
        return
    pinned = pinned_image(cluster.image)
    launched = cluster.distribution is Distribution.torch_distributed
    if pinned and launched and cluster.image.pytorch != pinned.pytorch:
        what = f"the SDK starts torch_distributed on {pinned.pytorch}, written in full"
        where = f"cluster.image.pytorch={cluster.image.pytorch}"
        yield where, what, f"cluster.image.pytorch={pinned.pytorch}"


@CLUSTER.check("image-uri-and-versions", "an image of your own is named by its address alone")
def _uri_and_versions(job: JobConfig) -> Iterator[Found]:
    image = job.cluster.image
    if image.uri and any((image.transformers, image.pytorch, image.python)):
        what = "is set beside the versions of a listed image; one of them decides"
        yield f"cluster.image.uri={image.uri}", what, "cluster.image.uri=null"


# --- precision ----------------------------------------------------------------------------------


@CLUSTER.check("bf16-unsupported", "GPUs before Ampere emulate bf16, though libraries report it")
def _bf16(job: JobConfig) -> Iterator[Found]:
    instance = instance_of(job.cluster)
    wanted = job.training.precision is Precision.bf16
    if wanted and instance and instance.capability and instance.capability < BF16_CAPABILITY:
        what = f"the {instance.gpu} has no bf16; it would be emulated, slowly"
        yield "training.precision=bf16", what, "training.precision=fp16"


@CLUSTER.check("fp16-on-cpu", "a CPU has no fp16 training")
def _fp16(job: JobConfig) -> Iterator[Found]:
    cluster, instance = job.cluster, instance_of(job.cluster)
    has_none = instance is not None and not instance.gpus
    on_cpu = has_none or (cluster.instance_type is None and not cluster.gpus_per_node)
    if job.training.precision is Precision.fp16 and on_cpu:
        other = "cluster=g5_12xl" if has_none else "cluster.gpus_per_node=1"
        fix = f"training.precision=fp32, or {other}"
        yield "training.precision=fp16", "fp16 training needs a GPU", fix


@CLUSTER.check(
    "shard-fp16",
    "an overflow in one process's shard must make all skip the update: not proven yet",
)
def _shard_fp16(job: JobConfig) -> Iterator[Found]:
    instance = instance_of(job.cluster)
    precision = resolve_precision(
        job.training.precision, instance.capability if instance else BF16_CAPABILITY
    )
    if job.training.shard and precision is Precision.fp16:
        what = "does not work with fp16" + (f", which the {instance.gpu} takes" if instance else "")
        fix = "training.precision=fp32, or a GPU that computes in bf16: cluster=g5_12xl"
        yield "training.shard=true", what, fix
