"""Answers of AWS for commands that need them, or an error that says why there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.launch.aws.account.calls import Calls, Unanswered, connect

T = TypeVar("T")


def connected(region: str | None) -> Calls:
    """Connect to AWS in a region; ConfigError if none is named or AWS does not answer."""
    try:
        return answered("AWS", lambda: connect(region))
    except ConfigError as error:
        if error.problems[0].check != "region-missing":
            raise
        what = "is needed: this machine names no AWS region"
        raise ConfigError([Problem("--region", what, "--region us-east-1")]) from error


def answered(what: str, question: Callable[[], T]) -> T:
    """Return the answer; ConfigError with the reason if there is none."""
    try:
        return question()
    except (Unanswered, KeyError, ValueError) as reason:
        lack = "the answer lacks " if isinstance(reason, KeyError) else ""
        fix = "aws configure, aws sso login or AWS_PROFILE=...; rights that allow to ask"
        raise ConfigError(
            [Problem(what, f"no answer from AWS: {lack}{reason}", fix, code=CLOUD_FAILED)]
        ) from reason


def or_reason(question: Callable[[], T], what: str) -> tuple[T | None, list[str]]:
    """Return the answer, or None and a line that says why there is none."""
    try:
        return question(), []
    except (Unanswered, KeyError) as reason:
        return None, [f"{what} unknown: {reason}"]
