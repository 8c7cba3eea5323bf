"""What can be set: the groups, the settings with their types in words, their names in other tools."""

from __future__ import annotations

import functools
import os
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lingotune.config.schema import LaunchConfig

OTHER_NAMES = {
    # transformers
    "learning_rate": "lr",
    "batch_size": "per_device_bs",
    "per_device_batch_size": "per_device_bs",
    "per_device_train_batch_size": "per_device_bs",
    "per_device_eval_batch_size": "evaluation.per_device_bs",
    "num_train_epochs": "epochs",
    "gradient_accumulation_steps": "scaling.accumulation",
    "fp16": "training.precision=fp16",
    "bf16": "training.precision=bf16",
    "lr_scheduler_type": "training.schedule",
    "evaluation_strategy": "training.eval_strategy",
    "label_smoothing_factor": "training.label_smoothing",
    "save_total_limit": "training.keep_checkpoints",
    "metric_for_best_model": "evaluation.select",
    "max_seq_length": "data.max_length",
    "train_file": "data.train",
    "validation_file": "data.validation",
    "test_file": "data.test",
    "model_name_or_path": "model=pretrained model.name_or_path",
    "model_id": "model=pretrained model.name_or_path",
    "model_revision": "model.revision",
    "output_dir": "runs_dir",
    "run_name": "name",
    "data_seed": "seed",
    "use_cpu": "cluster=local",
    "nproc_per_node": "cluster.gpus_per_node",
    "nnodes": "cluster.nodes",
    "push_to_hub": "hub=private",
    "hub_model_id": "hub.repo",
    "hub_private_repo": "hub=private",
    "hub_token": "hub.token_secret",
    # the SageMaker SDKs: estimators of v2, ModelTrainer of v3, boto3's requests
    "instance_type": "cluster",
    "instance_count": "cluster.nodes",
    "base_job_name": "name",
    "job_name": "name",
    "use_spot_instances": "cluster.spot",
    "enable_managed_spot_training": "cluster.spot",
    "max_run_in_seconds": "cluster.max_run",
    "max_runtime_in_seconds": "cluster.max_run",
    "max_wait_time_in_seconds": "cluster.max_wait",
    "keep_alive_period_in_seconds": "cluster.keep_alive",
    "max_retry_attempts": "cluster.retries",
    "maximum_retry_attempts": "cluster.retries",
    "volume_size": "cluster.volume_gb",
    "volume_size_in_gb": "cluster.volume_gb",
    "training_input_mode": "cluster.input_mode",
    "checkpoint_s3_uri": "cluster.checkpoints",
    "checkpoint_local_path": "cluster.checkpoints",
    "tensorboard_output_config": "cluster.tensorboard",
    "disable_output_compression": "cluster.compress_output=false",
    "disable_profiler": "cluster.profiler=false",
    "enable_remote_debug": "cluster.remote_debug",
    "training_plan_arn": "cluster.training_plan",
    "image_uri": "cluster.image.lane=pinned cluster.image.uri",
    "training_image": "cluster.image.lane=pinned cluster.image.uri",
    "transformers_version": "cluster.image.lane=pinned cluster.image.transformers",
    "pytorch_version": "cluster.image.lane=pinned cluster.image.pytorch",
    "py_version": "cluster.image.lane=pinned cluster.image.python",
    "role_arn": "aws.role",
    "region_name": "aws.region",
    "default_bucket": "aws.bucket",
    "default_bucket_prefix": "aws.prefix",
    "output_path": "aws.bucket",
    "output_kms_key": "aws.kms_key",
    "kms_key_id": "aws.kms_key",
    "volume_kms_key_id": "aws.volume_kms_key",
    "security_group_ids": "aws.security_groups",
    "encrypt_inter_container_traffic": "aws.encrypt_traffic",
    "enable_inter_container_traffic_encryption": "aws.encrypt_traffic",
    "enable_network_isolation": "aws.network_isolation",
    "job_queue": "aws.queue",
    "share_identifier": "aws.queue_share",
}
"""What the same setting is called elsewhere; a name that differs by its section only needs no line."""


def config_groups(conf_dir: Path, extra_dir: Path | None = None) -> dict[str, list[str]]:
    """Map each group to its options, as Hydra finds them: every folder is a group, every YAML file
    below it an option, by its path from there (`nlp/deep`)."""
    groups: dict[str, set[str]] = {}
    for root in [conf_dir] + ([extra_dir] if extra_dir else []):
        for path in visible_files(root):
            option = path.relative_to(root).with_suffix("")
            for group in list(option.parents)[:-1] if path.suffix == ".yaml" else []:
                groups.setdefault(group.as_posix(), set()).add(option.relative_to(group).as_posix())
    return {name: sorted(options) for name, options in sorted(groups.items())}


def visible_files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted, without those of hidden folders such as .git."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


@functools.cache
def setting_types() -> Mapping[str, Any]:
    """Dotted key -> type of every setting of the schema, sections included."""
    return MappingProxyType(dict(_walk(LaunchConfig, "")))


@functools.cache
def field_types(section: type) -> Mapping[str, Any]:
    """Field name -> type, of one dataclass of the schema."""
    hints = typing.get_type_hints(section)
    return MappingProxyType({item.name: hints[item.name] for item in fields(section)})


def _walk(section: type, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, kind in field_types(section).items():
        yield prefix + name, kind
        if is_dataclass(kind):
            yield from _walk(typing.cast(type, kind), f"{prefix}{name}.")


def container_of(key: str) -> str | None:
    """The list or mapping that the key names or lies in: data.labels of data.labels.0.name."""
    parts = key.split(".")
    parents = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    settings = setting_types()
    return next((k for k in parents if typing.get_origin(settings.get(k)) in (list, dict)), None)


def mapping_of(key: str) -> str | None:
    """The same for mappings only, whose names are the user's own: aws.tags of aws.tags.team."""
    container = container_of(key)
    kind = setting_types()[container] if container else None
    return container if typing.get_origin(kind) is dict else None


def describe_type(kind: Any, key: str) -> tuple[str, str]:
    """A type in words ('a whole number'), and an override that fits it."""
    options = [k for k in typing.get_args(kind) if k is not type(None)]
    if typing.get_origin(kind) is typing.Union:
        name, fix = describe_type(options[0], key)
        return name, f"{fix}, or {key}=null"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of its {len(kind)} choices", f"{key}=" + " | ".join(e.name for e in kind)
    if typing.get_origin(kind) is list and is_dataclass(options[0]):
        row = ", ".join(f"{item.name}: ..." for item in fields(options[0]))
        return f"a list of rows of {{{row}}}", f"'{key}=[{{{row}}}]'"
    if typing.get_origin(kind) is list and issubclass(options[0], Enum):
        return "a list of its choices", f"'{key}=[{','.join(e.name for e in options[0])}]'"
    if typing.get_origin(kind) is list:
        return "a list that fits", f"'{key}=[a,b]'"
    if typing.get_origin(kind) is dict:
        return "a set of named texts", f"'{key}={{NAME: value}}', or {key}.NAME=value"
    if is_dataclass(kind):
        return "a mapping that fits", f"'{key}={{name: value}}'"
    words = {
        bool: ("true or false", "true"),
        int: ("a whole number", "3"),
        float: ("a number", "0.1"),
        str: ("a text", "text"),
    }
    name, example = words.get(kind, ("a value that fits", "..."))
    return name, f"{key}={example}"
