"""Calls about training jobs, with the errors that a user has to hear of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.launch.aws.account.answers import connected
from lingotune.launch.aws.account.calls import Calls, Refused, Unanswered, each
from lingotune.launch.operations.remote import NAME_TAG, Remote, remote_of
from lingotune.launch.render.sweep_tags import SWEEP_TAG
from lingotune.launch.sweeps.job_states import state_of
from lingotune.launch.sweeps.trial import JobState

_UNKNOWN = ("ValidationException", "ResourceNotFound")
_PAGE = 100
"""Jobs of a page, the most that SageMaker allows."""
MOST_PAGES = 100
"""Pages of a listing or a search, newest jobs first; what is older is left out."""
PATIENCE = 300.0
"""Seconds for which answers may be missing while jobs are followed."""

T = TypeVar("T")


class Account:
    """Training jobs of one account and region. Threads may share it.

    Methods raise Unanswered where AWS does not answer.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.answered_at: float | None = None
        """When the last page of a listing or a search came, by AWS's clock; None before."""

    @property
    def region(self) -> str:
        """AWS region in which it looks."""
        return self.calls.region

    def describe(self, name: str, *, tags: bool = False) -> Remote | None:
        """Describe a job, with its tags if they are asked for; None if there is none with this name."""
        try:
            told = self.calls.ask(
                "sagemaker", "describe_training_job", _UNKNOWN, TrainingJobName=name
            )
        except Refused:
            return None
        if tags:
            arn = told["TrainingJobArn"]
            with suppress(Unanswered):  # what varies is left out
                told = {**told, **self.calls.ask("sagemaker", "list_tags", ResourceArn=arn)}
        return remote_of(told)

    def describe_all(self, names: Sequence[str], *, tags: bool = False) -> dict[str, Remote]:
        """Describe several jobs at a time; unknown names are left out."""
        found = each(partial(self.describe, tags=tags), list(names))
        return {job.name: job for job in found if job is not None}

    def listing(
        self, contains: str = "", *, modified_after: float | None = None
    ) -> dict[str, JobState]:
        """List jobs by name, newest first.

        contains: part of their names. modified_after: when their status has changed, in seconds since 1970.
        """
        asked: dict[str, Any] = {"SortBy": "CreationTime", "SortOrder": "Descending"}
        if modified_after is not None:
            asked["LastModifiedTimeAfter"] = datetime.fromtimestamp(modified_after, timezone.utc)
        if contains:
            asked["NameContains"] = contains
        pages = self._pages("list_training_jobs", "TrainingJobSummaries", asked)
        return {entry["TrainingJobName"]: state_of(entry) for entry in pages}

    def search(
        self,
        tags: Mapping[str, str],
        most: int = _PAGE * MOST_PAGES,
        *,
        runs: bool = False,
    ) -> list[Remote]:
        """Find the newest jobs of lingotune with these tags, each as DescribeTrainingJob tells it.

        runs: only those in progress.
        """
        filters = [_tagged(NAME_TAG, "Exists")]
        filters += [_tagged(key, "Equals", Value=value) for key, value in tags.items()]
        if runs:
            filters.append(
                {"Name": "TrainingJobStatus", "Operator": "Equals", "Value": "InProgress"}
            )
        return [remote_of(told) for told in islice(self._found(filters), most)]

    def sweeps(self, part: str) -> dict[str, list[str]]:
        """List the sweeps whose names contain a text, newest first, with the names of their jobs."""
        sweeps: dict[str, list[str]] = {}
        for told in self._found([_tagged(SWEEP_TAG, "Contains", Value=part)]):
            job = remote_of(told)
            sweeps.setdefault(job.sweep, []).append(job.name)
        return sweeps

    def _found(self, filters: Sequence[Mapping[str, str]]) -> Iterator[Mapping[str, Any]]:
        asked = {
            "Resource": "TrainingJob",
            "SearchExpression": {"Filters": filters},
            "SortBy": "CreationTime",
            "SortOrder": "Descending",
        }
        return (entry["TrainingJob"] for entry in self._pages("search", "Results", asked))

    def _pages(
        self, operation: str, field: str, asked: Mapping[str, Any]
    ) -> Iterator[Mapping[str, Any]]:
        token: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            answer = self.calls.ask("sagemaker", operation, MaxResults=_PAGE, **asked, **token)
            self.answered_at = _date_of(answer) or self.answered_at
            yield from answer[field]
            if not answer.get("NextToken"):
                return
            token = {"NextToken": answer["NextToken"]}


def _date_of(answer: Mapping[str, Any]) -> float | None:
    date = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date", "")
    with suppress(ValueError):  # none, or a proxy's
        return parsedate_to_datetime(date).timestamp()
    return None


def _tagged(tag: str, operator: str, **value: str) -> dict[str, str]:
    return {"Name": f"Tags.{tag}", "Operator": operator, **value}


def open_account(region: str | None) -> Account:
    """Connect to a region, by default that of this machine; ConfigError if that is not possible."""
    return Account(connected(region))


def asked_of(where: str, question: Callable[[], T]) -> T:
    """Return an answer of AWS; ConfigError, of `where`, with the reason and a remedy if there is none."""
    try:
        return question()
    except Unanswered as reason:
        raise ConfigError([unanswered(where, str(reason))]) from reason


def unanswered(where: str, reason: str) -> Problem:
    """Make the problem of a question that AWS has not answered."""
    fix = "aws configure, aws sso login or AWS_PROFILE=..."
    if "not allowed to ask" in reason:
        fix = "that permission for whoever AWS_PROFILE names"
    elif "Throttling" in reason or "TooManyRequests" in reason or "SlowDown" in reason:
        fix = "the same command in a minute: others ask AWS at the same time"
    elif "ould not connect" in reason or "timeout" in reason.lower():
        fix = "a network line to AWS, then the same command; --region NAME"
    return Problem(
        where, f"no answer from AWS: {reason}", fix, check="aws-unanswered", code=CLOUD_FAILED
    )
