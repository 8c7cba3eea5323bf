"""Jobs of a sweep on Amazon SageMaker, or on the loopback, which takes the same calls.

A round asks with one listing, in pages, however many jobs there are; a job is described when it has ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from lingotune.config.problems import Problem
from lingotune.contract.log_lines import Logged
from lingotune.launch.aws.connection import Account
from lingotune.launch.aws.faults import Fault, error_of, errors, fault_of, said_by
from lingotune.launch.render.sweep_tags import PRUNED_TAG
from lingotune.launch.render.training_job import TrainingJob
from lingotune.launch.sweeps.continuation import continued
from lingotune.launch.sweeps.job_states import state_of
from lingotune.launch.sweeps.pin import LostAnswer
from lingotune.launch.sweeps.score_log import ScoreLog
from lingotune.launch.sweeps.trial import (
    Evaluation,
    JobState,
    NoSlot,
    Refused,
    State,
    Trial,
    Unsure,
)

_LIMIT = re.compile(r" is (\d+) Instances.* a request delta of (\d+) Instances")
_BEFORE = 3600.0
"""Seconds that this machine's clock may be ahead of AWS's."""


def client_settings() -> Any:
    """Return botocore's settings for the many calls of a sweep: adaptive, so that throttled ones wait."""
    from botocore.config import Config

    return Config(retries={"mode": "adaptive", "total_max_attempts": 4}, connect_timeout=10)


class SageMaker:
    """Backend of jobs on SageMaker.

    job_of: describes the job of a trial's attempt, all that it needs being in S3. stem: what the names of
    all jobs contain. since: seconds since 1970, after which the sweep's jobs were created. anew: number of
    the attempt that begins anew; later ones go on from the checkpoints of the one before.
    """

    def __init__(
        self,
        account: Account,
        job_of: Callable[[Trial, int], TrainingJob],
        stem: str,
        since: float,
        anew: int = 1,
    ) -> None:
        self._account, self._job_of, self._anew = account, job_of, anew
        self._stem, self._since = stem, since - _BEFORE
        self._logs: dict[str, ScoreLog] = {}
        self._read_now: set[str] = set()  # since the last listing, with which a round begins
        self._metrics: dict[str, Mapping[str, float]] = {}
        self._errors = errors()

    def start(self, trial: Trial, attempt: int) -> str:
        """Start a job; NoSlot for a quota or want of capacity, Unsure without an answer, else Refused."""
        try:
            job = self._job_of(trial, attempt)
        except LostAnswer as lost:
            raise Unsure(str(lost)) from lost
        if attempt > self._anew:
            job = self._going_on(job, trial.job_name(attempt - 1))
        try:
            self._account.start(job)
        except self._errors as error:
            fault = fault_of(error)
            if fault is Fault.full:
                raise _no_slot(error, job) from error
            if fault is Fault.lost:
                raise Unsure(said_by(error)) from error
            if fault is Fault.refused:
                raise Refused([Problem(job.name, said_by(error))]) from error
        return job.name

    def listing(self) -> dict[str, JobState]:
        """List the jobs whose names have the sweep's stem, 100 a call."""
        client = self._account.client("sagemaker")
        after = datetime.fromtimestamp(self._since, timezone.utc)
        found: dict[str, JobState] = {}
        self._read_now.clear()
        try:
            pages = client.get_paginator("list_training_jobs").paginate(
                CreationTimeAfter=after, PaginationConfig={"PageSize": 100},
                **({"NameContains": self._stem} if self._stem else {}),
            )  # fmt: skip
            for page in pages:
                for entry in page["TrainingJobSummaries"]:
                    found[entry["TrainingJobName"]] = state_of(entry)
        except self._errors as error:
            raise self._no_answer(error) from error
        return found

    def describe(self, name: str) -> JobState | None:
        """Look up a job, with the reason of its end and its billable seconds."""
        try:
            described = self._account.describe(name)
        except self._errors as error:
            raise self._no_answer(error) from error
        if described is None:
            return None
        last = described.get("FinalMetricDataList", [])
        self._metrics[name] = {m["MetricName"]: m["Value"] for m in last}
        job = state_of(described)
        if job.state is State.stopped:
            job = state_of({**described, "Tags": self._tags(described)})
        if job.created is not None:  # an older job of the same name: listed from now on
            self._since = min(self._since, job.created - 1)
        return job

    def stop(self, name: str, *, pruned: bool = False) -> None:
        """Ask a job to stop; nothing happens if it has ended. A pruned one is tagged for other laptops."""
        if pruned:
            self._mark_pruned(name)
        try:
            self._account.client("sagemaker").stop_training_job(TrainingJobName=name)
        except self._errors as error:
            if fault_of(error) is Fault.lost:
                raise Unsure(said_by(error)) from error
            seen = self.describe(name)
            if seen is not None and seen.state is State.running:
                raise Refused([Problem(name, f"cannot be stopped: {said_by(error)}")]) from error

    def evaluations(self, name: str) -> Sequence[Evaluation]:
        """Read the scores on validation from the job's log, or SageMaker's own last ones without a log."""
        log = self._read(name)
        found = {
            line.step: Evaluation(line.step, line.total_steps, line.values)
            for line in log.scores
            if line.step is not None and line.total_steps is not None
        }
        last = {
            metric.removeprefix("validation:"): value
            for metric, value in self._metrics.get(name, {}).items()
            if metric.startswith("validation:")
        }
        if not found and last:
            return [Evaluation(0, 0, last)]
        return [found[step] for step in sorted(found)]

    def first_step(self, name: str) -> float | None:
        """Tell the time of the first line of training in what was read of the job's log."""
        log = self._logs.get(name)
        return log.began if log else None

    def progress(self, name: str) -> Logged | None:
        """Return the last line of training in the job's log; None if there is none."""
        return self._read(name).training

    def _going_on(self, job: TrainingJob, before: str) -> TrainingJob:
        """Let a job go on from the checkpoints of the attempt before, as AWS tells its request."""
        try:
            asked = self._account.request_of(before)
        except self._errors as error:
            raise self._no_answer(error) from error
        return continued(job, asked)

    def _mark_pruned(self, name: str) -> None:
        """Tag a job as ended for its scores, if that is allowed and answered; the ledger knows it, too."""
        client = self._account.client("sagemaker")
        with suppress(*self._errors):
            arn = client.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
            client.add_tags(ResourceArn=arn, Tags=[{"Key": PRUNED_TAG, "Value": "true"}])

    def _tags(self, described: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
        """Ask for the tags of a job; none are told without the right to list them."""
        client = self._account.client("sagemaker")
        try:
            found = client.list_tags(ResourceArn=described["TrainingJobArn"])
        except self._errors as error:
            if fault_of(error) is Fault.lost and not _denied(error):
                raise Unsure(said_by(error)) from error
            return []
        tags: Sequence[Mapping[str, str]] = found["Tags"]
        return tags

    def _read(self, name: str) -> ScoreLog:
        log = self._logs.setdefault(name, ScoreLog(self._account.client("logs"), name))
        if name in self._read_now:
            return log
        try:
            log.read_on()
            self._read_now.add(name)
        except self._errors as error:
            if fault_of(error) is Fault.lost:
                raise Unsure(said_by(error)) from error
        return log

    def _no_answer(self, error: Exception) -> Exception:
        """Tell a call that may be made again from one that will never be answered."""
        if fault_of(error) is Fault.lost and not _denied(error):
            return Unsure(said_by(error))
        fix = "aws sso login, or AWS_PROFILE=...; the jobs that run go on, the same command goes on"
        return Refused([Problem("AWS", said_by(error), fix)])


def _denied(error: Exception) -> bool:
    code = error_of(error).get("Code", "")
    return code.startswith(("AccessDenied", "Unrecognized", "Expired", "InvalidClient"))


def _no_slot(error: Exception, job: TrainingJob) -> Exception:
    """Tell a quota that is used up from one that the job never fits."""
    found = _LIMIT.search(said_by(error))
    if found is None:
        return NoSlot(said_by(error))
    limit, asked = int(found[1]), max(1, int(found[2]))
    if limit < asked:
        what = f"needs {asked} instances, and the quota is {limit}: {said_by(error)}"
        fix = "a higher quota (Service Quotas), another cluster=..., or fewer cluster.nodes"
        return Refused([Problem(f"{job.instance_type} in {job.region}", what, fix, check="quota")])
    return NoSlot(f"the quota of {job.instance_type} is {limit}", limit // asked)
