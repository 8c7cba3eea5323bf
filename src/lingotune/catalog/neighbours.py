"""Machines in place of others: of those that AWS sells no longer, and of those that cannot run a job."""

from __future__ import annotations

import math
import re

from lingotune.catalog.gpus import Gpu, find_gpu
from lingotune.catalog.hardware import (
    Image,
    Instance,
    gpu_instances,
    instance_of,
    misfit,
    resolve_image,
)
from lingotune.config.schema import ClusterConfig, Distribution, Lane

_UNFIT = {
    "trn": (
        "Trainium runs models that AWS's Neuron SDK has compiled, in images of its own; the worker code"
        " trains with PyTorch for CUDA",
        "ml.p4d.24xlarge",
    ),
    "inf": ("Inferentia serves models, and trains none", "ml.g6.2xlarge"),
    "p2": (
        "no image of Python 3.10 has kernels for its K80, and EC2 does not list it any more",
        "ml.g4dn.xlarge",
    ),
    "p6e-gb": (
        "its CPU is an Arm one, and the Hugging Face images are made for x86",
        "ml.p6-b200.48xlarge",
    ),
}
"""Beginning of a family's name -> why none of its machines runs a job, and one that does."""


def unfit(instance_type: str) -> tuple[str, str] | None:
    """Tell why a machine that AWS has runs no job, and which does instead; None if that is not known."""
    family = re.fullmatch(r"ml\.([a-z0-9-]+)\.\d*[a-z]+", instance_type)
    found = family and (reason for start, reason in _UNFIT.items() if family[1].startswith(start))
    return next(found, None) if found else None


def nearest_sold(cluster: ClusterConfig) -> Instance | None:
    """Find the machine on sale that is most like a cluster's, which is not; None if that is on sale.

    It has as many GPUs, of a newer generation, and runs the cluster's image and distribution.
    """
    instance, image = instance_of(cluster), resolve_image(cluster)
    if instance is None or instance.sold or not instance.gpus:
        return None
    pinned = image if cluster.image.lane is Lane.pinned else None
    known = [
        one
        for one in gpu_instances().values()
        if one.sold
        and one.gpus == instance.gpus
        and _newer(one, instance)
        and _runs(one, cluster.distribution, pinned)
    ]
    return min(known, key=lambda one: _distance(instance, one), default=None)


def _newer(one: Instance, other: Instance) -> bool:
    return (one.capability or (0, 0)) > (other.capability or (0, 0))


def _runs(one: Instance, distribution: Distribution, image: Image | None) -> bool:
    by_library = distribution is Distribution.smdistributed
    if by_library and not one.smdistributed:
        return False
    return image is None or misfit(image, one, distribution) is None


def _distance(one: Instance, other: Instance) -> tuple[bool, float, float]:
    """Order by room in a GPU, by the factor between the GPUs' speeds, and by that between the vCPUs."""
    smaller = other.gpu_gib < one.gpu_gib
    return smaller, _factor(one.gpu, other.gpu), abs(math.log(other.vcpus / one.vcpus))


def _factor(one: str | None, other: str | None) -> float:
    first, second = find_gpu(one or ""), find_gpu(other or "")
    if first is None or second is None:
        return math.inf
    speeds = zip(_speeds(first), _speeds(second))
    return sum(abs(math.log(b / a)) if a and b else math.inf for a, b in speeds)


def _speeds(gpu: Gpu) -> tuple[float | None, float | None]:
    """Half precision's peak and the memory's bandwidth, which bound computing and updating."""
    return gpu.peaks.get("fp16"), gpu.memory
