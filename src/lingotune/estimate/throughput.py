"""Measurements of finished runs: throughput.jsonl, to which every run appends a line of JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from lingotune.config.problems import Problem, Severity
from lingotune.config.schema import JobConfig, ModelConfig, Precision, TrainingConfig
from lingotune.config.typed_json import from_json, to_json
from lingotune.estimate.batch import BatchPlan, StepPlan, processes_per_node, trains_used_rows

FILE = "throughput.jsonl"
"""Name of the file, in the folder of the run folders and in a container's output."""
LOG_WORD = "throughput"
"""Word before the record in a container's log, by which it is found."""
SCHEMA = 1
"""Version of the format; incremented when a field changes its meaning."""


@dataclass(frozen=True)
class Setup:
    """Everything besides the data that decides the speed of a run.

    model: hub id or folder, or `scratch` and its sizes. instance_type: SageMaker's; None = a machine of
    one's own, named by `machine`: the GPU, or the CPU and its cores. batching: mode, and window and
    rounding if they were set. embeddings: rows that are trained: all, those that are used, or none
    (frozen), and LoRA's rank if its adapters are trained alone. last_layer: computed for all tokens, or for
    the first only if the model allows it. compiled: by torch.compile. distribution: launcher of the
    processes, and whether the model is sharded. processes_per_node: GPUs used on a node, or CPU processes
    if `gpus_per_node` is 0.
    """

    model: str
    instance_type: str | None
    machine: str | None
    nodes: int
    gpus_per_node: int
    processes_per_node: int
    threads: int | None
    distribution: str
    per_device_bs: int
    accumulation: int
    precision: str
    max_length: int
    batching: str = "random"
    embeddings: str = "all"
    last_layer: str = "all tokens"
    compiled: bool = False


@dataclass(frozen=True)
class Throughput:
    """Measurements of a finished run; None = unknown. ValueError for impossible figures.

    date: end of the run, UTC, ISO. rows: by split. Samples are counted over all processes.

    tokens_mean, tokens_square, tokens_p95: mean, mean square and 95th percentile of the training texts'
    lengths in tokens, after truncation. padding: share of the training tokens that was padding.

    train_seconds: without evaluating and saving. eval_seconds: all evaluating, including the final
    scores. other_seconds: the rest of the worker's run. job_seconds: the whole SageMaker job, including
    start-up and upload. spot_billable_share: share of job_seconds that was billed.

    trained_parameters: without unused embeddings. utilisation: share of the GPUs' peak FLOPs that went
    into real tokens. phases: seconds of the first process in data, forward_backward, optimizer,
    evaluation, saving, and communication, the part of forward_backward that only waited for gradients.
    checkpoints: saved in the seconds of `saving`.
    """

    schema: int
    date: str
    lingotune: str
    job_sha256: str
    setup: Setup
    world_size: int
    parameters: int
    data: str
    languages: tuple[str, ...]
    rows: dict[str, int]
    tokens_mean: float
    tokens_p95: float
    padding: float | None
    train_samples: int
    eval_samples: int
    train_seconds: float
    eval_seconds: float
    other_seconds: float
    samples_per_second: float
    eval_samples_per_second: float | None
    job_seconds: float | None = None
    spot_billable_share: float | None = None
    trained_parameters: int | None = None
    tokens_square: float | None = None
    tokens_per_second: float | None = None
    padded_tokens_per_second: float | None = None
    utilisation: float | None = None
    checkpoints: int | None = None
    phases: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema}, this version reads {SCHEMA}")
        for name, value in (*vars(self).items(), *self.phases.items()):
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value!r}")
        if min(self.samples_per_second, self.train_seconds, self.train_samples) <= 0:
            raise ValueError("a run without training")
        if (self.eval_samples_per_second or 1) <= 0 or min(
            self.eval_seconds, self.job_seconds or 0
        ) < 0:
            raise ValueError("negative figures")
        if not 0 <= (self.spot_billable_share or 0) <= 1:
            raise ValueError(f"spot_billable_share {self.spot_billable_share} is no share")

    @property
    def overhead_seconds(self) -> float:
        """Seconds neither training nor evaluating, of the whole job if they are known."""
        if self.job_seconds is None:
            return self.other_seconds
        return max(0.0, self.job_seconds - self.train_seconds - self.eval_seconds)


def setup_of(
    job: JobConfig, batch: BatchPlan, precision: Precision, machine: str | None = None
) -> Setup:
    """Derive a job's set-up. precision: the resolved one. machine: ignored for a job on SageMaker."""
    cluster = job.cluster
    on_sagemaker = cluster.instance_type is not None
    return Setup(
        model=model_id(job.model),
        instance_type=cluster.instance_type,
        machine=None if on_sagemaker else machine,
        nodes=cluster.nodes,
        gpus_per_node=cluster.gpus_per_node,
        processes_per_node=processes_per_node(cluster),
        threads=cluster.threads,
        distribution=(cluster.distribution.value if on_sagemaker else "local")
        + (" sharded" if job.training.shard else ""),
        per_device_bs=batch.per_device_batch,
        accumulation=batch.accumulation,
        precision=precision.value,
        max_length=job.data.max_length,
        batching=job.batching.mode.value
        + (f" {job.batching.window}" if job.batching.window else "")
        + (f" to {multiple}s" if (multiple := job.batching.pad_to_multiple_of) else "")
        + (" without padding" if job.batching.padding_free else ""),
        embeddings=_embeddings(job.training),
        last_layer="all tokens" if job.training.first_token_only is False else "first token",
        compiled=job.training.compile,
    )


def _embeddings(training: TrainingConfig) -> str:
    lora = training.lora
    if lora.rank is not None:
        return " ".join([f"frozen, LoRA of rank {lora.rank}", *sorted(lora.targets)])
    if training.freeze_embeddings:
        return "frozen"
    return "used" if trains_used_rows(training) else "all"


def model_id(model: ModelConfig) -> str:
    """Name a model by what its speed depends on: hub id or folder, or the sizes of one from scratch."""
    if model.name_or_path is not None:
        return model.name_or_path
    sizes = dataclasses.asdict(model.scratch)
    return " ".join(["scratch", *(f"{name}={value:g}" for name, value in sizes.items())])


def samples_trained(steps: StepPlan, global_batch: int, done: int | None = None) -> int:
    """Count the training samples in the first `done` updates (None = all); an epoch may end with fewer."""
    epochs, rest = divmod(steps.total_steps if done is None else done, steps.steps_per_epoch)
    return epochs * steps.train_rows + rest * global_batch


def format_record(record: Throughput) -> str:
    """Format a record as one line of JSON, ASCII only."""
    return json.dumps(to_json(record))


def parse_record(line: str) -> Throughput:
    """Parse a line; ValueError says what is wrong with it."""
    return from_json(Throughput, json.loads(line))


def append_record(path: Path, record: Throughput) -> None:
    """Append a record to the file in one write, so that lines of parallel runs do not mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = f"{format_record(record)}\n".encode()
    with path.open("ab+", buffering=0) as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = (
                line if file.read(1) == b"\n" else b"\n" + line
            )  # do not append to an incomplete line
        file.write(line)


def read_records(path: Path) -> tuple[list[Throughput], list[Problem]]:
    """Read a file's records, in order, and warnings about invalid lines; no records if there is no file."""
    records, problems = [], []
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [_warning(str(path), f"cannot be read: {error.strerror}")]
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                records.append(parse_record(line.decode()))
            except (ValueError, RecursionError, OverflowError) as error:
                problems.append(_warning(f"{path}:{number}", f"is no record of a run: {error}"))
    return records, problems


def _warning(where: str, what: str) -> Problem:
    fix = "delete the line; the other records are used"
    return Problem(where, what, fix, Severity.warning, check="throughput-record")
