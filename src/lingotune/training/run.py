"""The run on a worker: from a job file to a model with its scores. Reaches no Hydra and no AWS SDK.

Every rank does the same; rank 0 alone writes. On SageMaker the job file comes through the channel
`config` and the results go where the container contract wants them.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lingotune import __version__
from lingotune.config.console import Parser, say
from lingotune.config.jobfile import job_digest, load_job
from lingotune.config.problems import ConfigError, Problem, PublishError, errors_only
from lingotune.config.schema import SPLITS, JobConfig, Precision
from lingotune.contract.container import CONFIG_CHANNEL, DATA_CHANNEL, DIGEST_VARIABLE, JOB_FILE
from lingotune.contract.log_lines import format_test_line
from lingotune.contract.rehearsal_limits import Limits, read_limits
from lingotune.data.loader.open_store import open_store
from lingotune.data.loader.store import Split, Store
from lingotune.estimate.batch import BatchPlan, StepPlan, plan_batches, plan_steps
from lingotune.estimate.throughput import (
    FILE,
    LOG_WORD,
    SCHEMA,
    Throughput,
    append_record,
    format_record,
    setup_of,
)
from lingotune.hub.model_card import base_model
from lingotune.hub.publish import prepare, publish
from lingotune.hub.repository import Target
from lingotune.preflight import check_job
from lingotune.runs.folder import (
    MODEL,
    Folders,
    container_folders,
    finished,
    folders_in,
    new_run_folder,
    opened,
    read_history,
    resume_command,
    write_data_folder,
    write_metrics,
)
from lingotune.runs.results import DataSummary, RunDescription, RunResults
from lingotune.training import distributed as ranks
from lingotune.training import failure
from lingotune.training.distributed import Rank
from lingotune.training.rehearsal import limited, spread
from lingotune.training.trackers import missing_trackers

PREPARED = "prepared"
"""Folder of prepared data where none is named."""


def is_worker(argv: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether train.py was started with a job file rather than with overrides."""
    return "--job" in argv or _channel(CONFIG_CHANNEL, environment) is not None


def main(argv: Sequence[str]) -> int:
    """Entry of `train.py --job FILE` and of the container."""
    parser = Parser("python train.py", allow_abbrev=False)
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
    options = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # The images set PYTHONUNBUFFERED, which writes a line in pieces, mixed with other ranks'.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)
    with failure.told(ranks.read_rank(os.environ).rank, os.environ):
        _main(options)
    return 0


def _main(options: argparse.Namespace) -> None:
    job, digest = load_job(options.job or f"{_channel(CONFIG_CHANNEL, os.environ)}/{JOB_FILE}")
    planned = os.environ.get(DIGEST_VARIABLE)
    if planned and planned != digest:
        what = f"the launcher started job {planned}, the file holds job {digest}"
        fix = "the job file that belongs to this job, unchanged"
        raise ConfigError([Problem(f"rank {ranks.read_rank(os.environ).rank}", what, fix)])
    run(
        job,
        run_dir=options.run_dir,
        data=options.data or _channel(DATA_CHANNEL, os.environ),
        prepared_dir=options.prepared_dir,
        limits=read_limits(os.environ),
    )


def run(
    job: JobConfig,
    *,
    run_dir: str | None = None,
    runs_dir: str = "runs",
    data: str | None = None,
    prepared_dir: str | None = None,
    limits: Limits | None = None,
) -> Path:
    """Train, evaluate and save a job; returns the run folder, a new one in `runs_dir` by default.

    `data`: a folder of prepared data; without it the data is prepared in `prepared_dir`, if it is not
    there. ConfigError for everything that the user can mend, on every rank that sees it. What is wrong
    with the data is told before the run folder is made. `limits`: a rehearsal's.
    """
    started = time.monotonic()
    rank = ranks.read_rank(os.environ)
    problems = errors_only(check_job(job))
    if limits:
        job = limited(job, limits)
        if rank.first:
            print(f"rehearsal: {limits}")
    problems += missing_trackers(job.training.report_to)
    if problems:
        raise ConfigError(problems)
    ranks.check_world(job, rank)
    _set_environment(job, rank)
    ranks.choose_devices(job)
    ranks.join(job, rank)
    folders = None
    try:
        ranks.agree(rank, "the job's sha256", job_digest(job))
        known = folders_in(run_dir) if run_dir else container_folders(os.environ)
        before = known and ranks.from_first(rank, finished(known, job_digest(job)))
        if known and before:
            if rank.first:
                print(f"{known.run}: this job is finished")
                _publish(prepare(job, job.hub, before), job, known)
            return known.run
        if rank.first:
            print(f"reading {job.data.name}", flush=True)
        failure.enter("reading the data")
        store = open_store(job, data, _prepared_dir(prepared_dir, known), _teller(rank))
        splits = {name: _some(store.split(name), limits) for name in SPLITS}
        folders = known or folders_in(_new_run_folder(job, rank, runs_dir))
        # Each node has its own disk; rank 0 alone writes the run.
        with opened(folders, job) if rank.local_rank == 0 else nullcontext():
            target = _train(job, store, splits, rank, folders, started)
    except KeyboardInterrupt:
        if rank.first and folders:
            print(f"go on with: {resume_command(folders.run)}", file=sys.stderr)
        raise
    finally:
        ranks.leave(rank)
    _publish(target, job, folders)  # however long that takes: no rank waits for it
    return folders.run


def _set_environment(job: JobConfig, rank: Rank) -> None:
    """What the job sets and the launcher has set otherwise: SageMaker's does so with NCCL_DEBUG."""
    for name, value in job.cluster.environment.items():
        before = os.environ.get(name)
        if before != value:
            os.environ[name] = value
            if rank.first:
                print(f"environment {name}={value} (the launcher had set {before})")


def _new_run_folder(job: JobConfig, rank: Rank, runs_dir: str) -> Path:
    made: Path = ranks.from_first(rank, new_run_folder(job, runs_dir) if rank.first else None)
    return made


def _channel(name: str, environment: Mapping[str, str]) -> str | None:
    return environment.get(f"SM_CHANNEL_{name.upper()}")


def _prepared_dir(given: str | None, known: Folders | None) -> Path:
    if given is None and known and known.in_container:
        return Path(tempfile.gettempdir(), PREPARED)
    return Path(given or PREPARED)


def _teller(rank: Rank) -> Callable[[str], None]:
    return say if rank.first else (lambda line: None)


def _some(split: Split, limits: Limits | None) -> Split:
    if limits is None:
        return split
    kinds = list(zip(split.language.tolist(), split.label.tolist()))
    return split.select(spread(kinds, limits.rows))


def _train(
    job: JobConfig,
    store: Store,
    splits: Mapping[str, Split],
    rank: Rank,
    folders: Folders,
    started: float,
) -> Target | None:
    """The repository to publish to, on rank 0 of a job that is to be published."""
    batch = plan_batches(job)
    steps = plan_steps(job, batch, len(splits["train"]))
    known = RunDescription(
        name=job.name,
        job_sha256=job_digest(job),
        labels=tuple(label.name for label in job.data.labels),
        base_model=base_model(job.model),
        data=_data_summary(store, splits),
    )
    target = None
    if rank.first:
        print(f"run {folders.run}")
        _announce(store, splits, batch, steps)
        failure.enter("signing in to the hub")
        target = prepare(job, job.hub, known)
    if target:
        print(f"hub: signed in as {target.user}, will publish to {target.link}", flush=True)

    from lingotune.training.fit import fit  # torch and transformers from here on

    with ExitStack() as stack:
        pusher = stack.enter_context(_pushing(target, job, folders, known)) if target else None
        outcome = fit(job, batch, steps, store, splits, rank, folders, pusher)
    seconds = round(time.monotonic() - started, 1)
    results = RunResults(**vars(known), **vars(outcome), seconds=seconds)
    failure.enter("saving the results")
    if rank.first:
        _write(job, results, folders)
        write_data_folder(store.folder, folders.run)
        _report(folders.run)
        _record(job, batch, splits, results, folders)
    return target


def _pushing(
    target: Target, job: JobConfig, folders: Folders, known: RunDescription
) -> AbstractContextManager[Any]:
    from lingotune.hub.background_push import pushing

    return pushing(target, job, folders, known)


def _data_summary(store: Store, splits: Mapping[str, Split]) -> DataSummary:
    labels = store.manifest.labels
    rows: dict[str, dict[str, dict[str, int]]] = {}
    for name, split in splits.items():
        counts = Counter(zip(split.codes, split.label.tolist()))
        rows[name] = {
            code: {label: counts[code, place] for place, label in enumerate(labels)}
            for code in sorted({code for code, _ in counts})
        }
    test_sha256 = store.digest(SPLITS[-1])
    return DataSummary(sha256=store.manifest.digest, test_sha256=test_sha256, rows=rows)


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
        # SageMaker takes no model from a job that fails, but its output.
        shutil.copytree(folders.model, folders.run / MODEL, dirs_exist_ok=True)
        lines = f"{error}\nthe job's output in S3, output.tar.gz, holds it as {MODEL}/"
        raise PublishError(lines) from None


def _announce(store: Store, splits: Mapping[str, Split], batch: BatchPlan, steps: StepPlan) -> None:
    for warning in store.manifest.warnings:
        print(f"warning: {warning}")
    sizes = ", ".join(f"{split} {len(rows)}" for split, rows in splits.items())
    print(f"rows: {sizes}")
    for line in (*batch.arithmetic, *steps.arithmetic):
        print(line)
    print(flush=True)


def _write(job: JobConfig, results: RunResults, folders: Folders) -> None:
    from lingotune.hub.model_folder import assemble
    from lingotune.report.charts import draw_classes, draw_confusion, draw_curves
    from lingotune.report.tables import score_table

    try:
        draw_confusion(results.test, results.labels, folders.run / "confusion_matrix.png")
        draw_classes(results.data.rows, results.labels, folders.run / "class_distribution.png")
        draw_curves(read_history(folders.run), folders.run / "learning_curves.png")
    except ImportError as error:  # not every image holds matplotlib
        print(f"warning: no pictures: {error}")
    test, speed = results.test, results.training.samples_per_second
    values = {"loss": test.loss, **test.headline(), **test.macro_f1_by_language()}
    values |= {} if speed is None else {"samples_per_second": speed}
    print(format_test_line(values), flush=True)
    print(f"\ntest split, best checkpoint by validation:\n{score_table(test)}\n")
    assemble(folders.model, job, results, folders.run, folders.tensorboard)
    write_metrics(results, folders)


def _report(run: Path) -> None:
    """The page of the run; whatever goes wrong with it costs the run nothing."""
    try:
        from lingotune.report.run_page import write_run_report

        print(f"report: {write_run_report(run)}")
    except Exception as error:
        print(f"warning: no report: {type(error).__name__}: {error}")


def _record(
    job: JobConfig,
    batch: BatchPlan,
    splits: Mapping[str, Split],
    results: RunResults,
    folders: Folders,
) -> None:
    """Append what was measured to throughput.jsonl; a run is not lost where that cannot be done."""
    found = results.measured
    if not found.train_samples:
        return  # went on from a checkpoint at its end
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
