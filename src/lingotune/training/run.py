"""The run on a worker: from a job file to a model with its scores. Imports neither Hydra nor an AWS SDK.

Every rank does the same; only rank 0 writes. On SageMaker the job file arrives through the channel
`config`, and the results go where the container contract expects them.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lingotune import __version__
from lingotune.config.console import Parser, say, say_aside
from lingotune.config.jobfile import job_digest
from lingotune.config.problems import ConfigError, Preempted, Problem, PublishError, errors_only
from lingotune.config.program import program
from lingotune.config.schema import SPLITS, JobConfig, ModelConfig, Precision, Resume
from lingotune.contract.container import CONFIG_CHANNEL, DATA_CHANNEL, DIGEST_VARIABLE, JOB_FILE
from lingotune.contract.rehearsal_limits import Limits, read_limits
from lingotune.data.loader.open_store import open_store
from lingotune.data.loader.store import Split, Store
from lingotune.data.loader.training_split import training_split
from lingotune.data.rows.training_rows import check_select
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.micro_batches import with_micro_batch
from lingotune.estimate.throughput import (
    FILE,
    LOG_WORD,
    SCHEMA,
    Throughput,
    append_record,
    format_record,
    setup_of,
)
from lingotune.evaluation.advice import advice_on
from lingotune.evaluation.baseline import missing_library
from lingotune.hub.model_card import base_model
from lingotune.hub.publish import prepare, publish
from lingotune.hub.repository import Target
from lingotune.plugins.loading import OwnCode, load_code
from lingotune.plugins.source import bundle_folder, find_source, is_changed, own_code_lines
from lingotune.preflight import check_job
from lingotune.runs.folder import (
    METRICS,
    MODEL,
    Folders,
    container_folders,
    finished,
    folders_in,
    new_run_folder,
    read_history,
    resume_command,
    write_command,
    write_data_folder,
    write_metrics,
)
from lingotune.runs.opening import job_in, opened, recovered
from lingotune.runs.remake import load_job_of
from lingotune.runs.results import BaseModel, DataSummary, RunDescription, RunResults
from lingotune.serving.teacher import teacher_of
from lingotune.system.files import unused
from lingotune.system.lean_imports import allow_lean, lean
from lingotune.training import distributed, failure, signals
from lingotune.training.adapters import missing_peft
from lingotune.training.base_model import channel_of, located, sign_in
from lingotune.training.baseline import baseline_of
from lingotune.training.context import RunContext, plan_run
from lingotune.training.distillation import teacher_scores
from lingotune.training.distributed import Rank
from lingotune.training.finishing import complete, report, take_inventory, write_charts
from lingotune.training.identity import changes_of
from lingotune.training.machine import machine_here, on_its_machine
from lingotune.training.rehearsal import limited, spread
from lingotune.training.summary import print_scores
from lingotune.training.text_fit import text_fit
from lingotune.training.trackers import missing_trackers
from lingotune.training.watch import watching

PREPARED = "prepared"
"""Default folder for prepared data."""


def is_worker(argv: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Tell whether to train a job file as it is; otherwise there are overrides, perhaps on top of one."""
    if _channel(CONFIG_CHANNEL, environment) is not None:
        return True
    others = _parser().parse_known_args(argv)[1] if "--job" in argv else []
    return "--job" in argv and not any("=" in word or word in _COMPOSING for word in others)


_COMPOSING = ("-m", "--multirun", "--cfg", "--config-dir", "-h", "--help")
"""Options that only make sense when a job is composed."""


def _parser() -> Parser:
    parser = Parser(program("train"), allow_abbrev=False, add_help=False)
    parser.add_argument("--job", metavar="FILE", help="a job file written by launch.py")
    parser.add_argument(
        "--run-dir", metavar="DIR", help="the run folder; default: a new one in runs/"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="prepared data; default: the container's data channel, if any"
    )
    parser.add_argument(
        "--prepared-dir", metavar="DIR", help="where data is prepared that has not been yet"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run `train.py --job FILE`, also in the container; returns the exit code."""
    options = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # The images set PYTHONUNBUFFERED, which writes a line in pieces, interleaved with other ranks'.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)
    rank = distributed.read_rank(os.environ).rank
    with signals.armed(rank), failure.reporting(rank, os.environ):
        _main(options)
    return 0


def _main(options: argparse.Namespace) -> None:
    job_file = Path(options.job or f"{_channel(CONFIG_CHANNEL, os.environ)}/{JOB_FILE}")
    job, digest = _load_job(job_file)
    planned = os.environ.get(DIGEST_VARIABLE)
    if planned and planned != digest:
        what = f"the launcher started job {planned}, the file holds job {digest}"
        fix = "the job file that belongs to this job, unchanged"
        raise ConfigError([Problem(f"rank {distributed.read_rank(os.environ).rank}", what, fix)])
    allow_lean(job, job.model.name_or_path)
    run(
        job,
        run_dir=options.run_dir,
        data=options.data or _channel(DATA_CHANNEL, os.environ),
        prepared_dir=options.prepared_dir,
        limits=read_limits(os.environ),
        code_dirs=[job_file.parent],
    )


def _load_job(file: Path) -> tuple[JobConfig, str]:
    """Load a job file, or the copy in its run folder of one that is damaged."""
    try:
        return load_job_of(file)
    except ConfigError as error:
        if (found := recovered(file, error.problems[0].what)) is None:
            raise
        return found


def run(
    job: JobConfig,
    *,
    run_dir: str | None = None,
    runs_dir: str = "runs",
    data: str | None = None,
    prepared_dir: str | None = None,
    limits: Limits | None = None,
    typed: str = "",
    code_dirs: Sequence[Path] = (),
) -> Path:
    """Train, evaluate, save and publish a job; returns the run folder, a new one in `runs_dir` by default.

    data: a folder of prepared data; without one the data is prepared in `prepared_dir`, unless it is
    there already. limits: those of a rehearsal. typed: the command line, to be kept in the run folder.
    code_dirs: folders that may hold a copy of the user's own code, beside the run's and the bundle's.
    Raises ConfigError for anything that the user can fix, on every rank that sees it, for faults in the
    data before the run folder is made; PublishError if the model was trained but could not be pushed.
    """
    started = time.monotonic()
    rank = distributed.read_rank(os.environ)
    mode, job = job.resume, replace(job, resume=Resume.auto)  # of this attempt, not of the run
    has_list = bool(job.cluster.fallback)
    job = _open_run(job, rank, limits)
    limit, hang = job.training.peer_timeout, job.training.hang_timeout
    with distributed.leaving(rank), watching(rank, limit, hang):
        distributed.agree(rank, "the job's sha256", job_digest(job))
        if has_list:
            distributed.agree(rank, "the machine", str(job.cluster.instance_type))
        known = folders_in(run_dir) if run_dir else container_folders(os.environ)
        if known and mode is Resume.never:
            _start_over(known, rank)
        elif known and _is_finished(job, known, rank):
            return known.run
        own = _own_code(job, [known.run] if known else [], code_dirs, rank)
        sign_in(job)
        store, splits = _open_data(job, data, _prepared_dir(prepared_dir, known), rank, limits)
        folders = known or folders_in(_new_run_folder(job, rank, runs_dir))
        with _next_command(folders, rank), _opened(folders, job, rank):
            if rank.first:
                write_command(typed, folders.run)
            if rank.local_rank == 0:
                own.keep_in(folders.run)
            context = plan_run(job, store, splits, rank, folders, own, mode)
            target = _train(context, started)
    _publish(target, job, folders)  # may take long, but no rank waits for it
    return folders.run


def _open_run(job: JobConfig, rank: Rank, limits: Limits | None) -> JobConfig:
    """Check the job and join the other processes; returns the job, cut down if this is a rehearsal."""
    machine = machine_here(os.environ) if job.cluster.fallback else None
    job = on_its_machine(job, machine, f"rank {rank.rank}", fewer=limits is not None)
    if machine and rank.first:
        print(f"machine {machine}, of the {len(job.cluster.fallback)} that the job may get")
    problems = errors_only(check_job(job))
    if limits:
        job = limited(job, limits)
        if rank.first:
            print(f"rehearsal: {limits}")
    problems += [*missing_trackers(job.training.report_to), *missing_peft(job.training.lora)]
    problems += missing_library(job.baseline)
    if problems:
        raise ConfigError(problems)
    distributed.check_world(job, rank)
    _set_environment(job, rank)
    distributed.choose_devices(job)
    with signals.importing(), lean():
        import torch  # noqa: F401  it takes seconds
    distributed.join(job, rank)
    return job


def _own_code(job: JobConfig, runs: Sequence[Path], others: Sequence[Path], rank: Rank) -> OwnCode:
    """Load the user's own code: devices are chosen, and no data has been read."""
    failure.enter("loading your code")
    source = find_source(job.code, [*runs, *others, bundle_folder()])
    if source and rank.first and is_changed(job.code, source):
        again = f"python train.py --job {runs[0] if runs else 'RUN'}/{JOB_FILE} code.file={job.code.file}"
        print(
            f"warning: {job.code.file} has changed; this job goes on with its own copy, {source.path}"
        )
        print(f"with the file as it is now: {again}", flush=True)
    return load_code(job.code, source)


def _open_data(
    job: JobConfig, data: str | None, prepared_dir: Path, rank: Rank, limits: Limits | None
) -> tuple[Store, dict[str, Split]]:
    """Open the prepared data, or prepare it; returns the store and its splits, within the limits."""
    if rank.first:
        print(f"reading {job.data.name}", flush=True)
    failure.enter("reading the data")
    here = replace(job, model=located(job.model, os.environ))
    teacher = teacher_of(job) if data is None else None
    tell = say if rank.first else lambda line: None
    store = open_store(here, data, prepared_dir, tell, teacher)
    splits = {name: store.split(name) for name in SPLITS}
    train = training_split(store, splits["train"], job.data)
    splits["train"] = store.with_teacher("train", train)
    splits = {name: _within(split, limits) for name, split in splits.items()}
    check_select(job.evaluation.select, *(set(splits[s].language_rows) for s in SPLITS[:2]))
    return store, splits


def _opened(folders: Folders, job: JobConfig, rank: Rank) -> AbstractContextManager[None]:
    # Each node has its own disk; rank 0 alone writes the run.
    return opened(folders, job, changes_of) if rank.local_rank == 0 else nullcontext()


@contextmanager
def _next_command(folders: Folders, rank: Rank) -> Iterator[None]:
    """Print the command that continues the run if a signal, or a fault of the machine, ends the block."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, (KeyboardInterrupt, Preempted))
        here = not folders.in_container and (folders.run / JOB_FILE).exists()
        if rank.first and (stopped or (here and failure.of_machine(error))):
            say_aside(f"go on with: {resume_command(folders.run)}")
        raise


def _start_over(folders: Folders, rank: Rank) -> None:
    """Move the results of a run that is trained anew out of the way, and keep them."""
    metrics = folders.run / METRICS
    if rank.first and metrics.exists():
        kept = unused(metrics.with_name(f"{METRICS}.earlier"))
        metrics.rename(kept)
        print(f"resume=never: the results that are there are kept as {kept}")


def _is_finished(job: JobConfig, folders: Folders, rank: Rank) -> bool:
    """Complete a finished run, and push it if it may not have been pushed yet; False if it is not finished.

    CheckpointError, on every rank, if its model or its predictions are not as they were written.
    """
    was = job_in(folders, job, changes_of)
    results = distributed.from_first(rank, finished(folders, job_digest(was)))
    if results is None:
        return False
    distributed.computed_by_first(rank, lambda: complete(was, folders, results))
    if rank.first:
        print(f"{folders.run}: this job is finished")
        _publish(prepare(was, job.hub, results), was, folders)
    return True


def _set_environment(job: JobConfig, rank: Rank) -> None:
    """Set the job's variables where the launcher has set other values, as SageMaker does for NCCL_DEBUG."""
    # A rank that fails takes the store along, and the others' libraries would print their C++ frames.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    for name, value in job.cluster.environment.items():
        before = os.environ.get(name)
        if before != value:
            os.environ[name] = value
            if rank.first:
                print(f"environment {name}={value} (the launcher had set {before})")


def _new_run_folder(job: JobConfig, rank: Rank, runs_dir: str) -> Path:
    made: Path = distributed.from_first(rank, new_run_folder(job, runs_dir) if rank.first else None)
    return made


def _channel(name: str, environment: Mapping[str, str]) -> str | None:
    return environment.get(f"SM_CHANNEL_{name.upper()}")


def _prepared_dir(given: str | None, known: Folders | None) -> Path:
    if given is None and known and known.in_container:
        return Path(tempfile.gettempdir(), PREPARED)
    return Path(given or PREPARED)


def _within(split: Split, limits: Limits | None) -> Split:
    if limits is None or limits.rows is None:
        return split
    kinds = list(zip(split.language.tolist(), split.label.tolist()))
    return split.select(spread(kinds, limits.rows))


def _train(context: RunContext, started: float) -> Target | None:
    """Train, and write everything that a run folder holds.

    Returns the repository to publish to, on rank 0 of a job that is to be published.
    """
    known = _description(context)
    target = _announce_and_sign_in(context, known) if context.rank.first else None

    go_on = f"go on with: {resume_command(context.folders.run)}\n" if context.rank.first else ""
    with signals.importing(go_on), lean():
        from lingotune.training.fit import fit  # torch and transformers from here on

    pushing = _pushing(target, context, known) if target else nullcontext()
    with pushing as pusher, context.own.errors_told():
        outcome = fit(context, pusher)
    if context.rank.first:
        failure.enter("training the baseline")
        baseline = baseline_of(context)
        teacher = teacher_scores(context)
        seconds = round(time.monotonic() - started, 1)
        results = RunResults(
            **vars(known), **vars(outcome), baseline=baseline, teacher=teacher, seconds=seconds
        )
        advice = advice_on(context.job, results, read_history(context.folders.run))
        results = replace(results, advice=tuple(advice))
        failure.enter("saving the results")
        _write(context, results)
    return target


def _description(context: RunContext) -> RunDescription:
    """Assemble the part of the results that is known before training."""
    job = context.job
    return RunDescription(
        name=job.name,
        job_sha256=job_digest(job),
        labels=tuple(label.name for label in job.data.labels),
        base_model=_base_model(job.model),
        data=_data_summary(context.store, context.splits),
    )


def _base_model(model: ModelConfig) -> BaseModel | None:
    described = base_model(model)
    if described is None or not channel_of(model, os.environ):
        return described
    return BaseModel(name=Path(str(model.name_or_path)).name, on_hub=False)


def _announce_and_sign_in(context: RunContext, known: RunDescription) -> Target | None:
    """Print the plan, and open the repository of a job that is to be published."""
    print(f"run {context.folders.run}")
    write_data_folder(context.store.folder, context.folders.run)
    for line in own_code_lines(context.job.code):
        print(f"own code {line}")
    for warning in context.store.manifest.warnings:
        print(f"warning: {warning}")
    sizes = ", ".join(f"{split} {len(rows)}" for split, rows in context.splits.items())
    print(f"rows: {sizes}")
    if unseen := sorted(set(context.splits["test"].language_rows) - context.trained_languages):
        print(f"only scored, not trained on: {', '.join(unseen)}")
    print(*context.batch.arithmetic, *context.steps.arithmetic, sep="\n")
    print(flush=True)
    failure.enter("signing in to the hub")
    target = prepare(context.job, context.job.hub, known)
    if target:
        print(f"hub: signed in as {target.user}, will publish to {target.link}", flush=True)
    return target


def _pushing(
    target: Target, context: RunContext, known: RunDescription
) -> AbstractContextManager[Any]:
    from lingotune.hub.background_push import pushing

    return pushing(target, context.job, context.folders, known)


def _data_summary(store: Store, splits: Mapping[str, Split]) -> DataSummary:
    """Describe the data: its digest, the digest of the test split's rows, which is the same in any version
    of lingotune, and the number of rows by split, language and class."""
    labels = store.manifest.labels
    rows: dict[str, dict[str, dict[str, int]]] = {}
    totals: dict[str, dict[str, int]] = {}
    for name, split in splits.items():
        totals[name] = split.language_rows
        counts = split.class_rows(len(labels))
        rows[name] = {
            code: dict(zip(labels, counts[split.languages.index(code)].tolist()))
            for code in totals[name]
        }
    test_sha256 = store.digest(SPLITS[-1])
    return DataSummary(
        sha256=store.manifest.digest,
        test_sha256=test_sha256,
        rows=rows,
        warnings=store.manifest.warnings,
        texts=text_fit(store.manifest),
        totals=totals if any(split.several for split in splits.values()) else None,
    )


def _publish(target: Target | None, job: JobConfig, folders: Folders) -> None:
    if target is None:
        return
    failure.enter("publishing")
    run = "FOLDER_OF_THE_OUTPUT" if folders.in_container else str(folders.run)
    try:
        print(f"published: {publish(target, job, job.hub, folders.model, [run])}", flush=True)
    except PublishError as error:
        if not folders.in_container:
            raise
        # SageMaker keeps the output of a job that fails, but not its model.
        shutil.copytree(folders.model, folders.run / MODEL, dirs_exist_ok=True)
        lines = f"{error}\nthe job's output in S3, output.tar.gz, holds it as {MODEL}/"
        raise PublishError(lines) from None


def _write(context: RunContext, results: RunResults) -> None:
    """Write everything that a run folder holds besides the weights.

    metrics.json marks it as trained; what a kill leaves out after that, the next start completes.
    """
    from lingotune.hub.model_folder import assemble

    folders = context.folders
    print_scores(results, folders)
    sys.stdout.flush()
    write_charts(folders.run, results)
    assemble(folders.model, context.job, results, folders.run, folders.tensorboard)
    _record(context, results)
    write_metrics(results, folders)
    report(folders.run)
    take_inventory(folders, context.job)


def _record(context: RunContext, results: RunResults) -> None:
    """Append the run's measurements to throughput.jsonl; a failure only prints a warning."""
    job, splits, folders = context.job, context.splits, context.folders
    found, fitted = results.measured, results.training.fitted
    batch = plan_batches(with_micro_batch(job, fitted.size)) if fitted else context.batch
    if not found.train_samples:
        return  # resumed from its last checkpoint: there was nothing left to train
    measured = {name: value for name, value in vars(found).items() if name != "machine"}
    spent = found.train_seconds + found.eval_seconds
    precision = Precision(results.training.precision)
    record = Throughput(
        schema=SCHEMA,
        date=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        lingotune=__version__,
        job_sha256=results.job_sha256,
        setup=setup_of(job, batch, precision, found.machine),
        world_size=batch.world_size,
        data=job.data.name,
        languages=tuple(sorted({code for rows in splits.values() for code in rows.languages})),
        rows={split: len(rows) for split, rows in splits.items()},
        other_seconds=round(results.seconds - spent, 3),
        **measured,
    )
    path = (folders.run if folders.in_container else folders.run.parent) / FILE
    if folders.in_container:
        print(f"{LOG_WORD} {format_record(record)}")
    try:
        append_record(path, record)
    except OSError as error:
        print(f"warning: {path}: the throughput is not recorded: {error}")
