"""An AWS on loopback: moto's server behind a proxy that records every call on the wire and can be told
to answer some operations itself (what moto cannot do, and every kind of refusal)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer
from waiting import PATIENCE

_HOP = {"connection", "transfer-encoding", "content-length", "server", "date", "keep-alive"}
_FORM, _JSON, _XML = "application/x-www-form-urlencoded", "application/x-amz-json-1.1", "text/xml"


@dataclass(frozen=True)
class Call:
    """One request: service and region that it is signed for, operation, parameters of its body."""

    service: str
    region: str
    operation: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; a refusal (`code`) is written in the protocol of the service that is asked."""

    body: str = ""
    status: int = 200
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Reply | Callable[[Call], Reply]


def answer(**body: Any) -> Reply:
    """An answer of a service that speaks JSON."""
    return Reply(json.dumps(body))


def refusal(
    code: str, message: str = "told by the test", status: int = 400, **headers: str
) -> Reply:
    """An error of the service, whatever its protocol."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(message, status, code, named)


class Front:
    """The address to call, what was called, and what the test has it answer in moto's place."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, list[Answer]] = {}
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    self.raw_requestline = self.rfile.readline(65537)
                    if not self.raw_requestline or not self.parse_request():
                        self.close_connection = True
                        return
                    front._handle(self, upstream)
                    self.wfile.flush()
                except ConnectionError:  # the client has gone, as if killed
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def tell(self, operation: str, *answers: Answer) -> None:
        """Answer an operation here, from now on: in this order, the last for ever."""
        self.answers[operation] = list(answers)

    def operations(self) -> list[str]:
        """Names of the operations called, in the API's spelling."""
        return [call.operation for call in self.calls]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler, upstream: tuple[str, int]) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        call = _call(request, body)
        self.calls.append(call)
        told = self.answers.get(call.operation)
        if told is None:
            self.answer(request, body, call, upstream)
            return
        chosen = told.pop(0) if len(told) > 1 else told[0]
        reply_to(request, chosen if isinstance(chosen, Reply) else chosen(call), call)

    def answer(
        self, request: BaseHTTPRequestHandler, body: bytes, call: Call, upstream: tuple[str, int]
    ) -> None:
        """Answer a call that the test has not told: as the server behind does."""
        status, headers, content = forward(
            request.command, request.path, request.headers, body, upstream
        )
        _send(request, status, headers, content)


def reply_to(request: BaseHTTPRequestHandler, reply: Reply, call: Call) -> None:
    """Send a reply."""
    _send(request, reply.status, *_written(reply, call, request))


def _call(request: BaseHTTPRequestHandler, body: bytes) -> Call:
    signed = re.search(
        r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", request.headers["Authorization"] or ""
    )
    region, service = signed.groups() if signed else ("", "")
    url = urlsplit(request.path)
    target, kind = request.headers.get("X-Amz-Target"), request.headers.get("Content-Type", "")
    parameters: dict[str, Any] = {}
    if kind.startswith(_FORM):
        parameters = {key: values[0] for key, values in parse_qs(body.decode()).items()}
    elif service != "s3" and body.startswith(b"{"):
        parameters = json.loads(body)
    if target:
        operation = target.rpartition(".")[2]
    elif "Action" in parameters:
        operation = parameters["Action"]
    else:
        operation = _rest_operation(request.command, url.path, url.query)
    return Call(service, region, operation, parameters)


def _rest_operation(method: str, path: str, query: str) -> str:
    if method == "HEAD" and "/" not in path.strip("/"):
        return "HeadBucket"
    if method == "GET" and "list-type=2" in query:
        return "ListObjectsV2"
    return {"/v1/describejobqueues": "DescribeJobQueues"}.get(path, f"{method} {path}")


def _written(
    reply: Reply, call: Call, request: BaseHTTPRequestHandler
) -> tuple[dict[str, str], bytes]:
    """Headers and body in the protocol of the service."""
    body, headers = reply.body, dict(reply.headers)
    if reply.code:
        error = f"<Error><Code>{reply.code}</Code><Message>{body}</Message></Error>"
        body = {
            "s3": error,
            "iam": f"<ErrorResponse>{error}</ErrorResponse>",
            "sts": f"<ErrorResponse>{error}</ErrorResponse>",
            "ec2": f"<Response><Errors>{error}</Errors></Response>",
        }.get(call.service, json.dumps({"__type": reply.code, "message": body}))
    headers.setdefault("Content-Type", _XML if body.startswith("<") else _JSON)
    return headers, b"" if request.command == "HEAD" else body.encode()


def _send(
    request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    has_date = any(name.lower() == "date" for name in headers)
    (request.send_response_only if has_date else request.send_response)(status)
    for name, value in headers.items():
        if name.lower() not in _HOP:
            request.send_header(name, value)
    length = next((v for k, v in headers.items() if k.lower() == "content-length"), None)
    is_head = request.command == "HEAD"  # tells the length of what it does not send
    request.send_header("Content-Length", length if is_head and length else str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def forward(
    method: str, path: str, headers: Message, body: bytes, upstream: tuple[str, int]
) -> tuple[int, dict[str, str], bytes]:
    """Make a call of the server behind; returns status, headers and content of its answer."""
    connection = HTTPConnection(*upstream, timeout=PATIENCE)
    connection.request(method, path, body, dict(headers.items()))
    got = connection.getresponse()
    content = got.read()
    connection.close()
    return got.status, dict(got.getheaders()), content


@contextmanager
def moto_server() -> Iterator[tuple[str, int]]:
    """moto's server on a free port: host and port."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()
    finally:
        server.stop()


ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
"""A role of moto's account, once `ready_account` has made it."""


def ready_account(front: Front, upstream: tuple[str, int], bucket: str) -> None:
    """An empty account but for this bucket and the role, as boto3 finds it; nothing recorded yet."""
    reset = Request("http://{}:{}/moto-api/reset".format(*upstream), method="POST")
    urlopen(reset, timeout=PATIENCE).close()  # moto keeps its state between servers
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
    boto3.client("iam", region_name="us-east-1").create_role(
        RoleName=ROLE.rpartition("/")[2],
        AssumeRolePolicyDocument=json.dumps({"Statement": [statement]}),
    )
    # moto has neither quotas nor simulated policies.
    front.tell("ListServiceQuotas", refusal("AccessDeniedException"))
    front.tell("SimulatePrincipalPolicy", refusal("AccessDenied", status=403))
    front.calls.clear()


@contextmanager
def s3_in_front(
    moto: tuple[str, int], folder: Path, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> Iterator[Front]:
    """Make S3 answer from moto, and note what it is asked, with a cache in a folder and a bucket."""
    found = Front(moto)
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    point_boto_at(found.address, monkeypatch, folder, AWS_MAX_ATTEMPTS="1", **keys)
    monkeypatch.setenv("LINGOTUNE_CACHE", str(folder / "cache"))
    ready_account(found, moto, bucket)
    try:
        yield found
    finally:
        found.close()


def point_boto_at(
    address: str, monkeypatch: pytest.MonkeyPatch, nowhere: Path, **environment: str
) -> None:
    """Let boto3 know this address, these variables and nothing else of the machine."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN",
                 "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(nowhere / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(nowhere / "credentials"),
        **environment,
    }.items():
        monkeypatch.setenv(name, value)
