"""GPU memory of a training step: an estimate with its arithmetic. Pure.

It counts weights, gradients and AdamW's two moments in fp32, the half-precision copy of the weights,
DDP's buckets, and the activations of a full batch of texts of maximum length, after Korthikanti et al.
2022, "Reducing Activation Recomputation in Large Transformer Models", equation 2:
`s b h (34 + 5 a s / h)` bytes per layer in half precision, about twice that in fp32. Attention is
assumed to be materialised, as in the older images. With gradient checkpointing a layer keeps its input,
`2 s b h` bytes, and one at a time is whole. With LoRA, gradients and moments are those of its adapters and
of the head; frozen layers have none. Lion has one moment for each weight, Adafactor next to none.

With a sharded model each GPU holds its share of weights, gradients and moments, plus, while they are
computed with, the unsharded weights and gradients of the embeddings and of two layers (one is prefetched):
4 bytes each in fp32; in half precision 2 and 2, and 4 for the gradient that is summed.
"""

from __future__ import annotations

from dataclasses import dataclass

from lingotune.catalog.hardware import instance_of, precision_on
from lingotune.catalog.linear_layers import adapter_parameters
from lingotune.catalog.model_sizes import ModelSize
from lingotune.catalog.models import model_size
from lingotune.config.machines import Job
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig, Optimizer, Precision
from lingotune.estimate.batch import world_size
from lingotune.estimate.micro_batches import smaller_micro_batches
from lingotune.estimate.step_time import (
    frozen_parameters,
    layers_backwards,
    trained_parameters,
)

GIB = 2**30
CUDA_GIB = 1.5
"""Allowance for CUDA's context, cuBLAS's workspace and fragmentation in the allocator; on a CPU for the
process and its libraries."""


_MOMENTS = {Optimizer.adamw: 8, Optimizer.lion: 4, Optimizer.adafactor: 0}
"""Bytes of an optimizer's state for each weight that is trained."""
ESTIMATED_TO_FIT, ESTIMATED_TO_FAIL = 0.9, 1.25
"""Shares of a GPU's memory up to which an estimate is trusted to fit, and above which it is to fail."""


@dataclass(frozen=True)
class MemoryEstimate:
    """GiB on one GPU, or in a machine without: fixed ones, those of the batch, and the arithmetic."""

    fixed_gib: float
    activations_gib: float
    arithmetic: str

    @property
    def gib(self) -> float:
        """Total GiB."""
        return self.fixed_gib + self.activations_gib


def estimate_memory(job: JobConfig) -> MemoryEstimate | None:
    """Estimate a training step's memory on a GPU of the instance, or in its RAM; None = unknown."""
    instance = instance_of(job.cluster)
    size = model_size(job.model)
    if instance is None or size is None:
        return None
    half = precision_on(instance, job.training.precision) is not Precision.fp32
    return memory_of(job, size, world_size(job.cluster), half=half)


def memory_of(job: JobConfig, size: ModelSize, gpus: int, *, half: bool) -> MemoryEstimate:
    """Estimate a training step's memory on one of so many GPUs; half: in half precision."""
    states, states_arithmetic = _states(size, job, gpus, half=half)
    instance = instance_of(job.cluster)
    rest = "Python and its libraries" if instance and not instance.gpus else "CUDA"
    length, batch = job.data.max_length, job.per_device_bs
    activations = (1 if half else 2) * _activations(job, size) / GIB
    kept = ", of layers their inputs" if job.training.gradient_checkpointing else ""
    arithmetic = (
        f"{states_arithmetic} + {activations:.1f} of activations ({batch} texts of {length} tokens{kept})"
        f" + {CUDA_GIB:g} of {rest}; an estimate"
    )
    return MemoryEstimate(states + CUDA_GIB, activations, arithmetic)


def fits(job: JobConfig) -> bool:
    """Tell whether a job is estimated to fit on its GPUs, or nothing is known about it."""
    memory, instance = estimate_memory(job), instance_of(job.cluster)
    return (
        memory is None or instance is None or memory.gib <= ESTIMATED_TO_FIT * instance.memory_gib
    )


def fitting_micro_batch(job: Job) -> Job | None:
    """Find the same update in the largest of the smaller micro-batches that are estimated to fit; None if
    none is, or the batch is none."""
    try:
        return next(filter(fits, smaller_micro_batches(job)), None)
    except ConfigError:  # which other checks tell
        return None


def _activations(job: JobConfig, size: ModelSize) -> int:
    """Count the bytes of activations that the backward pass needs, in half precision."""
    length, batch = job.data.max_length, job.per_device_bs
    whole = length * batch * (34 * size.dim + 5 * size.heads * length)
    layers = layers_backwards(job.training, size)
    if not job.training.gradient_checkpointing:
        return layers * whole
    return layers * 2 * length * batch * size.dim + whole


def _states(size: ModelSize, job: JobConfig, gpus: int, *, half: bool) -> tuple[float, str]:
    """Compute the GiB of weights, gradients and the optimizer's state on one GPU, and the arithmetic."""
    millions = f"{size.parameters / 1e6:.3g} M"
    moments, name = _MOMENTS[job.training.optimizer], job.training.optimizer.title
    if job.training.shard:
        part = 16 * size.parameters / gpus / GIB
        layer = (size.parameters - size.embeddings) / size.layers
        gathered = 8 * (size.embeddings + 2 * layer) / GIB
        arithmetic = (
            f"{part:.1f} GiB of weights, gradients and AdamW ({millions} x 16 bytes / {gpus} GPUs)"
            f" + {gathered:.1f} of those that are whole at a time"
        )
        return part + gathered, arithmetic
    held, moved = 4 + (2 if half else 0), 4 + moments + (4 if gpus > 1 else 0)
    adapters = adapter_parameters(job.model, size, job.training.lora)
    if adapters is not None:
        trained = trained_parameters(size, 0, adapters)
        states = (held * (size.parameters + adapters) + moved * trained) / GIB
        return states, (
            f"{states:.1f} GiB of weights ({millions} x {held} bytes), and of LoRA's gradients and"
            f" {name} ({trained / 1e6:.3g} M x {moved} bytes)"
        )
    if job.training.freeze_layers:
        rows = 0 if job.training.freeze_embeddings else size.vocabulary
        trained = trained_parameters(size, rows, frozen=frozen_parameters(job.training, size))
        states = (held * size.parameters + moved * trained) / GIB
        return states, (
            f"{states:.1f} GiB of weights ({millions} x {held} bytes), and of gradients and {name}"
            f" ({trained / 1e6:.3g} M that are trained x {moved} bytes)"
        )
    states = (held + moved) * size.parameters / GIB
    return states, (
        f"{states:.1f} GiB of weights, gradients and {name} ({millions} x {held + moved} bytes)"
    )
