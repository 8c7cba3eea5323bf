"""The plan of a job: its numbers, its request, its time and cost, and its problems."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.config.jobfile import digest_in, job_of
from lingotune.config.machines import on_machine
from lingotune.config.problems import (
    ConfigError,
    Problem,
    Severity,
    errors_only,
    exit_code_for,
)
from lingotune.config.program import in_checkout, program
from lingotune.config.schema import (
    Action,
    AwsConfig,
    JobConfig,
    LaunchConfig,
    Search,
    Source,
    split_seed,
)
from lingotune.contract.container import CONFIG_CHANNEL, DATA_CHANNEL, JOB_FILE, MODEL_CHANNEL
from lingotune.data.prepared.manifest import Manifest, load_manifest
from lingotune.estimate.batch import BatchPlan, StepPlan, plan_batches, plan_steps
from lingotune.estimate.memory import MemoryEstimate, estimate_memory
from lingotune.estimate.run_time import TimeEstimate
from lingotune.estimate.save_interval import SaveInterval, check_interval, save_interval
from lingotune.estimate.step_time import update_on_paper
from lingotune.launch.checks.launch import check_planned
from lingotune.launch.checks.places import PLACES
from lingotune.launch.checks.prepared_data import PREPARED, DataForImage
from lingotune.launch.checks.request import CODE, REQUEST
from lingotune.launch.checks.steps import STEPS, JobWithSteps
from lingotune.launch.compose.compose import Composed, Space
from lingotune.launch.cost.cost import CostEstimate, of_the_dearest
from lingotune.launch.cost.quote import CostEstimator, Quote, Total, over_budget, sum_up
from lingotune.launch.overrides.overrides import TypedOverride
from lingotune.launch.plan.base_model import BaseModel, deliver_model
from lingotune.launch.plan.data_delivery import Delivery, deliver, from_folder, made_before
from lingotune.launch.plan.sweep_names import SweepName, name_of
from lingotune.launch.render import sdk_v3
from lingotune.launch.render.bundle import PROGRAM, Bundle
from lingotune.launch.render.local_command import MODULE, render_local
from lingotune.launch.render.request import to_request
from lingotune.launch.render.sdk_v2 import has_arguments_for, to_huggingface
from lingotune.launch.render.sdk_v3 import to_model_trainer
from lingotune.launch.render.shared_fields import Arguments, Request
from lingotune.launch.render.sweep_tags import sweep_tags
from lingotune.launch.render.training_job import Digests, TrainingJob, describe

if TYPE_CHECKING:
    from lingotune.launch.plan.lengths import BatchingEstimate


@dataclass(frozen=True)
class MachinePlan:
    """A job on one of the machines that it may get (`cluster.fallback`)."""

    job: JobConfig
    batch: BatchPlan
    memory: MemoryEstimate | None
    time: TimeEstimate | None
    cost: CostEstimate | None


@dataclass(frozen=True)
class Plan:
    """One job, ready to be shown or submitted.

    steps: None if the number of training rows is unknown before the data is read. training_job: None on
    this machine. command: None on SageMaker.
    """

    config: LaunchConfig
    job: JobConfig
    job_file: bytes
    overrides: tuple[TypedOverride, ...]
    digests: Digests
    data: Delivery
    model: BaseModel | None
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
    options: tuple[str, ...] = ()
    """Options to type besides the overrides, e.g. --config-dir."""
    config_dir: Path | None = None
    """The user's own folder of group files."""
    words: tuple[str, ...] = ()
    """All that was typed, for all jobs of the command."""
    number: int | None = None
    """Number of the job in its sweep, from 1; None for a job of its own, and for a corner of a search."""
    varies: Mapping[str, str] = field(default_factory=dict)
    """Swept keys and the job's values as texts."""

    saves: SaveInterval | None = None
    """Checkpoints of a spot job; None for others, and if the time of an update is unknown."""
    machines: tuple[MachinePlan, ...] = ()
    """The machines that the job may get, in their order; empty where it gets what it asks for."""

    @property
    def typed(self) -> str:
        """Command that makes this plan, with the overrides of this job alone."""
        words = [*self.options, *(override.text for override in self.overrides)]
        return shlex.join([*shlex.split(program("launch")), *words])

    @property
    def rows(self) -> dict[str, int] | None:
        """Rows by split; None if they are unknown before the data is read."""
        return self.data.rows

    @property
    def name(self) -> str:
        """Name of the SageMaker job; on this machine, of the run."""
        return self.training_job.name if self.training_job else self.job.name

    @property
    def estimator(self) -> Arguments | None:
        """Arguments of the SageMaker SDK v2, as `huggingface`; None on this machine."""
        return self.huggingface

    @property
    def findings(self) -> tuple[Problem, ...]:
        """Problems of the job, errors and warnings; the same as `problems`."""
        return self.problems

    @cached_property
    def request(self) -> Request | None:
        """The CreateTrainingJob request."""
        return to_request(self.training_job) if self.training_job else None

    @cached_property
    def huggingface(self) -> Arguments | None:
        """Arguments of the SDK v2's estimator and of its `fit`; None for a job that it cannot ask for."""
        job = self.training_job
        return to_huggingface(job) if job and has_arguments_for(job) else None

    @cached_property
    def model_trainer(self) -> Arguments | None:
        """Arguments of the SDK v3's ModelTrainer; None for a job that it cannot ask for."""
        job = self.training_job
        return to_model_trainer(job) if job and sdk_v3.has_arguments_for(job) else None


@dataclass(frozen=True)
class SweepFacts:
    """Facts about a sweep: the number of its jobs, lines about them and about their money, and both as
    plain values.

    first_rung: evaluations before the first early end; None if nothing is ended early.
    """

    jobs: int
    lines: tuple[str, ...]
    money: tuple[str, ...]
    values: Mapping[str, object]
    first_rung: int | None = None


@dataclass(frozen=True)
class Sweep:
    """All jobs of a command, one or many, and the problems of each and of all together.

    Those of a search are the corners of its space. name: None for a job of its own. facts: what is to be
    said of the sweep as a whole, for the page and for programs.
    """

    plans: tuple[Plan, ...]
    problems: tuple[Problem, ...]
    total: Total
    name: SweepName | None = None
    space: Space | None = None
    facts: SweepFacts | None = None

    @property
    def exit_code(self) -> int:
        """Exit code of the plan: that of what has to be fixed first."""
        return exit_code_for(self.problems)


@dataclass(frozen=True)
class Member:
    """What a job has from its sweep: its number there, and data and code that were pinned before.

    number: None if the sweep does not know it yet. pinned: the data is; data_digest, data_uri: of prepared
    data in S3, None if there is none. code: digest of its code; None = that of the planner.
    """

    number: int | None = None
    pinned: bool = False
    data_digest: str | None = None
    data_uri: str | None = None
    code: str | None = None


class Planner:
    """Planner of a command's jobs, which reads what they share only once.

    account: fills in the names of the account (region, role, bucket) before the jobs are described; by
    default they stay as typed, and missing ones are placeholders. copies: folders with the files of models
    in S3, by their URI, where they are needed here. members: what jobs have from their sweep, by the digest
    of their job file. tell: takes lines about what takes long. The user's
    data files are read, to count and check the rows, and so are the price and throughput files.
    """

    def __init__(
        self,
        bundle: Bundle,
        costs: CostEstimator,
        account: Callable[[AwsConfig], AwsConfig] = lambda aws: aws,
        copies: Mapping[str, Path] | None = None,
        tell: Callable[[str], None] = lambda line: None,
        members: Mapping[str, Member] | None = None,
    ) -> None:
        self._tell = tell
        self._members = members or {}
        self._bundle = bundle
        self._costs = costs
        self._account = account
        self._copies = copies or {}
        self._data: dict[str, Delivery] = {}
        self._models: dict[str, tuple[BaseModel | None, list[Problem]]] = {}
        self._batchings: dict[str, BatchingEstimate | None] = {}
        self._code_problems = CODE.run(bundle)

    def sweep(self, composed: Sequence[Composed]) -> Sweep:
        """Plan all jobs; ConfigError lists what is wrong with their data."""
        plans, wrong = [], []
        searched = is_search(composed)
        name = name_of(composed)
        for number, one in enumerate(composed, 1):
            known = self._members.get(one.key, Member()).number or number
            try:
                plans.append(self._plan(one, name, None if searched or not name else known))
            except ConfigError as error:
                wrong += error.problems
        if wrong:
            raise ConfigError(wrong)
        costs = [plan.cost for plan in plans if plan.cost]
        problems = [problem for plan in plans for problem in plan.problems]
        if not searched:
            problems += [*over_budget(composed[0].config.budget, costs), *_same_twice(plans)]
        found = tuple(dict.fromkeys(problems))
        return Sweep(tuple(plans), found, sum_up(costs), name, composed[0].space)

    def trial(self, one: Composed, name: SweepName, number: int) -> Plan:
        """Plan one job of a search; ConfigError lists what keeps it from being started."""
        plan = self._plan(one, name, number)
        if errors_only(plan.problems):
            raise ConfigError(errors_only(plan.problems))
        return plan

    def _plan(self, one: Composed, name: SweepName | None, number: int | None) -> Plan:
        config, job, job_file = one.config, job_of(one.config), one.job_file
        batch = plan_batches(job)
        member = self._members.get(digest_in(job_file), Member())
        data = _pinned(self._deliver(config), member)
        model, wrong = self._model(job) if job.cluster.instance_type else (None, [])
        model_digest = model.digest if model else None
        code = member.code or self._bundle.digest
        digests = Digests(digest_in(job_file), code, data.digest, model_digest)
        quote, machines = self._quotes(config, batch, data.rows)
        steps = plan_steps(job, batch, data.rows["train"]) if data.rows else None
        problems = [*one.findings, *data.problems, *wrong]
        batching, saves = self._batching(config, job, batch, data), None
        if steps:
            problems += STEPS.run(JobWithSteps(job, batch, steps))
            saves = save_interval(job, steps, quote.time, _on_paper(job, batch, batching))
            problems += check_interval(job, saves, steps)
        training_job = None
        if job.cluster.instance_type is not None:
            # This very description is shown, checked, rehearsed and submitted.
            aws = self._account(config.aws)
            model_uri = model.uri if model else None
            tags = sweep_tags(name.name, number, one.varies) if name else ()
            training_job = describe(job, aws, digests, config.attempt, data.uri, model_uri, tags)
            if config.aws.region is None and config.action in (Action.check, Action.submit):
                # it was not known before that the job runs in this machine's region
                problems += PLACES.run(replace(config, aws=aws))
            problems += [*self._findings(config, training_job, data), *quote.problems]
        started = (PROGRAM,) if in_checkout() else MODULE
        local = render_local(job, config.job_file or JOB_FILE, started)
        return Plan(
            config=config,
            job=job,
            job_file=job_file,
            overrides=one.overrides,
            digests=digests,
            data=data,
            model=model,
            batch=batch,
            steps=steps,
            batching=batching,
            memory=estimate_memory(job),
            time=quote.time,
            cost=quote.cost,
            money=quote.lines,
            problems=tuple(problems),
            training_job=training_job,
            command=None if training_job else tuple(local),
            options=one.options,
            words=one.words,
            config_dir=one.config_dir,
            number=number,
            varies=one.varies,
            saves=saves,
            machines=machines,
        )

    def _quotes(
        self, config: LaunchConfig, batch: BatchPlan, rows: Mapping[str, int] | None
    ) -> tuple[Quote, tuple[MachinePlan, ...]]:
        """Quote a job; of one that may get several machines on each, the worst case being the dearest."""
        quote = self._costs.quote(config, batch, rows)
        if not config.cluster.fallback:
            return quote, ()
        machines, lines, problems = [], list(quote.lines), [*quote.problems]
        for row in config.cluster.fallback:
            there = on_machine(config, row)
            shared = plan_batches(there)
            own = self._costs.quote(there, shared, rows)
            lines += [f"on {row.name}: {line}" for line in own.lines if line not in quote.lines]
            problems += [
                replace(p, what=f"on {row.name} (cluster.fallback): {p.what}")
                for p in own.problems
                if p not in quote.problems
            ]
            memory = estimate_memory(there)
            machines.append(MachinePlan(job_of(there), shared, memory, own.time, own.cost))
        types = [row.instance_type or "" for row in config.cluster.fallback]
        cost, dearest = of_the_dearest(dict(zip(types, (one.cost for one in machines))))
        whole = replace(quote, cost=cost, lines=(*lines, *dearest), problems=tuple(problems))
        return whole, tuple(machines)

    def _findings(
        self, config: LaunchConfig, job: TrainingJob, data: Delivery
    ) -> Iterator[Problem]:
        """Check a job for SageMaker: settings, request, prepared data and code."""
        told = check_planned(config)
        yield from told
        keys = {problem.key for problem in errors_only(told)}
        for problem in REQUEST.run(to_request(job)):  # what was told of a setting is not told again
            if not any(f"{key}.".startswith(f"{problem.key}.") for key in keys):
                yield problem
        if data.manifest is not None:
            yield from PREPARED.run(DataForImage(data.manifest, config.cluster))
        yield from self._code_problems

    def _batching(
        self, config: LaunchConfig, job: JobConfig, batch: BatchPlan, data: Delivery
    ) -> BatchingEstimate | None:
        """Estimate padding and waiting, once per combination of data and batches."""
        same = [
            asdict(job.batching),
            asdict(replace(batch, learning_rate=0, arithmetic=())),
            asdict(config.data),
            job.cluster.gpus_per_node,
            data.digest,
        ]
        key = json.dumps(same, default=str)
        if key not in self._batchings:
            manifest = data.manifest or made_before(config)
            self._batchings[key] = _batching(job, batch, manifest)
        return self._batchings[key]

    def _model(self, job: JobConfig) -> tuple[BaseModel | None, list[Problem]]:
        """Find out how a model reaches its job, once for the same one."""
        key = json.dumps(asdict(job.model), default=str)
        if key not in self._models:
            copy = self._copies.get(job.model.name_or_path or "")
            self._models[key] = deliver_model(job.model, copy, self._tell)
        return self._models[key]

    def _deliver(self, config: LaunchConfig) -> Delivery:
        """Find out what is known about the data, once per data."""
        same = [asdict(config.data), split_seed(config), asdict(config.model), config.prepared_dir]
        same += [asdict(config.distillation)]
        key = json.dumps(same, default=str)
        if key not in self._data:
            self._data[key] = deliver(config)
        return self._data[key]


def _pinned(data: Delivery, member: Member) -> Delivery:
    """Take the data that the sweep was first submitted with, if it was."""
    if not member.pinned or data.digest == member.data_digest:
        return data
    what = "has changed since the sweep was first submitted: its jobs get the data of then"
    differs = Problem(
        "data", what, "sweep.name=ANOTHER for the data as it is now", Severity.warning,
        check="data-pinned", why="jobs of one sweep are compared on the same rows",
    )  # fmt: skip
    problems = (*data.problems, differs)
    return Delivery(data.rows, problems, member.data_digest, uri=member.data_uri)


def _batching(
    job: JobConfig, batch: BatchPlan, manifest: Manifest | None
) -> BatchingEstimate | None:
    if manifest is None and job.data.source is not Source.hub:
        return None
    from lingotune.launch.plan.lengths import estimate_batching  # imports numpy

    return estimate_batching(job, batch, manifest)


def is_search(composed: Sequence[Composed]) -> bool:
    """Tell whether jobs are the corners of a space that a search draws from."""
    first = composed[0]
    return first.space is not None and first.config.sweep.search is not Search.grid


def _same_twice(plans: Sequence[Plan]) -> list[Problem]:
    """Find identical jobs in a sweep, of which SageMaker would refuse the second for its name."""
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


def objects(plan: Plan, bundle: Bundle) -> dict[str, bytes | Path]:
    """List what a planned job will find in S3, by URI: code and job file, the model, then the data."""
    job = plan.training_job
    assert job is not None, "a job of this machine finds nothing in S3"
    channels = dict(job.channels)
    found: dict[str, bytes | Path] = {
        job.code_uri: bundle.content,
        channels[CONFIG_CHANNEL] + JOB_FILE: plan.job_file,
    }
    if plan.model is not None and MODEL_CHANNEL in channels:
        found |= {channels[MODEL_CHANNEL] + path.name: path for path in plan.model.files()}
    if plan.data.folder is not None and DATA_CHANNEL in channels:
        root = plan.data.folder
        found |= {f"{channels[DATA_CHANNEL]}{p.as_posix()}": root / p for p in plan.data.files()}
    return found


def planned_digests(plan: Plan) -> dict[str, str]:
    """Map the URIs of a model's files to the digests that their place is named by."""
    if plan.model is None or plan.training_job is None or plan.model.uri is not None:
        return {}
    prefix = dict(plan.training_job.channels).get(MODEL_CHANNEL, "")
    return {prefix + name: of_file for name, of_file in plan.model.sha256.items()}


def with_data(plans: Sequence[Plan], tell: Callable[[str], None]) -> list[Plan]:
    """Prepare the data of the plans here, once if several of them share it.

    ConfigError if a source has errors, or has changed since the plan.
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
    from lingotune.serving.teacher import prepare_job  # transformers from here on

    job = plan.job
    folder, _ = prepare_job(job, Path(plan.config.prepared_dir), tell)
    made = from_folder(folder, load_manifest(folder), job)
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


def _on_paper(job: JobConfig, batch: BatchPlan, found: BatchingEstimate | None) -> float | None:
    """Estimate the seconds of an update without a measured run; None if a figure is unknown."""
    step = found and update_on_paper(job, batch, found.planned, found.word_pieces)
    return step.seconds if step else None
