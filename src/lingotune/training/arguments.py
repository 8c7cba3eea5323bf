"""Translating a job to Hugging Face `TrainingArguments`, for transformers 4.28 to 5.x."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from lingotune.catalog.hardware import BF16_CAPABILITY
from lingotune.config.jobfile import job_digest
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import (
    COSTS,
    EvalStrategy,
    JobConfig,
    Optimizer,
    Precision,
    selected_by,
)
from lingotune.estimate.batch import BatchPlan, StepPlan

Arguments = dict[str, Any]
"""Arguments of `TrainingArguments`."""
_OLD_NAMES = {"eval_strategy": "evaluation_strategy", "use_cpu": "no_cuda"}
"""Current name -> name in older versions of transformers."""
_NEWER = {"ddp_broadcast_buffers"}
"""Parameters to leave out of versions that do not have them yet."""
_OLD_ONLY: Arguments = {
    "save_safetensors": True,  # pickled weights otherwise
}
"""Parameters to set in versions that still have them, because the default is not what we want."""


def training_arguments(
    job: JobConfig,
    batch: BatchPlan,
    steps: StepPlan,
    precision: Precision,
    folder: Path,
    *,
    capability: tuple[int, int] | None,
    show_progress: bool,
    layers: Sequence[str] = (),
    greater_is_better: bool = True,
) -> TrainingArguments:
    """Translate a job and its plan; all numbers come from the plan, none is derived here.

    folder: for checkpoints. capability: the GPU's compute capability; None = CPU. layers: class names of
    the model's layers, for training.shard. greater_is_better: of the user's own metric, where code.select
    names one.
    """
    training, has_gpu = job.training, capability is not None
    evaluates = training.eval_strategy is not EvalStrategy.none
    values: Arguments = {
        "output_dir": str(folder),
        "seed": job.seed,
        "learning_rate": batch.learning_rate,
        "per_device_train_batch_size": batch.per_device_batch,
        "per_device_eval_batch_size": job.evaluation.per_device_bs or 2 * batch.per_device_batch,
        "gradient_accumulation_steps": batch.accumulation,
        "max_steps": steps.total_steps,
        "warmup_steps": steps.warmup_steps,
        "lr_scheduler_type": training.schedule.value,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "fp16": precision is Precision.fp16,
        "bf16": precision is Precision.bf16,
        "eval_strategy": training.eval_strategy.value if evaluates else "no",
        # Save at each evaluation, so that the best is saved; keeping.py saves in between and deletes.
        "save_strategy": training.eval_strategy.value if evaluates else "epoch",
        # Nodes share no disk, and each loads the best checkpoint at the end.
        "save_on_each_node": job.cluster.nodes > 1,
        "load_best_model_at_end": evaluates,
        "logging_steps": training.logging_steps,
        "logging_nan_inf_filter": False,  # would log a NaN loss as 0
        "disable_tqdm": not show_progress,
        "report_to": [],  # tracking.py attaches trackers, and guards against their failures
        "run_name": f"{job.name}-{job_digest(job)[:6]}",
        "use_cpu": not has_gpu,
        "optim": optimizer_name(training.optimizer, has_gpu=has_gpu),
        "torch_compile": training.compile,
        "torch_compile_mode": "reduce-overhead" if training.compile and has_gpu else None,
        "dataloader_pin_memory": has_gpu,
        "remove_unused_columns": False,  # the dataset makes whole batches, not columns
        "ddp_find_unused_parameters": False,
        "ddp_broadcast_buffers": False,  # these models have no buffers that change
    }
    if training.shard:
        values |= _sharding(layers)
    if capability and capability >= BF16_CAPABILITY:
        values["tf32"] = True  # for operations that remain in fp32
    if evaluates:
        values["metric_for_best_model"] = f"eval_{selected_by(job)}"
        by_cost = job.code.select is None and job.evaluation.select in COSTS
        values["greater_is_better"] = greater_is_better and not by_cost
    if training.eval_strategy is EvalStrategy.steps:
        values["eval_steps"] = values["save_steps"] = training.eval_steps
    if training.compile:
        compile_each_shape()
    return TrainingArguments(**_for_this_version(values))


_SHAPES = 512
"""Limit of compiled batch shapes: widths, full and last updates, training and evaluation."""


def compile_each_shape() -> None:
    """Make torch compile one program per batch shape, as a CUDA graph has a single shape.

    By default it compiles a dynamic program at the second shape, and gives up at the eighth. ConfigError
    if torch is too old to be configured.
    """
    from torch._dynamo import config

    if not hasattr(config, "automatic_dynamic_shapes"):  # before 2.1
        what = f"PyTorch {torch.__version__} cannot make a program for each width"
        raise ConfigError([Problem("training.compile=true", what, "training.compile=false")])
    config.automatic_dynamic_shapes = False
    newer = hasattr(config, "recompile_limit")
    limit = "recompile_limit" if newer else "cache_size_limit"
    for name in (limit, f"accumulated_{limit}"):
        if hasattr(config, name):  # torch 2.1 lacks the accumulated limit
            setattr(config, name, _SHAPES)


def _sharding(layers: Sequence[str]) -> Arguments:
    """Shard layer by layer with FSDP2, which keeps the model's parameters for optimizer groups."""
    has_version = inspect.signature(TrainingArguments.__init__).parameters["fsdp"].default is None
    if (
        not has_version
    ):  # before transformers 5 this variable of accelerate's is the only way to FSDP2
        os.environ["FSDP_VERSION"] = "2"
    return {
        "fsdp": True if has_version else "full_shard auto_wrap",
        "fsdp_config": {
            **({"version": 2} if has_version else {}),
            "transformer_layer_cls_to_wrap": list(layers),
        },
        # Scatter gradients after each micro-batch: unsharded ones kept in between would not fit.
        "accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}},
    }


def _for_this_version(values: Arguments) -> Arguments:
    known = inspect.signature(TrainingArguments.__init__).parameters
    named = {k if k in known else _OLD_NAMES.get(k, k): v for k, v in values.items()}
    if "save_safetensors" in known:
        named.update({k: v for k, v in _OLD_ONLY.items() if k in known})
    # Older versions that lack one of these keep their own behaviour.
    return {k: v for k, v in named.items() if k in known or k not in _NEWER}


def optimizer_name(optimizer: Optimizer, *, has_gpu: bool) -> str:
    """Return the Trainer's name of an optimizer; ConfigError if the libraries here lack it."""
    if optimizer is Optimizer.adafactor:
        return "adafactor"
    if optimizer is Optimizer.lion:
        _check_lion(has_gpu)
        return "lion_32bit"
    return "adamw_torch_fused" if _has_fused(has_gpu) else "adamw_torch"


def _check_lion(has_gpu: bool) -> None:
    if not hasattr(OptimizerNames, "LION"):
        what = f"transformers {transformers.__version__} has no Lion"
    elif not has_gpu:
        what = "is bitsandbytes', which computes it on GPUs"
    elif find_spec("bitsandbytes") is None:
        what = "needs bitsandbytes, which is not installed here"
    else:
        return
    raise ConfigError([Problem("training.optimizer=lion", what, "training.optimizer=adamw")])


def _has_fused(has_gpu: bool) -> bool:
    """Tell whether torch has a fused AdamW here, ten times faster, that works with a gradient scaler."""
    return bool(torch.__version__ >= (2, 1) if has_gpu else torch.__version__ >= (2, 4))
