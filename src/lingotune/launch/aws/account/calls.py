"""Calls to AWS that change nothing, with time limits. Every call of `action=check` goes through here.

A call ends in one of three ways: an answer, an error that the check expects (`Refused`, e.g. there is no
such role), or no answer (`Unanswered`: not allowed or not reachable), which skips the check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem

Response = dict[str, Any]
"""Answer of a service, or an object in it, as boto3 returns it."""
Answer = str | Problem
"""Result of a check: a line that says what is fine, or a problem."""
READ_ONLY = ("describe_", "filter_", "get_", "head_", "list_", "search", "simulate_")
"""Prefixes of the operations that may be called, as boto3 spells them."""
WORKERS = 8
"""Number of calls at the same time."""
_LIMITS = {"connect_timeout": 5, "read_timeout": 15}  # seconds
# Adaptive: throttled calls wait and are repeated. Three attempts, to give up a dead endpoint in time.
_RETRIES = {"mode": "adaptive", "total_max_attempts": 3}
# The permission mostly has the name of the operation, but not in S3.
_RIGHTS = {"HeadBucket": "s3:ListBucket", "ListObjectsV2": "s3:ListBucket"}
_DENIED = ("AccessDenied", "UnauthorizedOperation", "AuthorizationError", "403")
_LONGEST_REASON = 240  # characters

T = TypeVar("T")
R = TypeVar("R")


class Unanswered(Exception):
    """AWS has not answered; the text says why."""


class Refused(Exception):
    """AWS answered with an error that the check expects.

    code, message: AWS's. headers: of the HTTP response, in lower case.
    """

    def __init__(self, code: str, message: str, headers: dict[str, str]) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.headers = code, message, headers


class Calls:
    """Read-only calls with this machine's credentials, in one region. Threads may share it."""

    def __init__(self, session: Any) -> None:
        self.region: str = session.region_name
        self._session = session
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = Lock()  # sessions, unlike clients, must not be shared

    def ask(
        self,
        service: str,
        operation: str,
        known: tuple[str, ...] = (),
        *,
        region: str = "",
        **parameters: Any,
    ) -> Response:
        """Make a call and return the response.

        known: beginnings of the error codes that raise Refused; any other error raises Unanswered. region:
        where it is asked; '' = in the job's.
        """
        assert operation.startswith(READ_ONLY), operation
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            client = self.client(service, region)
            answer: Response = getattr(client, operation)(**parameters)
            return answer
        except ClientError as error:
            said = error.response.get("Error", {})
            code, message = said.get("Code", "unknown"), said.get("Message", "")
            if known and code.startswith(known):
                headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
                raise Refused(code, message, headers) from error
            raise Unanswered(self._reason(service, error.operation_name, code, message)) from error
        except BotoCoreError as error:
            raise Unanswered(_one_line(f"{service}: {error}")) from error
        except ResponseParserError as error:
            raise Unanswered(f"{service}: the answer is not in AWS's form; a proxy's?") from error

    def client(self, service: str, region: str = "") -> Any:
        """Return the client of a service, the same for every call."""
        from botocore.config import Config

        region = region or self.region
        with self._lock:
            if (service, region) not in self._clients:
                config = Config(retries=_RETRIES, **_LIMITS)
                made = self._session.client(service, region_name=region, config=config)
                self._clients[service, region] = made
            return self._clients[service, region]

    def _reason(self, service: str, operation: str, code: str, message: str) -> str:
        prefix = self.client(service).meta.service_model.signing_name
        right = _RIGHTS.get(operation, f"{prefix}:{operation}")
        if code.startswith(_DENIED):
            return f"not allowed to ask ({code} {right})"
        return _one_line(f"not answered ({code} {right}: {message})")


def connect(region: str | None) -> Calls:
    """Find credentials and region as boto3 does, without asking a service.

    Unanswered if the library or credentials are missing here. ConfigError if the credentials cannot be
    used, or there is no region.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    except ImportError as error:
        fix = "pip install 'lingotune[launch]'"
        raise Unanswered(f"the AWS libraries are not installed ({error}): {fix}") from error
    try:
        session = boto3.Session(region_name=region)
        credentials = session.get_credentials()
        if credentials is None:
            raise Unanswered("no AWS credentials on this machine")
        credentials.get_frozen_credentials()  # fetches those of a role or single sign-on
    except HTTPClientError as error:
        raise Unanswered(_one_line(f"no answer about the credentials: {error}")) from error
    except (BotoCoreError, ClientError) as error:
        raise ConfigError([unusable(str(error))]) from error
    if session.region_name is None:
        what = "is needed: neither the config nor this machine names one"
        why = "role and bucket may be anywhere, jobs and quotas belong to a region"
        raise ConfigError(
            [Problem("aws.region", what, "aws.region=us-east-1", check="region-missing", why=why)]
        )
    return Calls(session)


def unusable(reason: str) -> Problem:
    """Make the finding that this machine's credentials cannot be used."""
    fix = "aws sso login or aws configure; AWS_PROFILE=... chooses other credentials"
    what, why = f"cannot be used: {_one_line(reason)}", "every call to AWS is signed with them"
    return Problem("AWS credentials", what, fix, check="credentials", why=why, code=CLOUD_FAILED)


def each(question: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Ask a question about each item, WORKERS at a time; returns the answers in the order of the items.

    The first is asked alone, so that a service that does not answer costs the wait only once.
    """
    yield from map(question, items[:1])
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(question, items[1:])


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[:_LONGEST_REASON] + "..."
