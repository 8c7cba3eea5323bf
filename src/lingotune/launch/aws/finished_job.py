"""Time and cost of finished jobs, as AWS reports them; changes nothing."""

from __future__ import annotations

import dataclasses
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from lingotune.catalog.hardware import instance_of, precision_on, resolve_precision
from lingotune.config.jobfile import load_job
from lingotune.config.machines import on_type
from lingotune.config.problems import ConfigError, Problem, format_problems
from lingotune.config.schema import JobConfig, Source, split_seed
from lingotune.contract.container import CONFIG_CHANNEL, JOB_FILE
from lingotune.data.sources.languages import wanted_languages
from lingotune.data.splits.counts import count_rows
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.run_time import TimeEstimate, estimate_time
from lingotune.estimate.throughput import (
    FILE,
    Throughput,
    append_record,
    parse_record,
    read_records,
)
from lingotune.launch.aws.account.answers import T, answered, connected, or_reason
from lingotune.launch.aws.account.calls import Calls, Refused, Unanswered
from lingotune.launch.aws.machines import machine_in
from lingotune.launch.cost.bill import Bill, after_run
from lingotune.launch.cost.prices import find_price, load_prices, price_text, unknown_text

_UNKNOWN_JOB = ("ValidationException", "ResourceNotFound")


# --- prices -------------------------------------------------------------------------------------


# --- a finished job -----------------------------------------------------------------------------


@dataclass(frozen=True)
class FinishedJob:
    """A training job as described by DescribeTrainingJob.

    created: UTC, ISO. bill: None until AWS reports the seconds. config_uri: S3 prefix of the channel with
    the job file; None = the job is not lingotune's. output_uri: S3 prefix of the job's output.
    """

    name: str
    status: str
    failure: str
    created: str
    instance_type: str
    bill: Bill | None
    metrics: dict[str, float]
    config_uri: str | None
    output_uri: str


def account_for(
    name: str, region: str | None, runs_dir: str, prices: str | None, today: date
) -> list[str]:
    """Account for the time and cost of a job on SageMaker, and add its record to throughput.jsonl once.

    Returns lines to print. ConfigError if the job is unknown, or credentials or region are missing.
    """
    listed = load_prices(prices)
    calls = connected(region)
    job = answered(name, lambda: describe_job(calls, name))
    path = Path(runs_dir, FILE)
    records, warnings = read_records(path)
    lines = _headline(job, calls.region)
    if job.bill is None:
        return [*lines, "billed seconds unknown: AWS has not told them yet"]
    config, note = or_reason(lambda: fetch_job(calls, job), "job file")
    lines += note
    record, note = or_reason(lambda: fetch_record(calls, job), "throughput record")
    lines += note
    price = find_price(listed, job.instance_type, calls.region)
    text = price_text(price, calls.region, today) if price else None
    lines.append(text or unknown_text(job.instance_type, calls.region))
    before = [r for r in records if r.date < job.created]
    got = on_type(config, job.instance_type) if config else None
    estimate = _estimate(got, record, before) if got else None
    lines += after_run(job.bill, price, estimate, record, records)
    lines += _keep(record, job.bill, records, path)
    return [*lines, format_problems(warnings)] if warnings else lines


def describe_job(calls: Calls, name: str) -> FinishedJob:
    """Describe a job; ConfigError if there is no such job in the region."""
    try:
        said = calls.ask("sagemaker", "describe_training_job", _UNKNOWN_JOB, TrainingJobName=name)
    except Refused as refusal:
        what = f"is no training job in {calls.region}: {refusal.message}"
        raise ConfigError([Problem(name, what, "--region, or the name as submitted")]) from refusal
    instance_type, nodes = machine_in(said)
    channels = {c["ChannelName"]: c for c in said.get("InputDataConfig", [])}
    source = channels.get(CONFIG_CHANNEL, {}).get("DataSource", {}).get("S3DataSource", {})
    seconds, billed = said.get("TrainingTimeInSeconds"), said.get("BillableTimeInSeconds")
    bill = None
    if seconds is not None and billed is not None:
        spot = said.get("EnableManagedSpotTraining", False)
        bill = Bill(seconds, billed, nodes, spot)
    created: datetime = said["CreationTime"]
    output = said.get("OutputDataConfig", {}).get("S3OutputPath", "").rstrip("/")
    return FinishedJob(
        name=name,
        status=said["TrainingJobStatus"],
        failure=said.get("FailureReason", ""),
        created=created.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        instance_type=instance_type or "unknown",
        bill=bill,
        metrics={m["MetricName"]: m["Value"] for m in said.get("FinalMetricDataList", [])},
        config_uri=source.get("S3Uri"),
        output_uri=f"{output}/{name}/output/",
    )


def fetch_job(calls: Calls, job: FinishedJob) -> JobConfig:
    """Fetch the job file that the job was started with; Unanswered if it is missing or unreadable."""
    if job.config_uri is None:
        raise Unanswered(f"the job has no channel {CONFIG_CHANNEL}: lingotune has not started it")
    content = _read(calls, job.config_uri + JOB_FILE, lambda body: bytes(body.read()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, JOB_FILE)
        path.write_bytes(content)
        try:
            return load_job(path)[0]
        except ConfigError as error:
            raise Unanswered(error.problems[0].what) from error


def fetch_record(calls: Calls, job: FinishedJob) -> Throughput:
    """Fetch the record from the job's output, packed or not; Unanswered if there is none."""
    bucket, _, prefix = job.output_uri.removeprefix("s3://").partition("/")
    listed = calls.ask("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix).get("Contents", [])
    keys = [entry["Key"] for entry in listed]
    for ending, read in ((FILE, _last_record), ("output.tar.gz", _packed_record)):
        for key in keys:
            if key.endswith(f"/{ending}"):
                return _read(calls, f"s3://{bucket}/{key}", read)
    raise Unanswered(f"{job.output_uri} holds neither {FILE} nor output.tar.gz")


def _packed_record(body: Any) -> Throughput:
    with tarfile.open(fileobj=body, mode="r|gz") as archive:
        for member in archive:
            if Path(member.name).name == FILE:
                file = archive.extractfile(member)
                assert file is not None
                return _last_record(file)
    raise Unanswered(f"the job's output holds no {FILE}")


def _last_record(body: Any) -> Throughput:
    lines = body.read().decode().splitlines()
    return parse_record(lines[-1] if lines else "")


def _read(calls: Calls, uri: str, read: Callable[[Any], T]) -> T:
    """Fetch an object and parse its bytes with `read`; Unanswered if missing, denied or unreadable."""
    from botocore.exceptions import BotoCoreError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = calls.ask("s3", "get_object", Bucket=bucket, Key=key)["Body"]
    try:
        return read(body)
    except (BotoCoreError, tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise Unanswered(f"{uri}: {error}") from error


def _headline(job: FinishedJob, region: str) -> list[str]:
    nodes = f"{job.bill.nodes} x " if job.bill else ""
    spot = ", spot" if job.bill and job.bill.spot else ""
    lines = [f"{job.name}: {job.status}, {nodes}{job.instance_type} in {region}{spot}"]
    if job.failure:
        lines.append(f"reason: {job.failure}")
    if job.metrics:
        values = (f"{name} {value:.4g}" for name, value in sorted(job.metrics.items()))
        lines.append(f"metrics: {', '.join(values)}")
    return lines


def _estimate(
    job: JobConfig, record: Throughput | None, before: Sequence[Throughput]
) -> TimeEstimate | None:
    """Estimate the time as a plan would have done when the job was created."""
    machine = instance_of(job.cluster)
    wanted = job.training.precision
    precision = precision_on(machine, wanted) if machine else resolve_precision(wanted, None)
    rows = record.rows if record else None
    if rows is None and job.data.source is not Source.files:  # files may have changed since
        rows = count_rows(job.data, split_seed(job))[0]
    languages = wanted_languages(job.data)
    return estimate_time(job, plan_batches(job), rows, precision, before, languages=languages)


def _keep(
    record: Throughput | None, bill: Bill, records: Sequence[Throughput], path: Path
) -> list[str]:
    """Add the record, completed by AWS's figures, unless the file has it already."""
    if record is None:
        return []
    if (record.job_sha256, record.date) in {(r.job_sha256, r.date) for r in records}:
        return [f"{path} has the record already"]
    share = None
    if bill.spot and bill.training_seconds:
        share = round(min(1.0, bill.billable_seconds / bill.training_seconds), 4)
    seconds = float(bill.training_seconds)
    append_record(path, dataclasses.replace(record, job_seconds=seconds, spot_billable_share=share))
    return [f"added the record to {path}"]


# --- asking -------------------------------------------------------------------------------------
