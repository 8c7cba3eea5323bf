"""Checks of settings for speed: batches, embeddings, communication between processes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lingotune.catalog.architectures import architecture_of, skips_padding
from lingotune.config.schema import BatchMode, JobConfig, Precision, ScalingRule
from lingotune.estimate.batch import world_size
from lingotune.preflight.registry import Found, Table

PERFORMANCE: Table[JobConfig] = Table()

_EXCHANGES = {"sparse_exchange": "false", "row_exchange": "null"}
"""Settings that ask for exchanging touched rows only -> their usual value."""


@PERFORMANCE.check("window-unused", "only mode=window looks for neighbours in windows")
def _window(job: JobConfig) -> Iterator[Found]:
    mode, window = job.batching.mode, job.batching.window
    if mode is not BatchMode.window and window is not None:
        what = f"has no effect with batching.mode={mode.value}"
        yield f"batching.window={window}", what, "batching.mode=window"


@PERFORMANCE.check(
    "compact-not-exact", "weight decay changes the embeddings of words that never occur, too"
)
def _compact_decay(job: JobConfig) -> Iterator[Found]:
    if job.training.compact_vocabulary and job.training.weight_decay:
        what = f"would skip what training.weight_decay={job.training.weight_decay:g} changes"
        fix = "training.weight_decay=0, or training.compact_vocabulary=false"
        yield "training.compact_vocabulary=true", what, fix


@PERFORMANCE.check("compression-unused", "gradients are sent in half precision between GPUs alone")
def _compression(job: JobConfig) -> Iterator[Found]:
    if not job.training.compress_gradients:
        return
    where = "training.compress_gradients=true"
    if world_size(job.cluster) == 1 or not job.cluster.gpus_per_node:
        what = (
            "has no effect on one process"
            if world_size(job.cluster) == 1
            else "has no effect on CPUs"
        )
        yield where, what, "training.compress_gradients=false"
    elif job.training.precision is Precision.fp32:
        yield where, "has no effect with training.precision=fp32", "training.precision=auto"


@PERFORMANCE.check("exchange-unused", "processes exchange gradients of trained weights only")
def _exchange(job: JobConfig) -> Iterator[Found]:
    for name, otherwise in _EXCHANGES.items():
        if getattr(job.training, name):
            where, fix = f"training.{name}=true", f"training.{name}={otherwise}"
            if world_size(job.cluster) == 1:
                yield where, "has no effect on one process", fix
            elif job.training.freeze_embeddings:
                yield where, "has no effect with training.freeze_embeddings=true", fix


@PERFORMANCE.check("exchange-twice", "sparse_exchange is an older name of row_exchange=true")
def _exchange_twice(job: JobConfig) -> Iterator[Found]:
    if job.training.sparse_exchange and job.training.row_exchange is False:
        what = "says the opposite of training.row_exchange=false"
        yield "training.sparse_exchange=true", what, "training.sparse_exchange=false"


@PERFORMANCE.check(
    "exchange-compiled", "sharing marks of rows within a compiled graph was not tried"
)
def _exchange_compiled(job: JobConfig) -> Iterator[Found]:
    for name, otherwise in _EXCHANGES.items():
        if getattr(job.training, name) and job.training.compile:
            what = "does not work with training.compile=true"
            yield f"training.{name}=true", what, f"training.{name}={otherwise}"


@PERFORMANCE.check("shard-alone", "a model is sharded over several processes")
def _shard_alone(job: JobConfig) -> Iterator[Found]:
    if job.training.shard and world_size(job.cluster) == 1:
        what = "has no effect on one process"
        yield "training.shard=true", what, "training.shard=false"


@PERFORMANCE.check("shard-compact", "embeddings are sharded with all their rows")
def _shard_compact(job: JobConfig) -> Iterator[Found]:
    yield from _beside_shards(job, "compact_vocabulary", "null")


@PERFORMANCE.check(
    "shard-exchange", "each process receives only the gradient sums of its own shard"
)
def _shard_exchange(job: JobConfig) -> Iterator[Found]:
    for name, otherwise in _EXCHANGES.items():
        yield from _beside_shards(job, name, otherwise)
    yield from _beside_shards(job, "compress_gradients")


@PERFORMANCE.check("compact-frozen", "embeddings that are not trained need no compacting")
def _compact_frozen(job: JobConfig) -> Iterator[Found]:
    if job.training.compact_vocabulary and job.training.freeze_embeddings:
        what = "has no effect with training.freeze_embeddings=true"
        yield "training.compact_vocabulary=true", what, "training.compact_vocabulary=null"


@PERFORMANCE.check(
    "padding-free-whole", "without padding the last layer computes first tokens only"
)
def _padding_free(job: JobConfig) -> Iterator[Found]:
    if job.batching.padding_free and job.training.first_token_only is False:
        what = "does not work with training.first_token_only=false"
        yield "batching.padding_free=true", what, "training.first_token_only=null"


@PERFORMANCE.check(
    "padding-free-architecture", "the layers of each architecture skip padding in their own way"
)
def _padding_free_architecture(job: JobConfig) -> Iterator[Found]:
    name = architecture_of(job.model)
    asked = {
        "batching.padding_free=true": (job.batching.padding_free, "batching.padding_free=false"),
        "training.first_token_only=true": (
            job.training.first_token_only, "training.first_token_only=null",
        ),
    }  # fmt: skip
    if name is None or skips_padding(name) or job.code.builder:
        return
    for where, (wanted, fix) in asked.items():
        if wanted:
            yield where, f"is not known for the layers of {name}", fix


@PERFORMANCE.check("padding-free-multiple", "without padding there is no width to round up")
def _padding_free_multiple(job: JobConfig) -> Iterator[Found]:
    multiple = job.batching.pad_to_multiple_of
    if job.batching.padding_free and multiple is not None:
        what = "has no effect with batching.padding_free=true"
        yield f"batching.pad_to_multiple_of={multiple}", what, "batching.pad_to_multiple_of=null"


@PERFORMANCE.check(
    "shard-compile", "weights that are gathered layer by layer were not tried in CUDA graphs"
)
def _shard_compile(job: JobConfig) -> Iterator[Found]:
    yield from _beside_shards(job, "compile")


def _beside_shards(job: JobConfig, name: str, fix: str = "false") -> Iterator[Found]:
    if job.training.shard and getattr(job.training, name):
        what = "does not work with training.shard=true"
        yield f"training.{name}=true", what, f"training.{name}={fix}"


@PERFORMANCE.check(
    "compiled-shapes", "each batch shape is compiled separately, before its first step"
)
def _compiled(job: JobConfig) -> Iterator[Found]:
    if not job.training.compile:
        return
    if job.batching.padding_free:
        what = "would compile anew for nearly every batch with batching.padding_free=true"
        yield "training.compile=true", what, "batching.padding_free=false"
    elif job.batching.mode is not BatchMode.random and _parts(job) > 1:
        what = (
            f"would compile for each size that batching.mode={job.batching.mode.value} cuts updates"
            f" into, for {_parts(job)} parts each"
        )
        yield "training.compile=true", what, "training.compile=false, or batching.mode=random"


def _parts(job: JobConfig) -> int:
    """Count the parts of an update."""
    scaling, world = job.scaling, world_size(job.cluster)
    if scaling.rule is ScalingRule.fixed_global and scaling.global_batch:
        return max(world, scaling.global_batch // max(1, job.per_device_bs))
    return world * (scaling.accumulation or 1)
