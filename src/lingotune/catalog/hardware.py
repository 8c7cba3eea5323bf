"""Instances, GPU generations and training images: which of them work together.

The facts are in facts/*.json (each file names its sources, and tests compare them); the rules are
here. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from lingotune.catalog import load
from lingotune.config.schema import (
    ClusterConfig,
    Distribution,
    ImageConfig,
    Lane,
    LaunchClusterConfig,
    MachineConfig,
    Precision,
)

WORKER_PYTHON = (3, 10)
"""Oldest Python that the worker code runs on."""
WORKER_TRANSFORMERS = (4, 28)
"""Oldest transformers that the worker code runs on."""

BF16_CAPABILITY = (8, 0)
"""Compute capability of Ampere. Older GPUs emulate bf16, slowly, though libraries report support."""
LAST_CUDA_WITH_VOLTA = (12, 4)
"""Newest CUDA version of images whose PyTorch still has kernels for sm_70."""
FIRST_CUDA = {
    (8, 9): (11, 8),
    (9, 0): (11, 8),
    (10, 0): (12, 8),
    (10, 3): (12, 9),
    (12, 0): (12, 8),
}
"""Compute capability -> oldest CUDA that compiles for it, for GPUs that some images are too old for."""
LAST_SMDDP_PYTORCH_ON_P3 = (2, 0)
"""Newest PyTorch whose image has a SageMaker data parallel library that accepts p3 instances."""
SHARDING_ACCELERATE = (1, 10)
"""Oldest accelerate with which sharding was tried."""


@dataclass(frozen=True)
class Instance:
    """One SageMaker instance type.

    gpu, capability: None without GPUs. gpu_gib: memory of one GPU. nvme_gb: size of the local disk; 0 = it
    needs a storage volume. efa: number of fast network adapters. sold: EC2 lists it still.
    """

    instance_type: str
    gpus: int
    gpu: str | None
    gpu_gib: float
    capability: tuple[int, int] | None
    vcpus: int
    ram_gib: int
    nvme_gb: int
    efa: int
    smdistributed: bool
    sold: bool

    @property
    def processor(self) -> str:
        """What computes: the GPU's name, or `CPU`."""
        return self.gpu or "CPU"

    @property
    def memory_gib(self) -> float:
        """GiB that one process computes in: those of its GPU, or of the whole machine."""
        return self.gpu_gib if self.gpus else float(self.ram_gib)

    @property
    def hardware(self) -> str:
        """What the plan says of it, e.g. `8 x V100 16 GiB each`."""
        if not self.gpus:
            return f"{self.vcpus} vCPUs, {self.ram_gib} GiB"
        return f"{self.gpus} x {self.gpu} {self.gpu_gib:g} GiB" + (" each" if self.gpus > 1 else "")

    @property
    def cpu_has_bf16(self) -> bool:
        """Tell whether its CPU computes in bf16: Intel's from Sapphire Rapids on, which the 7i are."""
        generation = re.match(r"[a-z]+(\d+)i\b", self.family)
        return generation is not None and int(generation[1]) >= 7

    @property
    def family(self) -> str:
        """The family in the name: g6e of ml.g6e.2xlarge."""
        return self.instance_type.split(".")[1]


@dataclass(frozen=True)
class Image:
    """One Hugging Face training image, by the versions under which the SDKs list it.

    container: end of its tag, e.g. cu129-ubuntu22.04. sdks: those that list it. Any can ask for it: the SDK
    v2, which gets no new ones, by its address.
    """

    transformers: str
    pytorch: str
    python: str
    cuda: str
    container: str
    smdistributed: bool
    torch_distributed: bool
    sdks: tuple[str, ...]

    def __str__(self) -> str:
        return f"transformers {self.transformers}, PyTorch {self.pytorch}, {self.python}, CUDA {self.cuda}"


def version(text: str) -> tuple[int, ...]:
    """Parse '4.28.1' to (4, 28, 1), for comparisons; ValueError for anything but dotted digits."""
    return tuple(int(part) for part in text.split("."))


def python_version(tag: str) -> tuple[int, int]:
    """Parse 'py310' to (3, 10)."""
    return int(tag[2]), int(tag[3:])


@lru_cache(maxsize=1)
def instances() -> dict[str, Instance]:
    """Map each known instance type's SageMaker name to the instance."""
    rows = load("instances")["instances"]
    assert isinstance(rows, dict)
    return {
        name: Instance(name, **{**row, "capability": row["capability"] and (*row["capability"],)})
        for name, row in rows.items()
    }


@lru_cache(maxsize=1)
def gpu_instances() -> dict[str, Instance]:
    """Map the names of the instance types that have GPUs to the instances."""
    return {name: one for name, one in instances().items() if one.gpus}


def option_name(instance_type: str) -> str:
    """Name the option of the group cluster for an instance type: p6_b200_48xl for ml.p6-b200.48xlarge."""
    _, family, size = instance_type.split(".")
    return f"{family}_{size.removesuffix('arge')}".replace("-", "_")


def instance_of(cluster: ClusterConfig) -> Instance | None:
    """Look up the instance type of a cluster; None for this machine, and for an unknown type."""
    return instances().get(cluster.instance_type or "")


def instances_of(cluster: ClusterConfig) -> tuple[Instance, ...]:
    """Look up the instance types that a cluster may get, those that are known, without repetitions."""
    wanted = [cluster.instance_type, *(row.instance_type for row in cluster.fallback)]
    found = (instances().get(name or "") for name in dict.fromkeys(wanted))
    return tuple(one for one in found if one is not None)


def fill_in(cluster: LaunchClusterConfig) -> LaunchClusterConfig:
    """Fill in the settings that were left open and follow from the instance: GPUs and distribution.

    This is done once, before a job is frozen, so that its workers read numbers and need no catalog.
    """
    instance, gpus, distribution = instance_of(cluster), cluster.gpus_per_node, cluster.distribution
    if gpus is None:
        gpus = instance.gpus if instance else 0
    rows = [_with_gpus(row, cluster.nodes) for row in cluster.fallback]
    if distribution is None:
        counts = [
            cluster.nodes * gpus,
            *((row.nodes or 1) * (row.gpus_per_node or 1) for row in rows),
        ]
        alone = instance is not None and max(counts) <= 1
        distribution = Distribution.none if alone else Distribution.torch_distributed
    return replace(cluster, gpus_per_node=gpus, distribution=distribution, fallback=rows)


def _with_gpus(row: MachineConfig, nodes: int) -> MachineConfig:
    instance = instances().get(row.instance_type or "")
    gpus = row.gpus_per_node
    if gpus is None:
        gpus = instance.gpus if instance else 0
    return replace(row, nodes=nodes if row.nodes is None else row.nodes, gpus_per_node=gpus)


@lru_cache(maxsize=1)
def images() -> tuple[Image, ...]:
    """List the known images, oldest first."""
    rows = load("images")["images"]
    assert isinstance(rows, list)
    return tuple(Image(**{**row, "sdks": tuple(row["sdks"])}) for row in rows)


@lru_cache(maxsize=1)
def registries() -> dict[str, str]:
    """Map each region to the host of its registry of images."""
    hosts = load("images")["registries"]
    assert isinstance(hosts, dict)
    return hosts


def image_uri(tag: str, region: str, use: str = "training") -> str:
    """Build the ECR address of an image; for an unknown region, its name replaces us-east-1's.

    use: training or inference.
    """
    usual = registries()["us-east-1"].replace("us-east-1", region)
    return f"{registries().get(region, usual)}/huggingface-pytorch-{use}:{tag}"


def runs_worker(image: Image) -> bool:
    """Tell whether the worker code runs with the image's Python and transformers."""
    return (
        python_version(image.python) >= WORKER_PYTHON
        and version(image.transformers)[:2] >= WORKER_TRANSFORMERS
    )


def misfit(image: Image, instance: Instance, distribution: Distribution) -> str | None:
    """Explain why an image does not run with this distribution on an instance; None if it does."""
    if instance.capability is None:
        return _misfit_of_cpu(distribution)
    volta = instance.capability < (7, 5)
    if volta and version(image.cuda) > LAST_CUDA_WITH_VOLTA:
        return (
            f"its PyTorch {image.pytorch} (CUDA {image.cuda}) has no kernels for the {instance.gpu}"
        )
    oldest = FIRST_CUDA.get(instance.capability)
    if oldest and version(image.cuda) < oldest:
        needed = ".".join(map(str, oldest))
        return f"its CUDA {image.cuda} is too old for the {instance.gpu}, which needs {needed}"
    if distribution is Distribution.torch_distributed and not image.torch_distributed:
        return f"the SDK does not start torch_distributed on PyTorch {image.pytorch}"
    if distribution is Distribution.smdistributed:
        if not image.smdistributed:
            return f"the SDK does not start smdistributed on PyTorch {image.pytorch}"
        if volta and version(image.pytorch)[:2] > LAST_SMDDP_PYTORCH_ON_P3:
            return f"its data parallel library (PyTorch {image.pytorch}) refuses p3 instances"
    return None


def _misfit_of_cpu(distribution: Distribution) -> str | None:
    """Explain why no image runs with this distribution without GPUs, on which all of them run."""
    if distribution is Distribution.none:
        return None
    return (
        f"a machine without GPUs runs one process, and {distribution.value} starts one on each GPU"
    )


def newest_image(cluster: ClusterConfig) -> Image | None:
    """Find the newest image that runs the worker code on all machines of a cluster; None if none does."""
    return next(iter(fitting_images(cluster)), None)


def fitting_images(cluster: ClusterConfig) -> list[Image]:
    """List the images that run the worker code on all machines of a cluster, the newest first."""
    machines, distribution = instances_of(cluster), cluster.distribution
    return [
        image
        for image in reversed(images())
        if runs_worker(image) and not any(misfit(image, one, distribution) for one in machines)
    ]


def pinned_image(image: ImageConfig) -> Image | None:
    """Find the known image with the pinned versions ('4.12' matches 4.12.3); None if there is none."""
    for known in images():
        if (
            _names(image.transformers, known.transformers)
            and _names(image.pytorch, known.pytorch)
            and image.python == known.python
        ):
            return known
    return None


def _names(typed: str | None, full: str) -> bool:
    return typed is not None and (typed == full or full.startswith(typed + "."))


def resolve_image(cluster: ClusterConfig) -> Image | None:
    """Find the image of a SageMaker cluster, auto or pinned; None if none is known or fits."""
    if cluster.image.lane is Lane.pinned:
        return pinned_image(cluster.image)
    return newest_image(cluster) if instance_of(cluster) else None


def precision_on(instance: Instance, precision: Precision) -> Precision:
    """Resolve `auto` on an instance."""
    return resolve_precision(precision, instance.capability, cpu_has_bf16=instance.cpu_has_bf16)


def resolve_precision(
    precision: Precision, capability: tuple[int, int] | None, *, cpu_has_bf16: bool = False
) -> Precision:
    """Resolve `auto` to the fastest safe precision of a GPU.

    capability: the GPU's compute capability; None = CPU. torch's own check for bf16 passes on V100 and T4
    too, where it is emulated, and slow.
    """
    if precision is not Precision.auto:
        return precision
    if capability is None:
        return Precision.bf16 if cpu_has_bf16 else Precision.fp32
    return Precision.bf16 if capability >= BF16_CAPABILITY else Precision.fp16
