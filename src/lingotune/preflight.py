"""What is wrong with a job, found before anything runs or is billed. Pure.

Each check takes the section that it needs and yields problems; `check_job` runs them all, so that
the user sees everything at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lingotune.hardware import (
    BF16_CAPABILITY,
    Image,
    Instance,
    images,
    instances,
    misfit,
    newest_image,
    pinned_image,
    python_version,
    resolve_image,
    runs_worker,
)
from lingotune.messages import errors_only, nearest
from lingotune.scaling import plan_batches
from lingotune.schema import (
    ArchitectureConfig,
    ClusterConfig,
    ConfigError,
    DataConfig,
    Distribution,
    EvalStrategy,
    HubConfig,
    ImageConfig,
    JobConfig,
    Lane,
    ModelConfig,
    Precision,
    Problem,
    RowCounts,
    SampleConfig,
    ScalingConfig,
    ScalingRule,
    SelectMetric,
    Severity,
    Source,
    TrainingConfig,
    Visibility,
)

NAME_LENGTH = 45
"""Longest run name: SageMaker's job names have 63 characters, digest and attempt need the rest."""
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_SECRET = re.compile(r"hf_[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{30,}")

# key: lowest and highest value allowed, and what is counted
_RANGES: dict[str, tuple[float, float, str]] = {
    "seed": (0, 2**32 - 1, "a whole number from 0 to 4294967295"),
    "per_device_bs": (1, 65536, "examples per process, from 1"),
    "epochs": (1, 10000, "passes over the data, from 1"),
    "data.max_length": (8, 8192, "tokens, from 8 to 8192"),
    "data.validation_share": (0, 0.9, "a share from 0 to 0.9"),
    "data.test_share": (0, 0.9, "a share from 0 to 0.9"),
    "data.rows.train": (1, 10**12, "rows of each language, from 1"),
    "data.rows.validation": (1, 10**12, "rows of each language, from 1"),
    "data.rows.test": (1, 10**12, "rows of each language, from 1"),
    "data.sample.train_rows": (10, 1_000_000, "rows of each language, from 10"),
    "data.sample.validation_rows": (3, 1_000_000, "rows of each language, from 3"),
    "data.sample.test_rows": (3, 1_000_000, "rows of each language, from 3"),
    "data.sample.seed": (0, 2**32 - 1, "a whole number from 0 to 4294967295"),
    "model.scratch.dim": (8, 4096, "hidden units, from 8 to 4096"),
    "model.scratch.hidden_dim": (8, 16384, "hidden units, from 8 to 16384"),
    "model.scratch.layers": (1, 48, "layers, from 1 to 48"),
    "model.scratch.heads": (1, 64, "attention heads, from 1 to 64"),
    "model.scratch.dropout": (0, 0.9, "a share from 0 to 0.9"),
    "model.scratch.vocab_size": (100, 1_000_000, "word pieces, from 100"),
    "cluster.nodes": (1, 1000, "instances, from 1"),
    "cluster.gpus_per_node": (0, 16, "GPUs, from 0 to 16"),
    "cluster.processes": (1, 256, "processes, from 1 to 256"),
    "cluster.threads": (1, 1024, "CPU threads, from 1"),
    "cluster.max_run": (60, 28 * 86400, "seconds, from 60 to 2419200 (28 days)"),
    "scaling.base_batch": (1, 10_000_000, "examples, from 1"),
    "scaling.global_batch": (1, 10_000_000, "examples, from 1"),
    "scaling.accumulation": (1, 10_000, "backward passes, from 1"),
    "training.max_steps": (1, 10**9, "updates, from 1"),
    "training.warmup_ratio": (0, 0.99, "a share from 0 to 0.99"),
    "training.weight_decay": (0, 10, "from 0 to 10"),
    "training.eval_steps": (1, 10**9, "updates, from 1"),
    "training.eval_bs": (1, 65536, "examples per process, from 1"),
    "training.keep_checkpoints": (1, 1000, "checkpoints, from 1"),
    "training.logging_steps": (1, 10**9, "updates, from 1"),
}
_POSITIVE = {
    "lr": (1.0, "above 0, at most 1"),
    "training.max_grad_norm": (1e6, "above 0"),
}


def check_job(job: JobConfig) -> list[Problem]:
    """Everything wrong with the job, errors and warnings, in the order of the schema."""
    problems = [
        *_check_name(job),
        *_check_ranges(job),
        *_check_secrets(job),
        *_check_model(job.model),
        *_check_data(job.data),
        *_check_cluster(job.cluster),
        *_check_scaling(job.scaling),
        *_check_training(job.training),
        *_check_precision(job.training.precision, job.cluster),
        *_check_hub(job.hub),
    ]
    if not errors_only(problems):  # the arithmetic needs sane numbers
        try:
            plan_batches(job)
        except ConfigError as error:
            problems += error.problems
    return problems


def check_submit(job: JobConfig) -> list[Problem]:
    """What keeps a sound job from succeeding on SageMaker; a plan shows it, a submit refuses."""
    return [*_check_worker_code(job.cluster), *_check_token(job.hub, job.cluster)]


def _check_worker_code(cluster: ClusterConfig) -> Iterator[Problem]:
    image = resolve_image(cluster)
    if image is None or runs_worker(image):
        return
    major, minor = python_version(image.python)
    what = (
        f"the image of transformers {image.transformers} has Python {major}.{minor};"
        " the worker code needs Python 3.10 and transformers 4.28"
    )
    best = newest_image(instances()[cluster.instance_type or ""], cluster.distribution)
    yield Problem("cluster.image", what, _pin(best))


def _pin(image: Image | None) -> str:
    """The overrides that pin this image."""
    if image is None:
        return "another cluster"
    versions = {
        "transformers": image.transformers,
        "pytorch": image.pytorch,
        "python": image.python,
    }
    return " ".join(f"cluster.image.{key}={value}" for key, value in versions.items())


def _check_token(hub: HubConfig, cluster: ClusterConfig) -> Iterator[Problem]:
    if hub.visibility is Visibility.none or hub.token_secret or cluster.instance_type is None:
        return
    what = f"hub={hub.visibility.value}: a job on SageMaker finds no token on its machines"
    works = "hub.token_secret=NAME of an AWS secret that holds it, or hub=none"
    yield Problem("hub.token_secret", what, works)


def _value(job: JobConfig, key: str) -> Any:
    node: Any = job
    for part in key.split("."):
        node = getattr(node, part)
    return node


def _check_name(job: JobConfig) -> Iterator[Problem]:
    if not _NAME.fullmatch(job.name):
        works = re.sub(r"[^a-zA-Z0-9]+", "-", job.name).strip("-") or "my-run"
        yield Problem(
            f"name={job.name}",
            "only letters, digits and inner hyphens are allowed",
            f"name={works}",
        )
    if len(job.name) > NAME_LENGTH:
        what = f"has {len(job.name)} characters; at most {NAME_LENGTH} fit into a job name"
        yield Problem(f"name={job.name}", what, f"name={job.name[:NAME_LENGTH].strip('-')}")


def _check_ranges(job: JobConfig) -> Iterator[Problem]:
    for key, (low, high, meaning) in _RANGES.items():
        value = _value(job, key)
        if value is not None and not low <= value <= high:  # NaN fails too
            yield Problem(f"{key}={value:g}", "is out of range", meaning)
    for key, (high, meaning) in _POSITIVE.items():
        value = _value(job, key)
        if not 0 < value <= high:
            yield Problem(f"{key}={value:g}", "is out of range", meaning)


def _check_secrets(job: JobConfig) -> Iterator[Problem]:
    """A job file is stored in S3 and in run folders: no token may be in it."""
    for key, text in _texts(job, ""):
        if _SECRET.search(text):
            works = "set HF_TOKEN in the environment, or hub.token_secret=NAME of an AWS secret"
            yield Problem(key, "looks like an access token; a job file must not hold one", works)


def _texts(node: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield prefix, node
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item, prefix)
    elif hasattr(node, "__dataclass_fields__"):
        for name in node.__dataclass_fields__:
            yield from _texts(getattr(node, name), f"{prefix}.{name}" if prefix else name)


def _check_model(model: ModelConfig) -> Iterator[Problem]:
    if model.name_or_path is None:
        if model.revision is not None:
            what = "has no effect: the model is made from scratch"
            works = "model=pretrained model.name_or_path=..., or model.revision=null"
            yield Problem(f"model.revision={model.revision}", what, works)
        if model.scratch.heads > 0 and model.scratch.dim % model.scratch.heads:
            near = max(1, round(model.scratch.dim / model.scratch.heads)) * model.scratch.heads
            what = f"model.scratch.dim={model.scratch.dim} does not split over that many heads"
            yield Problem(
                f"model.scratch.heads={model.scratch.heads}", what, f"model.scratch.dim={near}"
            )
    elif model.scratch != ArchitectureConfig():
        what = f"has no effect: {model.name_or_path} brings its own architecture"
        yield Problem("model.scratch", what, "model=tiny model.scratch...")


def _check_data(data: DataConfig) -> Iterator[Problem]:
    yield from _check_labels(data)
    for language, count in Counter(data.languages).items():
        if count > 1:
            yield Problem("data.languages", f"names {language!r} {count} times")
    held_out = data.validation_share + data.test_share
    if held_out > 0.9:
        what = f"leaves too little to train on: the shares add up to {held_out:g}"
        yield Problem(
            "data.validation_share", what, "data.validation_share=0.1 data.test_share=0.1"
        )
    files = {k: getattr(data, k) for k in ("path", "train", "validation", "test")}
    given = [f"data.{name}" for name, value in files.items() if value is not None]
    if data.source is Source.sample:
        for key in given:
            yield Problem(
                key,
                "has no effect: data=sample generates its reviews",
                "data=files " + key + "=...",
            )
    elif data.sample != SampleConfig():
        what = f"has no effect: data.source={data.source.value} does not generate reviews"
        yield Problem("data.sample", what, "data=sample data.sample...")
    if data.source is Source.files and not (data.path or data.train):
        works = "data.path=reviews.jsonl, or data.train=... data.validation=... data.test=..."
        yield Problem("data.path", "no file is named", works)
    if data.source is Source.files and data.path and len(given) > 1:
        others = ", ".join(key for key in given if key != "data.path")
        yield Problem(
            "data.path", f"and {others} are both set; one of them decides", "data.path=null"
        )
    if data.source is Source.files and not data.path and not data.train and given:
        yield Problem("data.train", "no training file is named", "data.train=train.jsonl")
    if data.source is not Source.hub and data.rows != RowCounts():
        yield Problem(
            "data.rows",
            "has no effect: files and samples are counted",
            "data=amazon_reviews_multi data.rows...",
        )


def _check_labels(data: DataConfig) -> Iterator[Problem]:
    names = [label.name for label in data.labels]
    example = "'data.labels=[{name: bad, values: [1, 2]}, {name: good, values: [4, 5]}]'"
    if len(names) < 2:
        yield Problem(
            "data.labels", f"names {len(names)} class(es); a classifier needs two", example
        )
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem("data.labels", f"names the class {name!r} {count} times", example)
        if not name.strip():
            yield Problem("data.labels", "has a class without a name", example)
    raw = Counter(value for label in data.labels for value in {*label.values, label.name})
    for value, count in raw.items():
        if count > 1:
            yield Problem(
                "data.labels", f"maps the raw value {value!r} to {count} classes", example
            )


def _check_cluster(cluster: ClusterConfig) -> Iterator[Problem]:
    if cluster.instance_type is None:
        yield from _check_local(cluster)
        return
    instance = instances().get(cluster.instance_type)
    if instance is None:
        known = list(instances())
        what = f"unknown instance type{nearest(cluster.instance_type, known)}"
        yield Problem(f"cluster.instance_type={cluster.instance_type}", what, " | ".join(known))
        return
    if cluster.processes != 1:
        what = "has no effect on SageMaker: one process per GPU is started"
        yield Problem(f"cluster.processes={cluster.processes}", what, "cluster.processes=1")
    if cluster.gpus_per_node != instance.gpus:
        what = f"{cluster.instance_type} has {instance.gpus}; SageMaker starts one process on each"
        yield Problem(
            f"cluster.gpus_per_node={cluster.gpus_per_node}",
            what,
            f"cluster.gpus_per_node={instance.gpus}",
        )
    yield from _check_image(cluster, instance)


def _check_local(cluster: ClusterConfig) -> Iterator[Problem]:
    if cluster.nodes != 1:
        what = "cluster=local is this one machine"
        yield Problem(
            f"cluster.nodes={cluster.nodes}", what, "cluster.processes=2, or a SageMaker cluster"
        )
    if cluster.gpus_per_node and cluster.processes != 1:
        what = "has no effect: with GPUs, one process is started per GPU"
        yield Problem(f"cluster.processes={cluster.processes}", what, "cluster.gpus_per_node=0")
    if cluster.image != ImageConfig():
        yield Problem(
            "cluster.image", "has no effect: cluster=local has no image", "cluster=p3_16xl"
        )
    if cluster.distribution is not Distribution.torch_distributed:
        yield Problem(
            f"cluster.distribution={cluster.distribution.value}",
            "cluster=local starts its processes with torchrun",
            "cluster.distribution=torch_distributed",
        )


def _check_image(cluster: ClusterConfig, instance: Instance) -> Iterator[Problem]:
    image, where = cluster.image, f"cluster.distribution={cluster.distribution.value}"
    if cluster.distribution is Distribution.smdistributed and not instance.smdistributed:
        what = f"SageMaker's data parallel library does not run on {instance.instance_type}"
        yield Problem(where, what, "cluster.distribution=torch_distributed")
        return
    best = newest_image(instance, cluster.distribution)
    versions = (image.transformers, image.pytorch, image.python)
    if image.lane is Lane.auto:
        if any(versions):
            what = "the image's versions have no effect while the lane is auto"
            yield Problem("cluster.image", what, "cluster.image.lane=pinned")
        if best is None:
            what = f"no image runs it on {instance.instance_type}"
            yield Problem(where, what, "cluster.distribution=torch_distributed")
    else:
        pinned = pinned_image(image)
        if pinned is None:
            typed = ", ".join(str(v) for v in versions)
            known = "; ".join(f"{i.transformers}, {i.pytorch}, {i.python}" for i in images())
            yield Problem(
                "cluster.image", f"no such image: {typed}", f"{_pin(best)}; known: {known}"
            )
        else:
            reason = misfit(pinned, instance, cluster.distribution)
            if reason:
                yield Problem("cluster.image", f"{pinned}: {reason}", _pin(best))
    if cluster.distribution is Distribution.smdistributed and instance.gpu == "V100":
        yield Problem(
            where,
            "SageMaker's data parallel library is at its end on p3: AWS lists p4d and p4de only",
            "cluster.distribution=torch_distributed",
            Severity.warning,
        )


def _check_scaling(scaling: ScalingConfig) -> Iterator[Problem]:
    rule = scaling.rule
    scaled = rule in (ScalingRule.linear, ScalingRule.sqrt)
    if scaled and scaling.base_batch is None:
        what = f"scaling={rule.value} needs the global batch that lr was chosen for"
        yield Problem("scaling.base_batch", what, "scaling.base_batch=16")
    if not scaled and scaling.base_batch is not None:
        what = f"has no effect with scaling={rule.value}"
        yield Problem(
            f"scaling.base_batch={scaling.base_batch}", what, "scaling=linear, or scaling=sqrt"
        )
    fixed = rule is ScalingRule.fixed_global
    if fixed and scaling.global_batch is None:
        what = "scaling=fixed_global needs the global batch"
        yield Problem("scaling.global_batch", what, "scaling.global_batch=128")
    if not fixed and scaling.global_batch is not None:
        what = f"has no effect with scaling={rule.value}"
        yield Problem(f"scaling.global_batch={scaling.global_batch}", what, "scaling=fixed_global")
    if fixed and scaling.accumulation is not None:
        what = "is derived with scaling=fixed_global"
        yield Problem(
            f"scaling.accumulation={scaling.accumulation}", what, "scaling.accumulation=null"
        )


def _check_training(training: TrainingConfig) -> Iterator[Problem]:
    strategy = training.eval_strategy
    if strategy is EvalStrategy.steps and training.eval_steps is None:
        what = "training.eval_strategy=steps needs the updates between two evaluations"
        yield Problem("training.eval_steps", what, "training.eval_steps=500")
    if strategy is not EvalStrategy.steps and training.eval_steps is not None:
        what = f"has no effect with training.eval_strategy={strategy.value}"
        yield Problem(
            f"training.eval_steps={training.eval_steps}", what, "training.eval_strategy=steps"
        )
    if strategy is EvalStrategy.none and training.select is not SelectMetric.macro_f1:
        what = "has no effect with training.eval_strategy=none: the last weights are kept"
        yield Problem(
            f"training.select={training.select.value}", what, "training.eval_strategy=epoch"
        )


def _check_precision(precision: Precision, cluster: ClusterConfig) -> Iterator[Problem]:
    where = f"training.precision={precision.value}"
    instance = instances().get(cluster.instance_type or "")
    if precision is Precision.bf16 and instance and instance.capability < BF16_CAPABILITY:
        what = f"the {instance.gpu} has no bf16; it would be emulated, slowly"
        yield Problem(where, what, "training.precision=fp16")
    if precision is Precision.fp16 and cluster.instance_type is None and not cluster.gpus_per_node:
        what = "fp16 training needs a GPU"
        yield Problem(where, what, "training.precision=fp32, or cluster.gpus_per_node=1")


def _check_hub(hub: HubConfig) -> Iterator[Problem]:
    if hub.visibility is not Visibility.none:
        return
    for name in ("repo", "token_secret"):
        value = getattr(hub, name)
        if value is not None:
            yield Problem(f"hub.{name}={value}", "has no effect with hub=none", "hub=private")
