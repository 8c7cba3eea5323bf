"""Time of an update on paper, from the model's arithmetic and the GPU's peaks. Pure.

It is a lower bound: launching kernels takes time as well, most of all relative to small batches. A
training step computes 6 floating-point operations per token and parameter that the token passes through
(Kaplan et al. 2020, arXiv:2001.08361, section 2.1), and 12 x layers x hidden size per pair of tokens in a
text. A ring all-reduce sends 2 (n - 1) / n of the gradient's bytes (Patarasuk and Yuan 2009). The word
embeddings' share comes last out of the backward pass, when no computation is left to hide it.

A sharded model's weights are gathered for the forward pass and again for the backward pass, and its
gradients are scattered: (n - 1) / n of their bytes each time, in every micro-batch of an update (Zhao et
al. 2023, arXiv:2304.11277), which is one and a half times as much in fp32. Nothing hides the embeddings'
weights either, as the forward pass begins with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lingotune.catalog import load
from lingotune.catalog.gpus import Gpu, find_gpu
from lingotune.catalog.hardware import instance_of, resolve_precision
from lingotune.catalog.linear_layers import adapter_parameters
from lingotune.catalog.model_sizes import ModelSize, head_parameters
from lingotune.catalog.models import model_size
from lingotune.config.schema import JobConfig, Optimizer, Precision, TrainingConfig
from lingotune.estimate.batch import BatchPlan, trains_no_rows, trains_used_rows
from lingotune.estimate.row_exchange import FP32, Link, Traffic, as_typed, asked_for, is_open, pays

if TYPE_CHECKING:
    from lingotune.estimate.bucketing import Efficiency

OPTIMIZER_BYTES = {Optimizer.adamw: 40, Optimizer.lion: 32, Optimizer.adafactor: 24}
"""Bytes read and written per parameter by an optimizer step: weight, gradient and the optimizer's moments,
the gradient twice more for its norm, and the half-precision copy."""
SHORTEST = 0.001
"""Seconds below which an update on paper says nothing: launching its kernels takes longer."""


@dataclass(frozen=True)
class PaperStep:
    """Seconds of each part of an update on paper.

    sending: communication that computing does not hide. texts: trained on, by all GPUs.
    """

    compute: float
    optimizer: float
    sending: float
    texts: int

    @property
    def seconds(self) -> float:
        """Seconds of the whole update."""
        return self.compute + self.optimizer + self.sending

    @property
    def texts_per_second(self) -> float:
        """Texts per second, all GPUs together."""
        return self.texts / self.seconds


@dataclass(frozen=True)
class ShardingPlan:
    """Sharding of a model. width: bytes of a weight when gathered. parts: backward passes per update."""

    width: int
    parts: int


def operations(
    size: ModelSize,
    tokens: float,
    squares: float,
    *,
    first_token_only: bool = False,
    adapters: int | None = None,
) -> float:
    """FLOPs to train on one text, excluding padding.

    tokens: its length, or the mean over texts. squares: the length squared, or the mean of the squares.
    first_token_only: in the last layer tokens pass through none of the parameters; with adapters, through
    those of keys and values.
    adapters: parameters of LoRA's, if these are trained and the encoder's are not, whose gradients are a
    third of the work.
    """
    met, layers = size.parameters - size.embeddings, size.layers
    if first_token_only:
        of_last = 0 if adapters is None else 2 * size.dim**2
        met, layers = met - met // layers + of_last, layers - 1
    each = 6 * met if adapters is None else 4 * met + 6 * adapters
    return each * tokens + 12 * layers * size.dim * squares


def utilisation(operations: float, texts_per_second: float, peak: float) -> float:
    """Compute the share of the GPUs' peak that training uses.

    operations: FLOPs per text. peak: FLOPs per second of all GPUs together.
    """
    return operations * texts_per_second / peak


def trained_parameters(
    size: ModelSize, rows: int, adapters: int | None = None, frozen: int = 0
) -> int:
    """Count the parameters to train if `rows` of the word embeddings' rows are trained, or with LoRA its
    adapters and the head. frozen: those of layers that stay as they are."""
    if adapters is not None:
        return adapters + head_parameters(size.dim)
    return size.parameters - (size.vocabulary - rows) * size.dim - frozen


def frozen_parameters(training: TrainingConfig, size: ModelSize) -> int:
    """Count the parameters of the layers that a job freezes."""
    return training.freeze_layers * ((size.parameters - size.embeddings) // size.layers)


def layers_backwards(training: TrainingConfig, size: ModelSize) -> int:
    """Count the layers that gradients pass through: all, unless nothing below the trained ones is."""
    return size.layers - (training.freeze_layers if training.freeze_embeddings else 0)


def share_of_work(training: TrainingConfig, size: ModelSize) -> float:
    """Compute a step's work relative to one that trains every layer and computes it once.

    Of a layer, the forward pass is a third of the work, its gradient by the input another, and that by its
    weights, which a frozen layer and LoRA do without, the last.
    """
    usual = 2 if training.lora.rank is not None else 3
    backwards = layers_backwards(training, size)
    by_weights = (usual - 2) * (size.layers - training.freeze_layers)
    again = backwards if training.gradient_checkpointing else 0
    return (size.layers + backwards + by_weights + again) / (usual * size.layers)


def trained_rows(training: TrainingConfig, size: ModelSize, word_pieces: int | None) -> int:
    """Count the rows of the word embeddings that a job trains.

    word_pieces: how many occur in the data; None = unknown.
    """
    if trains_no_rows(training):
        return 0
    if word_pieces is None or not trains_used_rows(training):
        return size.vocabulary
    return min(word_pieces, size.vocabulary)


def paper_step(
    size: ModelSize,
    gpu: Gpu,
    precision: Precision,
    *,
    per_gpu: int,
    gpus: int,
    nodes: int = 1,
    efa: int = 0,
    tokens: float,
    squares: float,
    straggler: float = 1.0,
    trained_rows: int | None = None,
    first_token_only: bool = False,
    shards: ShardingPlan | None = None,
    adapters: int | None = None,
    training: TrainingConfig | None = None,
    touched_rows: int | None = None,
) -> PaperStep | None:
    """Estimate an update of `per_gpu` texts on each of `gpus` GPUs per node; None if a figure is unknown.

    tokens, squares: mean length and mean square, with padding. straggler: see `Efficiency`. trained_rows:
    rows of the word embeddings that are trained; None = all. efa: network adapters per node. shards: None
    = not sharded. adapters: parameters of LoRA's; None = all weights are trained. training: optimizer,
    frozen layers and gradient checkpointing; None = the usual. touched_rows: those of the word embeddings
    that the update's texts need, which alone are exchanged if that was asked for, or pays.
    """
    training = training or TrainingConfig()
    peak = gpu.peaks.get(precision.value)
    network = load("gpus")["network_gbs"].get(str(efa))
    ranks = gpus * nodes
    bandwidth = gpu.bus if nodes == 1 else network and network * 1e9
    if peak is None or gpu.memory is None or (ranks > 1 and not bandwidth):
        return None
    rows = size.vocabulary if trained_rows is None else trained_rows
    trained = trained_parameters(size, rows, adapters, frozen_parameters(training, size))
    each = operations(size, tokens, squares, first_token_only=first_token_only, adapters=adapters)
    compute = straggler * per_gpu * each * share_of_work(training, size) / (peak * gpu.share)
    bare, behind = _traffic(size, rows, shards, trained)
    second = (ranks - 1) / ranks / bandwidth if bandwidth else 0.0
    if second and touched_rows is not None and shards is None:
        words = Traffic(rows, min(rows, touched_rows), size.dim)
        asked = asked_for(training)
        if asked or (asked is None and pays(words, Link(0.0, 1 / (2 * second)))):
            bare = 2 * words.touched_bytes
    sending = bare * second
    if (
        nodes > 1
    ):  # what computing does not hide: gradients overlap with the backward pass, two thirds
        sending += max(0.0, behind * second - compute * (1 if shards else 2 / 3))
    held = trained / ranks if shards else trained
    updated = held * OPTIMIZER_BYTES[training.optimizer] / gpu.memory
    return PaperStep(compute, updated, sending, per_gpu * ranks)


def _traffic(
    size: ModelSize, rows: int, shards: ShardingPlan | None, trained: int
) -> tuple[float, float]:
    """Count the bytes to send per update: those that nothing hides, and those sent during computing.

    Before the factor (n - 1) / n for n GPUs. trained: parameters to train.
    """
    words = rows * size.dim
    if shards is None:
        return 2 * FP32 * words, 2 * FP32 * (trained - words)
    table = size.vocabulary * size.dim
    gathered, scattered = 2 * shards.width * size.parameters, FP32 * trained
    bare = shards.width * table + FP32 * words
    return shards.parts * bare, shards.parts * (gathered + scattered - bare)


def paper_lines(
    job: JobConfig, batch: BatchPlan, found: Efficiency, word_pieces: int | None
) -> tuple[str, ...]:
    """Format, for the plan, what an update sends and how long it takes on paper.

    found: padding and waiting of its batches. Lines whose figures are unknown are left out.
    """
    size, instance = model_size(job.model), instance_of(job.cluster)
    if size is None or instance is None:
        return ()
    rows = trained_rows(job.training, size, word_pieces)
    adapters = adapter_parameters(job.model, size, job.training.lora)
    frozen = frozen_parameters(job.training, size)
    trained, lines = trained_parameters(size, rows, adapters, frozen), []
    precision = resolve_precision(job.training.precision, instance.capability)
    shards = _shards(job, batch, precision)
    if batch.world_size > 1:
        width = 2 if job.training.compress_gradients else FP32
        sent = (
            f"{trained * width / 1e6:.0f} MB of gradients"
            if shards is None
            else _sharded(size, rows, shards, frozen)
        )
        lines.append(
            f"each update sends {sent}:"
            f" {trained / 1e6:.1f} of {size.parameters / 1e6:.1f} M parameters are trained"
        )
        words = Traffic(rows, min(rows, _touched_rows(batch, found)), size.dim, width)
        lines += _exchange_lines(job, words)
    step = update_on_paper(job, batch, found, word_pieces)
    if step:
        milliseconds = [
            1000 * value for value in (step.seconds, step.compute, step.optimizer, step.sending)
        ]
        lines.append(
            "on paper an update takes {:.1f} ms = {:.1f} computing + {:.1f} optimizer + {:.1f} sending:"
            .format(*milliseconds) + f" at best {step.texts_per_second:.0f} texts/s, no promise"
        )  # fmt: skip
    return tuple(lines)


def _exchange_lines(job: JobConfig, words: Traffic) -> list[str]:
    """Format how the embeddings' gradient is exchanged, unless all its rows are in any case."""
    asked = asked_for(job.training)
    if not (asked or is_open(job)):
        return []
    touched = f"at most {words.touched_bytes / 1e6:.0f} MB for the rows that an update touches"
    if asked:
        return [f"of these the word embeddings' are {touched} ({as_typed(job.training)[0]})"]
    whole = f"{words.whole_bytes / 1e6:.0f} MB"
    return [
        f"of these the word embeddings' are {whole}, or {touched}: decided by measuring, at the start"
    ]


def _touched_rows(batch: BatchPlan, found: Efficiency) -> int:
    """Return the most rows of the word embeddings that an update looks up: as many as it has tokens."""
    return math.ceil(batch.global_batch * found.real)


def update_on_paper(
    job: JobConfig, batch: BatchPlan, found: Efficiency, word_pieces: int | None
) -> PaperStep | None:
    """Estimate an update of a job; None if a figure is unknown, or the update too short to say anything."""
    size, instance = model_size(job.model), instance_of(job.cluster)
    gpu = find_gpu(instance.gpu) if instance and instance.gpu else None
    if size is None or instance is None or gpu is None:
        return None
    precision = resolve_precision(job.training.precision, instance.capability)
    step = paper_step(
        size, gpu, precision, per_gpu=batch.per_device_batch * batch.accumulation,
        gpus=job.cluster.gpus_per_node, nodes=job.cluster.nodes, efa=instance.efa, tokens=found.padded,
        squares=found.squares, straggler=found.straggler,
        trained_rows=trained_rows(job.training, size, word_pieces),
        shards=_shards(job, batch, precision), first_token_only=job.training.first_token_only is not False,
        adapters=adapter_parameters(job.model, size, job.training.lora), training=job.training,
        touched_rows=_touched_rows(batch, found) if asked_for(job.training) or is_open(job) else None,
    )  # fmt: skip
    return step if step and step.seconds >= SHORTEST else None


def _shards(job: JobConfig, batch: BatchPlan, precision: Precision) -> ShardingPlan | None:
    if not job.training.shard:
        return None
    return ShardingPlan(FP32 if precision is Precision.fp32 else 2, batch.accumulation)


def _sharded(size: ModelSize, rows: int, shards: ShardingPlan, frozen: int) -> str:
    """Format what an update of a sharded model sends, compared with a model that is not sharded."""
    weights = 2 * shards.parts * shards.width * size.parameters
    trained = trained_parameters(size, rows, frozen=frozen)
    gradients = shards.parts * FP32 * trained
    usual = sum(_traffic(size, rows, None, trained))
    times = (weights + gradients) / usual
    return (
        f"{weights / 1e6:.0f} MB of weights and {gradients / 1e6:.0f} MB of gradients,"
        f" {times:.1f} times as much as without shards"
    )
