"""Checks of a job's own settings: name, numbers, model, scaling, training, publishing. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from lingotune.catalog.architectures import architecture_of
from lingotune.catalog.models import config_of, kind_for, usable_positions
from lingotune.catalog.pooling import no_pooling, poolings
from lingotune.config.problems import Severity
from lingotune.config.quoting import override_text
from lingotune.config.remote_code import is_commit
from lingotune.config.schema import (
    BY_MODEL,
    ON_SCALE,
    ArchitectureConfig,
    Decide,
    EvalStrategy,
    HubConfig,
    JobConfig,
    LabelsMode,
    ScalingRule,
    SelectMetric,
    Source,
    TrainingConfig,
    Visibility,
)
from lingotune.config.secret_values import known_secrets, secrets_of
from lingotune.config.secrets import NO_TOKEN, looks_secret
from lingotune.config.settings import default_of
from lingotune.data.prepared.foreign_code import KNOWN_CLASSES, own_classes
from lingotune.data.sources.addresses import is_web, secret_free, shown_address
from lingotune.preflight.registry import Found, Table, typed

JOB: Table[JobConfig] = Table()
"""Checks that every command runs, and every worker."""

NAME_LENGTH = 45
"""Longest run name: SageMaker's job names have 63 characters, of which digest and attempt take the rest."""
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")

# key: lowest and highest allowed value, and what it counts. Upper bounds that SageMaker's own service
# model has (retries, warm pools) are left to it.
LONGEST_RUN = 28 * 86400
"""Seconds after which SageMaker stops any job."""
_RANGES: dict[str, tuple[float, float, str]] = {
    "seed": (0, 2**32 - 1, "a whole number from 0 to 4294967295"),
    "per_device_bs": (1, 65536, "examples per process, from 1"),
    "epochs": (0.001, 10000, "passes over the data, from 0.001, such as 0.5 or 3"),
    "data.split_seed": (0, 2**32 - 1, "a whole number from 0 to 4294967295"),
    "data.max_length": (8, 8192, "tokens, from 8 to 8192"),
    "data.validation_share": (0, 0.9, "a share from 0 to 0.9"),
    "data.test_share": (0, 0.9, "a share from 0 to 0.9"),
    "data.max_rejected": (0, 1, "a share from 0 to 1"),
    "data.language_alpha": (0, 1, "a power from 0 (all alike) to 1 (as they are)"),
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
    "cluster.max_run": (60, LONGEST_RUN, "seconds, from 60 to 2419200 (28 days)"),
    "cluster.max_pending": (1800, 28 * 86400, "seconds, from 1800 (SageMaker's least) to 28 days"),
    "cluster.max_wait": (60, LONGEST_RUN, "seconds, from 60 to 2419200 (28 days)"),
    "cluster.keep_alive": (1, 10**9, "seconds, from 1"),
    "cluster.retries": (1, 10**9, "attempts, from 1"),
    "cluster.volume_gb": (1, 16384, "GB, from 1 to 16384"),
    "scaling.base_batch": (1, 10_000_000, "examples, from 1"),
    "scaling.global_batch": (1, 10_000_000, "examples, from 1"),
    "scaling.accumulation": (1, 10_000, "backward passes, from 1"),
    "batching.pad_to_multiple_of": (1, 512, "tokens, from 1 to 512"),
    "batching.window": (1, 10**9, "global batches, from 1"),
    "data.max_rows": (1, 10**9, "rows, from 1"),
    "training.max_steps": (1, 10**9, "updates, from 1"),
    "training.warmup_ratio": (0, 0.99, "a share from 0 to 0.99"),
    "training.warmup_steps": (0, 10**9, "updates, from 0"),
    "training.weight_decay": (0, 10, "from 0 to 10"),
    "training.label_smoothing": (0, 0.9, "a share from 0 to 0.9"),
    "training.layer_decay": (0.1, 1, "a share from 0.1 to 1"),
    "training.lora.rank": (1, 4096, "a whole number from 1, such as 8"),
    "training.lora.alpha": (1, 10**6, "a whole number from 1, such as twice the rank"),
    "training.lora.dropout": (0, 0.9, "a share from 0 to 0.9"),
    "training.eval_steps": (1, 10**9, "updates, from 1"),
    "training.freeze_layers": (0, 1000, "layers, from 0"),
    "training.schedule_cycles": (1, 1000, "cosines, from 1"),
    "training.max_hours": (0.0001, 24 * 365, "hours, from 0.0001 to 8760 (a year)"),
    "model.head_dropout": (0, 0.9, "a share from 0 to 0.9"),
    "training.patience": (1, 10**6, "evaluations, from 1"),
    "training.min_delta": (0, 10**6, "from 0"),
    "training.save_steps": (1, 10**9, "updates, from 1"),
    "training.keep_checkpoints": (2, 1000, "checkpoints, from 2: one may be damaged"),
    "training.max_skipped": (0, 10**6, "updates, from 0"),
    "training.stop_timeout": (1, 86400, "seconds, from 1 to 86400 (a day)"),
    "training.peer_timeout": (10, 86400, "seconds, from 10 to 86400 (a day)"),
    "training.hang_timeout": (10, 86400, "seconds, from 10 to 86400 (a day)"),
    "training.logging_steps": (1, 10**9, "updates, from 1"),
    "evaluation.per_device_bs": (1, 65536, "examples per process, from 1"),
    "hub.timeout": (10, 86400, "seconds, from 10 to 86400 (a day)"),
    "evaluation.resamples": (0, 100_000, "samples, from 0 to 100000"),
}
_POSITIVE = {
    "lr": (1.0, "above 0, at most 1"),
    "training.max_grad_norm": (1e6, "above 0"),
    "training.schedule_power": (100, "above 0, at most 100"),
}


def value_at(node: Any, key: str) -> Any:
    """Look up the value of a dotted key."""
    for part in key.split("."):
        node = getattr(node, part)
    return node


# --- name, numbers, secrets ---------------------------------------------------------------------


@JOB.check("name-characters", "SageMaker's job names hold letters, digits and inner hyphens")
def _name_characters(job: JobConfig) -> Iterator[Found]:
    if not _NAME.fullmatch(job.name):
        fix = re.sub(r"[^a-zA-Z0-9]+", "-", job.name).strip("-") or "my-run"
        what = "only letters, digits and inner hyphens are allowed"
        yield f"name={job.name}", what, f"name={fix[:NAME_LENGTH].strip('-')}"


@JOB.check("name-length", "a job name has 63 characters; digest and attempt need 18 of them")
def _name_length(job: JobConfig) -> Iterator[Found]:
    if len(job.name) > NAME_LENGTH:
        what = f"has {len(job.name)} characters; at most {NAME_LENGTH} fit into a job name"
        yield f"name={job.name}", what, f"name={job.name[:NAME_LENGTH].strip('-')}"


@JOB.check("out-of-range", "no run is possible with this value")
def _ranges(job: JobConfig) -> Iterator[Found]:
    for key, (low, high, meaning) in _RANGES.items():
        value = value_at(job, key)
        if value is not None and not low <= value <= high:  # NaN fails too
            yield f"{key}={value:g}", "is out of range", _in_range(job, key, meaning)
    for key, (high, meaning) in _POSITIVE.items():
        value = value_at(job, key)
        if not 0 < value <= high:
            yield f"{key}={value:g}", "is out of range", _in_range(job, key, meaning)


def _in_range(job: JobConfig, key: str, meaning: str) -> str:
    by_model = {item.name for item in fields(JobConfig) if item.metadata == BY_MODEL}
    usual = getattr(kind_for(job), key) if key in by_model else default_of(key)
    return f"{override_text(key, usual)}; possible: {meaning}"


@JOB.check(
    "lr-for-model",
    "above, a model forgets what it knew; below, it learns next to nothing",
    Severity.warning,
)
def _lr_range(job: JobConfig) -> Iterator[Found]:
    kind, (highest, _) = kind_for(job), _POSITIVE["lr"]
    told_elsewhere = job.lr > (highest if job.code.builder else kind.limit)
    if job.lr > 0 and not told_elsewhere and not kind.low <= job.lr <= kind.high:
        what = f"{kind.said} learns at {kind.low:g} to {kind.high:g}"
        yield f"lr={job.lr:g}", what, f"lr={kind.lr:g}"


@JOB.check("lr-destroys", "the first updates would destroy the model")
def _lr_limit(job: JobConfig) -> Iterator[Found]:
    kind, (highest, _) = kind_for(job), _POSITIVE["lr"]
    if kind.limit < job.lr <= highest and not job.code.builder:  # which may train a head alone
        what = (
            f"{kind.said} learns at {kind.low:g} to {kind.high:g}, and never above {kind.limit:g}"
        )
        yield f"lr={job.lr:g}", what, f"lr={kind.lr:g}"


@JOB.check("secret-in-config", "job files in S3 and in run folders can be read by others")
def _secrets(job: JobConfig) -> Iterator[Found]:
    """Search every text, a LaunchConfig's too, as requests, tags and paths are as public as the job."""
    travels, known = {item.name for item in fields(JobConfig)}, known_secrets()
    for key, text in texts(job):
        # Some values are secrets only by their names; a name that is itself one was reported before.
        if looks_secret(f"{key}={text}", known) and not looks_secret(key, known):
            public = (
                "; a job file must not hold one" if re.split(r"[.\[]", key)[0] in travels else ""
            )
            if is_web(text):
                what = f"holds a password, a key or a signature{public}: {shown_address(text)}"
                yield key, what, secret_free(key, text)
                continue
            is_held = known.are_in(text)
            what = (
                "repeats a secret of this environment" if is_held else "looks like an access token"
            )
            yield key, f"{what}{public}", NO_TOKEN
    for name, text in job.cluster.environment.items():
        # The worker would take it for a secret of its own.
        if secrets_of({name: text}) and not looks_secret(f"{name}={text}", known):
            what = "is called like a secret; a job file must not hold one"
            yield f"cluster.environment.{name}", what, f"{NO_TOKEN}; or another name"


def texts(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the value of every text below a section, names in mappings too."""
    if isinstance(node, str):
        yield prefix, node
    elif isinstance(node, list):
        for item in node:
            yield from texts(item, prefix)
    elif isinstance(node, dict):
        for name, item in node.items():
            yield from texts(str(name), prefix)
            yield from texts(item, f"{prefix}.{name}" if prefix else str(name))
    elif hasattr(node, "__dataclass_fields__"):
        for name in node.__dataclass_fields__:
            yield from texts(getattr(node, name), f"{prefix}.{name}" if prefix else name)


# --- model --------------------------------------------------------------------------------------


@JOB.check("revision-without-model", "a revision names the version of a model on the hub")
def _revision(job: JobConfig) -> Iterator[Found]:
    if job.model.name_or_path is None and job.model.revision is not None:
        what = "has no effect: the model is made from scratch"
        fix = "model=pretrained model.name_or_path=..., or model.revision=null"
        yield f"model.revision={job.model.revision}", what, fix


@JOB.check("remote-code", "what runs must be what somebody has read: one commit of one repository")
def _remote_code(job: JobConfig) -> Iterator[Found]:
    model, code = job.model, job.model.remote_code
    if code is None:
        return
    where = f"model.remote_code={code}"
    if not is_commit(code):
        what = "is no commit; branches and tags move"
        yield where, what, "the 40 hexadecimal digits of a commit, or model.remote_code=null"
    place = model.name_or_path
    if place is None or place.startswith("s3://") or Path(place).is_dir():
        what = "has no effect: only models of the hub have code at a commit"
        yield where, what, "model.remote_code=null"


@JOB.check("model-needs-code", "code of a repository would run on the machine that trains")
def _needs_code(job: JobConfig) -> Iterator[Found]:
    model = job.model
    if model.remote_code is None and (what := own_classes(config_of(model))):
        yield f"model.name_or_path={model.name_or_path}", what, KNOWN_CLASSES


@JOB.check("heads-do-not-divide", "each attention head takes an equal part of the hidden size")
def _heads(job: JobConfig) -> Iterator[Found]:
    scratch = job.model.scratch
    if job.model.name_or_path is None and scratch.heads > 0 and scratch.dim % scratch.heads:
        near = max(1, round(scratch.dim / scratch.heads)) * scratch.heads
        what = f"model.scratch.dim={scratch.dim} does not split over that many heads"
        yield f"model.scratch.heads={scratch.heads}", what, f"model.scratch.dim={near}"


@JOB.check("scratch-of-pretrained", "a pretrained model brings its own sizes")
def _scratch(job: JobConfig) -> Iterator[Found]:
    if job.model.name_or_path is not None and job.model.scratch != ArchitectureConfig():
        what = f"has no effect: {job.model.name_or_path} brings its own architecture"
        yield "model.scratch", what, "model=tiny model.name_or_path=null"


@JOB.check("pooling-unknown", "the classifier of an architecture reads what it was built to read")
def _pooling(job: JobConfig) -> Iterator[Found]:
    wanted, architecture = job.model.pooling, architecture_of(job.model)
    if wanted is None or architecture is None or own_classes(config_of(job.model)):
        return
    known = poolings(architecture)
    if known is None or wanted.value not in known:
        yield no_pooling(wanted, architecture, known)


@JOB.check("text-longer-than-model", "transformers fails at the first text that is longer")
def _positions(job: JobConfig) -> Iterator[Found]:
    config, longest = config_of(job.model), job.data.max_length
    usable = usable_positions(config)
    if usable is not None and longest > usable:
        what = f"{job.model.name_or_path} has positions for {usable} tokens"
        yield f"data.max_length={longest}", what, f"data.max_length={usable}"


# --- scaling ------------------------------------------------------------------------------------


@JOB.check("base-batch-missing", "linear and sqrt scale lr by global batch / base batch")
def _base_batch_missing(job: JobConfig) -> Iterator[Found]:
    scaling = job.scaling
    if scaling.rule in (ScalingRule.linear, ScalingRule.sqrt) and scaling.base_batch is None:
        what = f"scaling={scaling.rule.value} needs the global batch that lr was chosen for"
        yield "scaling.base_batch", what, "scaling.base_batch=16"


@JOB.check("base-batch-unused", "only linear and sqrt scale the learning rate")
def _base_batch_unused(job: JobConfig) -> Iterator[Found]:
    rule, base = job.scaling.rule, job.scaling.base_batch
    if rule not in (ScalingRule.linear, ScalingRule.sqrt) and base is not None:
        what = f"has no effect with scaling={rule.value}"
        yield f"scaling.base_batch={base}", what, "scaling=linear, or scaling=sqrt"


@JOB.check("global-batch-missing", "fixed_global derives the accumulation from the global batch")
def _global_batch_missing(job: JobConfig) -> Iterator[Found]:
    if job.scaling.rule is ScalingRule.fixed_global and job.scaling.global_batch is None:
        what = "scaling=fixed_global needs the global batch"
        yield "scaling.global_batch", what, "scaling.global_batch=128"


@JOB.check("global-batch-unused", "with other rules the global batch follows from the cluster")
def _global_batch_unused(job: JobConfig) -> Iterator[Found]:
    rule, batch = job.scaling.rule, job.scaling.global_batch
    if rule is not ScalingRule.fixed_global and batch is not None:
        what = f"has no effect with scaling={rule.value}"
        yield f"scaling.global_batch={batch}", what, "scaling=fixed_global"


@JOB.check("accumulation-derived", "fixed_global derives the accumulation from the global batch")
def _accumulation(job: JobConfig) -> Iterator[Found]:
    accumulation = job.scaling.accumulation
    if job.scaling.rule is ScalingRule.fixed_global and accumulation is not None:
        where = f"scaling.accumulation={accumulation}"
        yield where, "is derived with scaling=fixed_global", "scaling.accumulation=null"


# --- training -----------------------------------------------------------------------------------


@JOB.check("eval-steps-missing", "the steps between two evaluations have no default")
def _eval_steps_missing(job: JobConfig) -> Iterator[Found]:
    if job.training.eval_strategy is EvalStrategy.steps and job.training.eval_steps is None:
        what = "training.eval_strategy=steps needs the updates between two evaluations"
        yield "training.eval_steps", what, "training.eval_steps=500"


@JOB.check("fit-memory-refused", "what is tried has to be what trains")
def _fit_memory(job: JobConfig) -> Iterator[Found]:
    if job.training.fit_memory and (found := fit_memory_refused(job)):
        setting, what = found
        fix = f"training.fit_memory=false, or {setting}=false"
        yield "training.fit_memory=true", f"does not go with {setting}=true: {what}", fix


def fit_memory_refused(job: JobConfig) -> tuple[str, str] | None:
    """Return the setting beside which training.fit_memory finds nothing, and why; None if there is none."""
    if job.training.shard:
        what = "a process without memory would leave the others waiting for its layers"
        return "training.shard", what
    if job.training.compile:
        return "training.compile", "each width has a program of its own, with its memory"
    return None


@JOB.check("eval-steps-unused", "eval_steps belongs to eval_strategy=steps")
def _eval_steps_unused(job: JobConfig) -> Iterator[Found]:
    strategy, steps = job.training.eval_strategy, job.training.eval_steps
    if strategy is not EvalStrategy.steps and steps is not None:
        what = f"has no effect with training.eval_strategy={strategy.value}"
        yield f"training.eval_steps={steps}", what, "training.eval_strategy=steps"


@JOB.check("patience-unused", "a training ends early by the scores of its evaluations")
def _patience(job: JobConfig) -> Iterator[Found]:
    training = job.training
    if training.patience is not None and training.eval_strategy is EvalStrategy.none:
        what = "has no effect with training.eval_strategy=none: nothing is scored before the end"
        yield f"training.patience={training.patience}", what, "training.eval_strategy=epoch"
    if training.patience is None and training.min_delta:
        what = "has no effect without training.patience"
        yield f"training.min_delta={training.min_delta:g}", what, "training.patience=3"


@JOB.check("select-unused", "the best checkpoint is chosen among those that were scored")
def _select(job: JobConfig) -> Iterator[Found]:
    select = job.evaluation.select
    never = job.training.eval_strategy is EvalStrategy.none
    if never and select is not SelectMetric.macro_f1:
        what = "has no effect with training.eval_strategy=none: the last weights are kept"
        yield f"evaluation.select={select.value}", what, "training.eval_strategy=epoch"


@JOB.check("scale-unused", "only ordered classes are nearer to each other or farther apart")
def _scale(job: JobConfig) -> Iterator[Found]:
    mode = job.data.labels_mode
    if mode is LabelsMode.ordinal:
        return
    what = f"needs ordered classes, and data.labels_mode={mode.value}"
    # Texts of several classes, or of shares of them, cannot be read as texts of one.
    ordered = "data.labels_mode=ordinal, or " if mode is LabelsMode.single else ""
    select, decide = job.evaluation.select, job.evaluation.decide
    if select in ON_SCALE:
        yield f"evaluation.select={select.value}", what, f"{ordered}evaluation.select=macro_f1"
    if decide in (Decide.expected, Decide.median):
        yield f"evaluation.decide={decide.value}", what, f"{ordered}evaluation.decide=macro_f1"


@JOB.check("micro-f1-unused", "of one class for each text, micro-F1 is the accuracy")
def _micro_f1(job: JobConfig) -> Iterator[Found]:
    several = job.data.labels_mode is LabelsMode.multi
    if job.evaluation.select is SelectMetric.micro_f1 and not several:
        what = f"is the accuracy with data.labels_mode={job.data.labels_mode.name}"
        yield "evaluation.select=micro_f1", what, "evaluation.select=accuracy"


@JOB.check("label-smoothing-several", "it spreads the one class of a text over the others")
def _smoothing(job: JobConfig) -> Iterator[Found]:
    smoothing = job.training.label_smoothing
    if smoothing and job.data.labels_mode is LabelsMode.multi:
        what = "does not go with data.labels_mode=multi: each class is a question of its own"
        yield f"training.label_smoothing={smoothing:g}", what, "training.label_smoothing=0"


@JOB.check("soft-builder", "a model's own loss takes one class for each text")
def _soft_builder(job: JobConfig) -> Iterator[Found]:
    if job.code.builder is not None and job.data.labels_mode is LabelsMode.soft:
        what = "does not go with data.labels_mode=soft: the loss of its model takes no shares"
        yield f"code.builder={job.code.builder}", what, "code.builder=null"


@JOB.check("warmup-twice", "the warm-up is a number of steps, or a share of them")
def _warmup(job: JobConfig) -> Iterator[Found]:
    steps, ratio = job.training.warmup_steps, job.training.warmup_ratio
    if steps is not None and ratio != TrainingConfig().warmup_ratio:
        what = f"has no effect: training.warmup_steps={steps} decides"
        fix = "training.warmup_steps=null"
        yield f"training.warmup_ratio={ratio:g}", what, fix


@JOB.check("tracker-twice", "each tracker gets a run once")
def _trackers(job: JobConfig) -> Iterator[Found]:
    names = [tracker.value for tracker in job.training.report_to]
    if len(set(names)) < len(names):
        once = ",".join(dict.fromkeys(names))
        typed_names = ",".join(names)
        yield (
            f"training.report_to=[{typed_names}]",
            "names a tracker twice",
            f"training.report_to=[{once}]",
        )


# --- publishing ---------------------------------------------------------------------------------


@JOB.check("hub-setting-unused", "nothing is published with hub=none")
def _hub_unused(job: JobConfig) -> Iterator[Found]:
    if job.hub.visibility is not Visibility.none:
        return
    reads = job.model.name_or_path is not None or job.data.source is Source.hub
    for name in ("repo", "token_secret", "license"):
        value = getattr(job.hub, name)
        if value is not None and not (name == "token_secret" and reads):
            yield f"hub.{name}={typed(value)}", "has no effect with hub=none", "hub=private"
    if job.hub.timeout != (usual := HubConfig().timeout):
        what = "has no effect with hub=none"
        yield f"hub.timeout={job.hub.timeout}", what, f"hub=private, or hub.timeout={usual}"


_REPO = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}")


@JOB.check("hub-repo-form", "the hub's repositories are called name or owner/name")
def _hub_repo(job: JobConfig) -> Iterator[Found]:
    repo = job.hub.repo
    if repo is not None and not _REPO.fullmatch(repo):
        what = "is not a valid repository name: letters, digits, '-', '_' and '.', at most one '/'"
        fix = re.sub(r"[^A-Za-z0-9/_.-]+", "-", repo).strip("-/.") or "my-model"
        yield f"hub.repo={repo}", what, f"hub.repo={'/'.join(fix.split('/')[-2:])}"


@JOB.check("hub-license-form", "the hub names licences in lower case, such as cc-by-4.0")
def _hub_license(job: JobConfig) -> Iterator[Found]:
    licence = job.hub.license
    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        what = "is not a licence identifier of the hub"
        fix = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-.") or "apache-2.0"
        yield f"hub.license={licence}", what, f"hub.license={fix}"
