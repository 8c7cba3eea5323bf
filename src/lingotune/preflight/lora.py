"""Checks of low-rank adapters: what they go with, and what has no effect beside them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lingotune.catalog.linear_layers import is_target, linear_layers_of, no_target
from lingotune.catalog.models import model_size
from lingotune.config.problems import Severity
from lingotune.config.schema import JobConfig, LoraConfig
from lingotune.preflight.registry import Found, Table

LORA: Table[JobConfig] = Table()


@LORA.check("lora-unused", "adapters are made where they have a rank")
def _without_rank(job: JobConfig) -> Iterator[Found]:
    lora = job.training.lora
    if lora.rank is None and lora != LoraConfig():
        what = "has no effect without a rank"
        yield "training.lora", what, "training.lora.rank=8"


@LORA.check(
    "lora-from-scratch", "what stays as it is has to know something already", Severity.warning
)
def _from_scratch(job: JobConfig) -> Iterator[Found]:
    if job.training.lora.rank is not None and job.model.name_or_path is None:
        what = "keeps the random weights of a model from scratch"
        yield (
            _typed(job),
            what,
            "training.lora.rank=null, or a pretrained model: model=mmbert_small",
        )


@LORA.check("lora-twice", "adapters leave the word embeddings as they are")
def _embeddings(job: JobConfig) -> Iterator[Found]:
    usual = {
        "compact_vocabulary": "null", "freeze_embeddings": "false", "sparse_exchange": "false",
        "row_exchange": "null",
    }  # fmt: skip
    for name, value in usual.items():
        if job.training.lora.rank is not None and getattr(job.training, name):
            what = f"has no effect with {_typed(job)}: word embeddings are not trained"
            yield f"training.{name}=true", what, f"training.{name}={value}"


@LORA.check("lora-shard", "frozen and trained weights in one shard are not proven here")
def _shard(job: JobConfig) -> Iterator[Found]:
    if job.training.lora.rank is not None and job.training.shard:
        what = f"does not work with {_typed(job)}, which needs a third of the memory by itself"
        yield "training.shard=true", what, "training.shard=false, or training.lora.rank=null"


@LORA.check("lora-builder", "what the head of a builder's model is cannot be told")
def _builder(job: JobConfig) -> Iterator[Found]:
    if job.training.lora.rank is not None and job.code.builder:
        what = f"does not work with code.builder={job.code.builder}, which may add adapters itself"
        yield _typed(job), what, "training.lora.rank=null"


@LORA.check("lora-targets", "each architecture calls its layers in its own way")
def _targets(job: JobConfig) -> Iterator[Found]:
    lora, known = job.training.lora, linear_layers_of(job.model)
    if lora.rank is None or not lora.targets or known is None:
        return
    if any(not any(is_target(name, [one]) for name in known) for one in lora.targets):
        yield no_target(lora, job.model.name, known)


@LORA.check("lora-rank", "matrices of a higher rank than the layer are larger than it")
def _rank(job: JobConfig) -> Iterator[Found]:
    rank, size = job.training.lora.rank, model_size(job.model)
    if rank is not None and size is not None and rank > size.dim // 2:
        what = f"is above half the hidden size of {size.dim}: all weights are fewer"
        yield f"training.lora.rank={rank}", what, f"training.lora.rank={min(8, size.dim // 2)}"


def _typed(job: JobConfig) -> str:
    return f"training.lora.rank={job.training.lora.rank}"
