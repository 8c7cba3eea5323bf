"""What would run: a job with its numbers, its request, its time and money, and all that is wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lingotune.config.jobfile import digest_in, dump_job, job_of
from lingotune.config.problems import USER_ERROR, ConfigError, Problem, errors_only
from lingotune.config.schema import JobConfig, LaunchConfig, Source
from lingotune.contract.container import CONFIG_CHANNEL, DATA_CHANNEL, JOB_FILE
from lingotune.data.prepared.manifest import Manifest, load_manifest
from lingotune.estimate.batch import BatchPlan, StepPlan, plan_batches, plan_steps
from lingotune.estimate.memory import MemoryEstimate, estimate_memory
from lingotune.estimate.run_time import TimeEstimate
from lingotune.launch.checks.prepared_data import PREPARED, ForImage
from lingotune.launch.checks.rehearsal import REHEARSAL
from lingotune.launch.checks.request import CODE, REQUEST
from lingotune.launch.checks.sagemaker import SAGEMAKER
from lingotune.launch.checks.steps import STEPS, Counted
from lingotune.launch.compose.compose import Composed
from lingotune.launch.cost.cost import CostEstimate
from lingotune.launch.cost.quote import Quoter, Total, over_budget, sum_up
from lingotune.launch.plan.data_delivery import Delivery, deliver, from_folder, made_before
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.local_command import render_local
from lingotune.launch.render.request import to_request
from lingotune.launch.render.sdk_v2 import to_huggingface
from lingotune.launch.render.sdk_v3 import to_model_trainer
from lingotune.launch.render.training_job import Digests, TrainingJob, describe
from lingotune.preflight import check_job

if TYPE_CHECKING:
    from lingotune.launch.plan.lengths import BatchingEstimate


@dataclass(frozen=True)
class Plan:
    """One job, ready to be shown or submitted.

    `steps` is None where the number of training rows is not known before the data is read;
    `training_job` is None on this machine, `command` on SageMaker.
    """

    config: LaunchConfig
    job: JobConfig
    job_file: bytes
    overrides: tuple[str, ...]
    digests: Digests
    data: Delivery
    batch: BatchPlan
    steps: StepPlan | None
    batching: BatchingEstimate | None
    memory: MemoryEstimate | None
    time: TimeEstimate | None
    cost: CostEstimate | None
    money: tuple[str, ...]
    problems: tuple[Problem, ...]
    training_job: TrainingJob | None
    command: tuple[str, ...] | None

    @property
    def rows(self) -> dict[str, int] | None:
        """Rows of each split; None where they are not known before the data is read."""
        return self.data.rows

    @property
    def name(self) -> str:
        """Name of the SageMaker job; on this machine the run's."""
        return self.training_job.name if self.training_job else self.job.name

    @cached_property
    def request(self) -> dict[str, Any] | None:
        """The CreateTrainingJob request."""
        return to_request(self.training_job) if self.training_job else None

    @cached_property
    def huggingface(self) -> dict[str, Any] | None:
        """What the SDK v2 takes."""
        return to_huggingface(self.training_job) if self.training_job else None

    @cached_property
    def model_trainer(self) -> dict[str, Any] | None:
        """What the SDK v3 takes."""
        return to_model_trainer(self.training_job) if self.training_job else None


@dataclass(frozen=True)
class Sweep:
    """All jobs of a command, one or many, and what is wrong with any of them or with their sum."""

    plans: tuple[Plan, ...]
    problems: tuple[Problem, ...]
    total: Total

    @cached_property
    def differing(self) -> set[str]:
        """Overrides that not all jobs have."""
        counts = Counter(override for plan in self.plans for override in plan.overrides)
        return {override for override, count in counts.items() if count < len(self.plans)}

    @property
    def exit_code(self) -> int:
        """2 where something has to be mended first."""
        return USER_ERROR if errors_only(self.problems) else 0


# --- before anything is read --------------------------------------------------------------------


# --- the plans ----------------------------------------------------------------------------------


class Planner:
    """Makes the plans of a command's jobs, reading what they share once.

    The user's data files are read (to count and check the rows), and the price and throughput files.
    """

    def __init__(self, bundle: Bundle, quoter: Quoter) -> None:
        self._bundle = bundle
        self._quoter = quoter
        self._data: dict[str, Delivery] = {}
        self._batchings: dict[str, BatchingEstimate | None] = {}
        self._code_problems = CODE.run(bundle)

    def sweep(self, composed: Sequence[Composed]) -> Sweep:
        """Plans of all jobs; ConfigError lists what is wrong with their data."""
        plans = tuple(self._plan(one) for one in composed)
        costs = [plan.cost for plan in plans if plan.cost]
        problems = [problem for plan in plans for problem in plan.problems]
        problems += [*over_budget(composed[0].config.budget, costs), *_same_twice(plans)]
        return Sweep(plans, tuple(dict.fromkeys(problems)), sum_up(costs))

    def _plan(self, one: Composed) -> Plan:
        config, job = one.config, job_of(one.config)
        job_file = dump_job(job)
        batch = plan_batches(job)
        data = self._deliver(config)
        steps = plan_steps(job, batch, data.rows["train"]) if data.rows else None
        digests = Digests(digest_in(job_file), self._bundle.digest, data.digest)
        problems = [*check_job(job), *data.problems]
        if steps:
            problems += STEPS.run(Counted(job, batch, steps))
        quote = self._quoter.quote(config, batch, data.rows)
        training_job = None
        if job.cluster.instance_type is not None:
            training_job = describe(job, config.aws, digests, config.attempt, data.uri)
            problems += [
                *REHEARSAL.run(config),
                *SAGEMAKER.run(config),
                *REQUEST.run(to_request(training_job)),
            ]
            if data.manifest is not None:
                problems += PREPARED.run(ForImage(data.manifest, job.cluster))
            problems += [*self._code_problems, *quote.problems]
        local = render_local(job, config.job_file or JOB_FILE)
        return Plan(
            config,
            job,
            job_file,
            one.overrides,
            digests,
            data,
            batch,
            steps,
            self._batching(config, batch, data),
            estimate_memory(job),
            quote.time,
            quote.cost,
            quote.lines,
            tuple(dict.fromkeys(problems)),
            training_job,
            command=None if training_job else tuple(local),
        )

    def _batching(
        self, config: LaunchConfig, batch: BatchPlan, data: Delivery
    ) -> BatchingEstimate | None:
        """Padding and waiting; found out once for the same data and the same batches."""
        job = config
        key = json.dumps(
            [
                asdict(job.batching),
                asdict(replace(batch, learning_rate=0, arithmetic=())),
                asdict(config.data),
                job.cluster.gpus_per_node,
                data.digest,
            ],
            default=str,
        )
        if key not in self._batchings:
            manifest = data.manifest or made_before(config)
            self._batchings[key] = _batching(job_of(config), batch, manifest)
        return self._batchings[key]

    def _deliver(self, config: LaunchConfig) -> Delivery:
        """What is known of the data; found out once for the same data."""
        job = job_of(config)
        key = json.dumps(
            [asdict(config.data), config.seed, asdict(job.model), config.prepared_dir], default=str
        )
        if key not in self._data:
            self._data[key] = deliver(config)
        return self._data[key]


def _batching(
    job: JobConfig, batch: BatchPlan, manifest: Manifest | None
) -> BatchingEstimate | None:
    if manifest is None and job.data.source is not Source.hub:
        return None
    from lingotune.launch.plan.lengths import estimate_batching  # numpy is for those who need it

    return estimate_batching(job, batch, manifest)


def _same_twice(plans: Sequence[Plan]) -> list[Problem]:
    """Jobs of a sweep that are one and the same: SageMaker would refuse the second by its name."""
    counts = Counter(plan.name for plan in plans if plan.training_job)
    return [
        Problem(
            name,
            f"is {count} jobs of this sweep: the same settings, code and data",
            "each value once",
            check="same-job-twice",
            why="a job's name follows from what it is, and a name can be taken once",
        )
        for name, count in counts.items()
        if count > 1
    ]


def objects(plan: Plan, job: TrainingJob, bundle: Bundle) -> dict[str, bytes | Path]:
    """What a job finds in S3: full URI -> content. Code and job file first, data behind them."""
    channels = dict(job.channels)
    found: dict[str, bytes | Path] = {
        job.code_uri: bundle.content,
        channels[CONFIG_CHANNEL] + JOB_FILE: plan.job_file,
    }
    if plan.data.folder is not None and DATA_CHANNEL in channels:
        root = plan.data.folder
        found |= {f"{channels[DATA_CHANNEL]}{p.as_posix()}": root / p for p in plan.data.files()}
    return found


def with_data(plans: Sequence[Plan], tell: Callable[[str], None]) -> list[Plan]:
    """The plans once their data lies prepared here; what several of them share is prepared once.

    ConfigError if a source is not sound, or not the one any more that was planned with.
    """
    made: dict[str, Delivery] = {}
    for plan in plans:
        digest = plan.digests.data
        if not plan.data.is_made and digest is not None and digest not in made:
            made[digest] = _prepared(plan, tell)
    return [
        plan if plan.data.is_made else replace(plan, data=made[plan.digests.data or ""])
        for plan in plans
    ]


def _prepared(plan: Plan, tell: Callable[[str], None]) -> Delivery:
    from lingotune.data.prepared.prepare import prepare  # transformers from here on

    job = plan.job
    folder, _ = prepare(job.data, job.model, job.seed, Path(plan.config.prepared_dir), tell)
    made = from_folder(folder, load_manifest(folder))
    if made.digest != plan.digests.data:
        what = "the files were changed after they had been planned with"
        raise ConfigError([Problem("data", what, "the same command once more")])
    return made


def write_job_file(plan: Plan, path: str) -> None:
    """Write the job file; ConfigError if the path cannot be written."""
    try:
        Path(path).write_bytes(plan.job_file)
    except OSError as error:
        raise ConfigError([Problem(f"job_file={path}", f"cannot be written: {error}")]) from error
