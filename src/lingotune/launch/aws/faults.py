"""Errors of calls to AWS, by what they mean for the call: refused, too early, or perhaps done."""

from __future__ import annotations

from enum import Enum
from typing import Any

_TAKEN = ("ResourceInUse",)
_FULL = ("ResourceLimitExceeded", "CapacityError", "InsufficientCapacity")
_THROTTLED = (
    "Throttl", "TooManyRequests", "RequestLimitExceeded", "RequestThrottled", "SlowDown",
    "PriorRequestNotComplete", "TransactionInProgress", "RequestTimeout", "InternalFailure",
    "InternalError", "InternalServerError", "ServiceUnavailable",
)  # fmt: skip
"""Beginnings of error codes."""


class Fault(Enum):
    """Kind of an error.

    taken: the name is that of a job already. full: a quota or missing capacity is in the way. lost: AWS has
    not answered, or not yet: the call may have had its effect. refused: it has had none, and will not.
    """

    taken = "taken"
    full = "full"
    lost = "lost"
    refused = "refused"


def errors() -> tuple[type[Exception], ...]:
    """Return the classes of errors that calls raise; imports botocore."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError


def error_of(error: Exception) -> dict[str, str]:
    """Return `Code` and `Message` of AWS's answer; empty where none came (a lost connection has none)."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return response.get("Error") or {}


def fault_of(error: Exception) -> Fault:
    """Tell the kind of an error of `errors`.

    An error of a call that only looks says nothing about the one before it, e.g. DescribeTrainingJob, by
    which an SDK looks at the job that it has just started.
    """
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
    from botocore.parsers import ResponseParserError

    # no connection: an attempt before it may have had one
    if isinstance(error, (HTTPClientError, ConnectionError, ResponseParserError)):
        return Fault.lost
    if not isinstance(error, ClientError):
        return Fault.refused  # no credentials, no region: nothing was sent
    code = error_of(error).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    if status >= 500 or code.startswith(_THROTTLED) or error.operation_name.startswith("Describe"):
        return Fault.lost
    if code.startswith(_TAKEN):
        return Fault.taken
    return Fault.full if code.startswith(_FULL) else Fault.refused


def sent_before(error: Exception) -> bool:
    """Tell whether botocore had sent the same call before, and got no answer that it took for one."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return bool(response.get("ResponseMetadata", {}).get("RetryAttempts"))


def said_by(error: Exception) -> str:
    """Write what AWS said, or that it said nothing."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        said = error_of(error)
        told = f"{said.get('Code', 'unknown')}: {said.get('Message', '')}"
        return f"AWS refused {error.operation_name}: {told}"
    return f"no answer from AWS: {error}"
