"""GPU memory of a training step: an estimate with its arithmetic. Pure.

It counts weights, gradients and AdamW's two moments in fp32, the half-precision copy of the weights,
DDP's buckets, and the activations of a full batch of texts of maximum length, after Korthikanti et al.
2022, "Reducing Activation Recomputation in Large Transformer Models", equation 2:
`s b h (34 + 5 a s / h)` bytes per layer in half precision, about twice that in fp32. Attention is
assumed to be materialised, as in the older images.

With a sharded model each GPU holds its share of weights, gradients and moments, plus, while they are
computed with, the unsharded weights and gradients of the embeddings and of two layers (one is prefetched):
4 bytes each in fp32; in half precision 2 and 2, and 4 for the gradient that is summed.
"""

from __future__ import annotations

from dataclasses import dataclass

from lingotune.catalog.hardware import instance_of, precision_on
from lingotune.catalog.model_sizes import ModelSize
from lingotune.catalog.models import model_size
from lingotune.config.schema import JobConfig, Precision
from lingotune.estimate.batch import world_size

GIB = 2**30
CUDA_GIB = 1.5
"""Allowance for CUDA's context, cuBLAS's workspace and fragmentation in the allocator; on a CPU for the
process and its libraries."""


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
    states, states_arithmetic = _states(size, job, half)
    length, batch = job.data.max_length, job.per_device_bs
    bytes_a_layer = length * batch * (34 * size.dim + 5 * size.heads * length)
    activations = (1 if half else 2) * size.layers * bytes_a_layer / GIB
    arithmetic = (
        f"{states_arithmetic} + {activations:.1f} of activations ({batch} texts of {length} tokens)"
        f" + {CUDA_GIB:g} of {'CUDA' if instance.gpus else 'Python and its libraries'}; an estimate"
    )
    return MemoryEstimate(states + CUDA_GIB, activations, arithmetic)


def _states(size: ModelSize, job: JobConfig, half: bool) -> tuple[float, str]:
    """Compute the GiB of weights, gradients and AdamW's state on one GPU, and the arithmetic."""
    gpus, millions = world_size(job.cluster), f"{size.parameters / 1e6:.3g} M"
    if job.training.shard:
        part = 16 * size.parameters / gpus / GIB
        layer = (size.parameters - size.embeddings) / size.layers
        gathered = 8 * (size.embeddings + 2 * layer) / GIB
        arithmetic = (
            f"{part:.1f} GiB of weights, gradients and AdamW ({millions} x 16 bytes / {gpus} GPUs)"
            f" + {gathered:.1f} of those that are whole at a time"
        )
        return part + gathered, arithmetic
    copies = 4 + 4 + 8 + (2 if half else 0) + (4 if gpus > 1 else 0)
    states = copies * size.parameters / GIB
    return states, (
        f"{states:.1f} GiB of weights, gradients and AdamW ({millions} x {copies} bytes)"
    )
