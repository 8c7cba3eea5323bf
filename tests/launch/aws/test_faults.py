"""What errors of AWS mean for the call that they answer."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from lingotune.launch.aws.faults import Fault, fault_of, said_by, sent_before


def told(
    code: str, status: int = 400, operation: str = "CreateTrainingJob", again: int = 0
) -> Exception:
    said = {
        "Error": {"Code": code, "Message": "so it is"},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": again},
    }
    return ClientError(said, operation)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (told("ResourceInUse"), Fault.taken),
        (told("ResourceLimitExceeded"), Fault.full),
        (told("ThrottlingException"), Fault.lost),
        (told("InternalFailure", 500), Fault.lost),
        (told("Anything", 503), Fault.lost),
        (told("ValidationException"), Fault.refused),
        (told("AccessDeniedException"), Fault.refused),
        (told("AccessDeniedException", operation="DescribeTrainingJob"), Fault.lost),
        (ReadTimeoutError(endpoint_url="https://aws"), Fault.lost),
        (ConnectTimeoutError(endpoint_url="https://aws"), Fault.lost),
        (EndpointConnectionError(endpoint_url="https://aws"), Fault.lost),
        (ResponseParserError("a proxy's page"), Fault.lost),
        (NoCredentialsError(), Fault.refused),
    ],
)
def test_each_error_has_its_kind(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault


def test_what_aws_said_is_told_as_it_is() -> None:
    assert said_by(told("Odd")) == "AWS refused CreateTrainingJob: Odd: so it is"
    assert said_by(NoCredentialsError()).startswith("no answer from AWS: ")


def test_a_call_that_botocore_has_sent_again_is_known() -> None:
    assert sent_before(told("ResourceInUse", again=1)) and not sent_before(told("ResourceInUse"))
    assert not sent_before(NoCredentialsError())
