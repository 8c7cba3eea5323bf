"""Jobs of a sweep that are started again: from their checkpoints, unless they have other code.

And those that are not, as the sweep has ended them for their scores.
"""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from described import described
from pretend import Account, Course, pretending
from submitting import (  # noqa: F401  fixtures
    NAMES,
    SHORT,
    brisk,
    busy,
    names,
    other_code,
    states,
    stop_all,
    submitted,
    tags_of,
)
from waiting import wait_until

from lingotune.cli import launch
from lingotune.config.schema import AwsConfig, RehearsalConfig
from lingotune.launch.aws import connection
from lingotune.launch.aws.job_logs import GROUP
from lingotune.launch.render.request import to_request
from lingotune.launch.render.training_job import TrainingJob, renamed
from lingotune.launch.simulator.loopback import standing
from lingotune.launch.simulator.loopback.fake_account import REGION
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.sweeps.continuation import continued
from lingotune.launch.sweeps.queue import backend_of
from lingotune.launch.sweeps.trial import Trial

pytestmark = pytest.mark.usefixtures("brisk")
TWO = ["-m", "cluster=p3_16xl", "lr=1e-4,2e-4", "sweep.name=two", *NAMES, "--detach"]


def place(job: Any) -> str:
    return str(job.request["CheckpointConfig"]["S3Uri"]).rpartition("/")[2]


# --- from where a job goes on --------------------------------------------------------------------


def test_a_job_goes_on_where_code_and_inputs_are_the_same() -> None:
    first = described("cluster=p3_16xl")
    second, before = renamed(first, f"{first.name}-2"), to_request(first)
    assert continued(second, before).checkpoint_uri == first.checkpoint_uri
    assert continued(second, before).name == second.name
    third = renamed(first, f"{first.name}-3")
    after = to_request(continued(second, before))
    assert continued(third, after).checkpoint_uri == first.checkpoint_uri


@pytest.mark.parametrize(
    ("changed", "before"),
    [
        ({"code_uri": "s3://example-bucket/code/other/sourcedir.tar.gz"}, {}),
        ({"channels": (("config", "s3://example-bucket/lingotune/jobs/other/"),)}, {}),
        ({"checkpoint_uri": None}, {}),
        ({}, {"CheckpointConfig": {}}),
    ],
    ids=["other code", "other job file", "none are kept", "none were kept"],
)
def test_otherwise_it_begins_anew(changed: dict[str, Any], before: dict[str, Any]) -> None:
    first = described("cluster=p3_16xl")
    second = replace(renamed(first, f"{first.name}-2"), **changed)
    assert continued(second, {**to_request(first), **before}) == second
    assert continued(second, None) == second


class Told(connection.Account):
    """An account of the calls that are its answers: what a name was asked for with."""

    def __init__(self, aws: AwsConfig) -> None:
        super().__init__(boto3.Session(), aws)
        self.requests: dict[str, Mapping[str, Any]] = {}

    def start(self, job: TrainingJob) -> None:
        self.requests[job.name] = to_request(job)

    def client(self, service: str) -> Any:
        return self

    def describe_training_job(self, TrainingJobName: str) -> Mapping[str, Any]:
        return self.requests[TrainingJobName]

    def list_service_jobs(self, jobQueue: str, filters: Any) -> Any:
        wanted = filters[0]["values"]
        return {"jobSummaryList": [{"jobId": n} for n in self.requests if n in wanted]}

    def describe_service_job(self, jobId: str) -> Any:
        return {"serviceRequestPayload": json.dumps(self.requests[jobId])}


@pytest.mark.parametrize("queue", [None, "q"])
def test_all_once_more_begins_anew_and_retries_go_on_from_there(queue: str | None) -> None:
    """In a queue, too, where no training job has the name."""
    first = described("cluster=p3_16xl")
    trial, account = Trial(1, {}, (), "0" * 64, first.name), Told(AwsConfig(queue=queue))

    def job_of(trial: Trial, attempt: int) -> TrainingJob:
        return renamed(first, trial.job_name(attempt))

    for attempt, anew in [(1, 1), (2, 1), (5, 5), (6, 1), (7, 1)]:
        backend_of(account, "", 0.0, job_of, anew).start(trial, attempt)
    places = [str(job["CheckpointConfig"]["S3Uri"])[-2:] for job in account.requests.values()]
    assert places == [first.name[-2:]] * 2 + ["-5"] * 3


# --- through the command line --------------------------------------------------------------------


def test_stopped_jobs_go_on_from_their_checkpoints_and_with_new_code_they_begin_anew(
    busy: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(tmp_path, *TWO)
    stop_all(busy)
    submitted(tmp_path, *TWO, "retry=stopped")
    first, second, *again = sorted(busy.jobs, key=lambda job: len(job.name))
    assert sorted(map(place, again)) == sorted([first.name, second.name])
    stop_all(busy)
    monkeypatch.setattr(launch, "bundle_of", lambda configs: other_code())
    submitted(tmp_path, *TWO, "retry=stopped", "code=new")
    third = [job for job in busy.jobs if job.name.endswith("-3")]
    assert [place(job) for job in third] == [job.name for job in third] and len(third) == 2
    assert {tags_of(job)["lingotune:code-sha256"] for job in third} == {other_code().digest}


ANY = ["cluster=p3_2xl", "model=tiny", "data.sample.train_rows=40", "epochs=5000", *NAMES]


def log_of(name: str) -> str:
    """Read what a job has written so far."""
    logs = boto3.client("logs", region_name=REGION)
    with suppress(logs.exceptions.ResourceNotFoundException):
        found = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")
        for stream in found["logStreams"]:
            where = {"logGroupName": GROUP, "logStreamName": stream["logStreamName"]}
            events = logs.get_log_events(**where, startFromHead=True)["events"]
            return "\n".join(event["message"] for event in events)
    return ""


@pytest.mark.slow
def test_a_training_that_is_stopped_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """It is stopped once it has evaluated, and so kept a checkpoint; the retry goes on behind that."""
    rehearsal = RehearsalConfig(ranks=1, steps=None, rows=None)
    words = ["-m", "seed=1,2", "sweep.name=two", "sweep.max_parallel=1", *ANY, "--detach"]
    with standing.account(standing.Settings(rehearsal=rehearsal), print) as (_, jobs):
        submitted(tmp_path, *words)
        (first,) = [job.name for job in jobs]
        wait_until(lambda: "validation: " in log_of(first))
        jobs.stop(first)
        wait_until(lambda: jobs.get(first).over)
        submitted(tmp_path, *words, "retry=stopped")
        again = next(job.name for job in jobs if job.name == f"{first}-2")
        wait_until(lambda: "resuming at step " in log_of(again), lambda: not jobs.get(again).over)
        assert "resuming at step 0 " not in log_of(again)


# --- what is ended for its scores ----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "search", [["sweep.search=tpe", "sweep.trials=4"], []], ids=["tpe", "grid"]
)
def test_scores_end_hopeless_jobs_early_and_no_laptop_takes_them_up(
    search: list[str], tmp_path: Path
) -> None:
    axis = "lr=tag(log,interval(1e-4,1e-3))" if search else "lr=8e-4,4e-4,2e-4,1e-4"
    words = ["-m", "cluster=p3_16xl", axis, "sweep.name=early", *NAMES, *search]
    words += ["sweep.prune=asha", "sweep.min_evaluations=1", "sweep.reduction=2", "epochs=8"]

    def course(asked: Any) -> Course:
        """In the grid, whose best come first, hopeless ones go on until they are stopped."""
        best = asked.config.lr > 3e-4
        hangs = 1 if not (best or search) else None
        scores = [0.9 if best else 0.1] * 8
        return replace(SHORT, scores=scores, evaluation_time=1.0, hangs_after=hangs)

    with pretending(course, quotas=Quotas(2)) as account:
        submitted(tmp_path / "a", *words, "--follow")
        found, ends = account.audit(), states(tmp_path / "a", "early")
        pruned = [n for n, end in enumerate(ends, 1) if end == "pruned"]
        tagged = [tags_of(j) for j in account.jobs if "lingotune:pruned" in tags_of(j)]
        assert sorted(int(tags["lingotune:trial"]) for tags in tagged) == pruned
        submitted(tmp_path / "b", *words, "--detach", "retry=stopped")
        assert states(tmp_path / "b", "early") == ends and len(names(account)) == 4
    assert len(ends) == 4 and set(ends) <= {"completed", "pruned"} and "completed" in ends
    assert found.twice == {} and not found.running and found.peak["ml.p3.16xlarge"] <= 2
    assert search or (pruned == [3, 4] and len(found.after_stop) == 2)
