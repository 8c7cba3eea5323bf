"""Groups, types of settings in words, and names of settings in other tools."""

from __future__ import annotations

import functools
import os
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import SequenceMatcher
from enum import Enum
from pathlib import Path
from typing import Any

from yaml import YAMLError

from lingotune.config.schema import Texts
from lingotune.config.settings import mapping_of, setting_types
from lingotune.config.yaml_text import read_yaml

ALIASES = {
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
    "optim": "training.optimizer",
    "activation_checkpointing": "training.gradient_checkpointing",
    "classifier_dropout": "model.head_dropout",
    "cls_dropout": "model.head_dropout",
    "seq_classif_dropout": "model.head_dropout",
    "polynomial_decay_schedule_power": "training.schedule_power",
    "cosine_schedule_num_cycles": "training.schedule_cycles",
    "num_cycles": "training.schedule_cycles",
    "evaluation_strategy": "training.eval_strategy",
    "label_smoothing_factor": "training.label_smoothing",
    "early_stopping_patience": "training.patience",
    "early_stopping_threshold": "training.min_delta",
    "early_stopping_delta": "training.min_delta",
    "early_stopping_metric": "evaluation.select",
    "save_total_limit": "training.keep_checkpoints",
    "lora_r": "training.lora.rank",
    "lora_rank": "training.lora.rank",
    "lora_alpha": "training.lora.alpha",
    "lora_dropout": "training.lora.dropout",
    "lora_target": "training.lora.targets",
    "lora_target_modules": "training.lora.targets",
    "target_modules": "training.lora.targets",
    "classifier_pooling": "model.pooling",
    "pooling_mode": "model.pooling",
    "summary_type": "model.pooling",
    "metric_for_best_model": "evaluation.select",
    "metric": "evaluation.select",
    "data.file": "data.path",
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
    "dataset": "data=files data.path=hf://datasets/NAME",
    "dataset_name": "data=files data.path=hf://datasets/NAME",
    "model_name": "model=pretrained model.name_or_path",
    "pretrained_model_name_or_path": "model=pretrained model.name_or_path",
    "text_column": "data.columns.text",
    "text_column_name": "data.columns.text",
    "text_column_names": "data.columns.text",
    "text_field": "data.columns.text",
    "text_pair_column": "data.columns.text_pair",
    "sentence1_key": "data.columns.text",
    "sentence2_key": "data.columns.text_pair",
    "label_column": "data.columns.label",
    "label_column_name": "data.columns.label",
    "target_column": "data.columns.label",
    "id_column": "data.columns.id",
    "labels_list": "data.labels",
    "delimiter": "data.separator",
    "use_cpu": "cluster=local",
    "per_gpu_train_batch_size": "per_device_bs",
    "per_gpu_eval_batch_size": "evaluation.per_device_bs",
    "push_to_hub_model_id": "hub.repo",
    "push_to_hub_token": "hub.token_secret",
    "eval_batch_size": "evaluation.per_device_bs",
    "train_batch_size": "per_device_bs",
    # PyTorch Lightning, Keras, axolotl, LLaMA-Factory
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "accumulate_grad_batches": "scaling.accumulation",
    "gradient_clip_val": "training.max_grad_norm",
    "clip_grad_norm": "training.max_grad_norm",
    "num_nodes": "cluster.nodes",
    "num_gpus": "cluster.gpus_per_node",
    "num_processes": "cluster.processes",
    "micro_batch_size": "per_device_bs",
    "sequence_len": "data.max_length",
    "cutoff_len": "data.max_length",
    "max_len": "data.max_length",
    "val_set_size": "data.validation_share",
    "val_size": "data.validation_share",
    "test_size": "data.test_share",
    "val_file": "data.validation",
    "lr_scheduler": "training.schedule",
    "scheduler": "training.schedule",
    "mixed_precision": "training.precision",
    "torch_compile": "training.compile",
    "base_model": "model=pretrained model.name_or_path",
    "random_seed": "seed",
    "random_state": "seed",
    "log_every_n_steps": "training.logging_steps",
    "nproc_per_node": "cluster.gpus_per_node",
    "nnodes": "cluster.nodes",
    "push_to_hub": "hub=private",
    "hub_model_id": "hub.repo",
    "hub_private_repo": "hub=private",
    "hub_token": "hub.token_secret",
    "train_micro_batch_size_per_gpu": "per_device_bs",
    "gradient_clipping": "training.max_grad_norm",
    "grad_clip": "training.max_grad_norm",
    "clip": "training.max_grad_norm",
    "decay": "training.weight_decay",
    "wd": "training.weight_decay",
    "warmup_proportion": "training.warmup_ratio",
    "manual_seed": "seed",
    "lr_rate": "lr",
    "class_names": "data.labels",
    "classes": "data.labels",
    "label_map": "data.labels",
    "save_top_k": "training.keep_checkpoints",
    "log_interval": "training.logging_steps",
    "log_freq": "training.logging_steps",
    "print_freq": "training.logging_steps",
    "log_every": "training.logging_steps",
    "amp": "training.precision",
    "use_amp": "training.precision",
    "world_size": "cluster.processes",
    "save_dir": "runs_dir",
    "output_folder": "runs_dir",
    "framework_version": "cluster.image.lane=pinned cluster.image.pytorch",
    # the SageMaker SDKs: estimators of v2, ModelTrainer of v3, boto3's requests
    "instance_type": "cluster=sagemaker cluster.instance_type",
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
"""Name in another tool -> what to type here; names that differ only in their section need no entry."""
_ALIKE = 0.76
"""Minimum likeness of a word that is suggested for an unknown one."""


class OptionGroups(dict[str, list[str]]):
    """Options of each group. roots: the folders that their files lie in; the last one wins."""

    def __init__(self, options: Mapping[str, list[str]], roots: Sequence[Path]) -> None:
        super().__init__(options)
        self.roots = roots

    def named_again(self, group: str, option: str) -> str | None:
        """Tell which option another name stands for: its file has that one in its defaults, and no more."""
        files = [root / group / f"{option}.yaml" for root in self.roots]
        path = next((file for file in reversed(files) if file.is_file()), None)
        try:
            content = read_yaml(path.read_text(encoding="utf-8"))[0] if path else None
        except (OSError, ValueError, YAMLError):
            return None  # told where the file is composed
        chosen = (
            content.get("defaults") if isinstance(content, dict) and len(content) == 1 else None
        )
        return chosen[0] if isinstance(chosen, list) and len(chosen) == 1 else None


def config_groups(conf_dir: Path, extra_dir: Path | None = None) -> OptionGroups:
    """Map each group to its options, as Hydra finds them: every folder is a group, every YAML file
    below it an option, by its path from there (`nlp/deep`)."""
    groups: dict[str, set[str]] = {}
    roots = [conf_dir] + ([extra_dir] if extra_dir else [])
    for root in roots:
        for folder, names in _visible_folders(root):
            parts = Path(folder).relative_to(root).parts
            here = [name.removesuffix(".yaml") for name in names if name.endswith(".yaml")]
            for depth in range(1, len(parts) + 1 if here else 1):
                found = groups.setdefault("/".join(parts[:depth]), set())
                found.update("/".join([*parts[depth:], option]) for option in here)
    options = {name: sorted(found) for name, found in sorted(groups.items())}
    return OptionGroups(options, roots)


def visible_files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, sorted, without those of hidden folders such as .git."""
    for folder, names in _visible_folders(root):
        yield from (Path(folder, name) for name in names)


def _visible_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        yield folder, sorted(name for name in files if not name.startswith("."))


@dataclass(frozen=True)
class Meant:
    """Names that an unknown one has here: settings, groups, or what to type in their place.

    is_sure: it is another tool's name, or that of another section. is_alias: the tables know it.
    likeness: of a name that is not sure, from 0 to 1.
    """

    names: tuple[str, ...] = ()
    is_sure: bool = False
    is_alias: bool = False
    likeness: float = 0.0

    @property
    def hint(self) -> str:
        """The names in words, to follow `unknown setting`: `; did you mean lr?`, or nothing."""
        if self.is_alias:
            return f": here it is {self.names[0]}"
        return f"; did you mean {' or '.join(self.names)}?" if self.names else ""


def meant_by(key: str, groups: Mapping[str, Sequence[str]], value: str = "") -> Meant:
    """Find the names that are meant by an unknown one.

    value: as typed; an option of a group with a name like the key's tells which group is meant.
    """
    leaf = _leaf(key)
    if key in ALIASES:
        return Meant((ALIASES[key],), is_sure=True, is_alias=True)
    moved = [known for known in setting_types() if _leaf(known) == leaf] + _in_mapping(key)
    if moved:
        return Meant(tuple(moved), is_sure=True)
    if leaf in ALIASES:
        return Meant((ALIASES[leaf],), is_sure=True, is_alias=True)
    chosen = [name for name, options in groups.items() if value in options]
    letters = letters_of(key)
    group = max(chosen, key=lambda name: likeness(letters, letters_of(name)), default="")
    if likeness(letters, letters_of(group)) >= _ALIKE:
        return Meant((group,), is_sure=True)
    near, score = _likest(key, groups)
    return Meant((near,), likeness=score) if near else Meant(tuple(_begun(key)))


def _leaf(key: str) -> str:
    return key.rsplit(".", 1)[-1]


def _in_mapping(key: str) -> list[str]:
    """Complete the key of an item in a mapping: `tags.team` is `aws.tags.team`."""
    mapping, _, name = key.rpartition(".")
    return [f"{k}.{name}" for k in setting_types() if mapping_of(k) and _leaf(k) == mapping]


def _begun(key: str) -> list[str]:
    """List the settings that begin with the key: `warmup` for training.warmup_ratio and warmup_steps."""
    section, _, leaf = key.rpartition(".")
    begun = [known for known in setting_types() if _leaf(known).startswith(f"{leaf}_")]
    found = [known for known in begun if known.startswith(section)]
    return found if len(found) <= 3 else []


def _likest(key: str, groups: Iterable[str]) -> tuple[str, float]:
    """Find the most similar spelling to a whole key, and how similar it is: a setting, a group or the
    meaning of an alias."""
    settings = setting_types()
    section, _, leaf = key.rpartition(".")
    leaves = {_leaf(known): known for known in reversed([*settings])}
    inside = {_leaf(known): known for known in settings if known.rpartition(".")[0] == section}
    by_word = {**ALIASES, **leaves, **inside}
    typed = [letters_of(leaf)]
    # If the section exists, its letters do not tell which of its settings is meant.
    if section not in (*settings, *groups):
        by_word |= {word: word for word in (*groups, *settings)}
        typed.append(letters_of(key))
    scores = {
        word: max(likeness(letters, letters_of(word)) for letters in typed) for word in by_word
    }
    best = max(scores, key=lambda word: scores[word])
    return (by_word[best], scores[best]) if scores[best] >= _ALIKE else ("", 0.0)


@functools.lru_cache(maxsize=4096)
def letters_of(word: str) -> str:
    """Normalise spellings: batchSize, batch-size and batch_size become the same."""
    return word.lower().translate(_SEPARATORS)


_SEPARATORS = str.maketrans("", "", "_-./ ")


def likeness(one: str, other: str) -> float:
    """Compute the share of common letters, in order: 1 for equal words, 0 for those that are not alike.

    Letters that have changed places are all common.
    """
    both = len(one) + len(other)
    if 2 * min(len(one), len(other)) < _ALIKE * both:
        return 0.0  # the bounds, cheapest first, spare most pairs the comparison
    common = (_counted(one) & _counted(other)).total()
    if 2 * common < _ALIKE * both:
        return 0.0
    if len(one) > 3 and 2 * common == both:
        return 1.0
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


@functools.lru_cache(maxsize=4096)
def _counted(word: str) -> Counter[str]:
    return Counter(word)


def settings_of(section: str) -> str:
    """List the settings of a section; '' for what is none."""
    kind = setting_types().get(section)
    names = [item.name for item in fields(kind)] if is_dataclass(kind) else []
    return f"settings of {section}: {', '.join(names)}" if names else ""


def describe_type(kind: Any, key: str) -> tuple[str, str]:
    """Describe a type in words (`a whole number`), with an override that fits it."""
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
        return "a set of named texts", f"'{key}={{name: value}}', or {key}.name=value"
    if is_dataclass(kind):
        return "a section of settings", settings_of(key)
    words = {
        bool: ("true or false", "true"),
        int: ("a whole number", "3"),
        float: ("a number", "0.1"),
        str: ("a text", "text"),
        Texts: ("a text or a list of texts", f"text, or '{key}=[a,b]'"),
    }
    name, example = words.get(kind, ("a value that fits", "..."))
    return name, f"{key}={example}"
