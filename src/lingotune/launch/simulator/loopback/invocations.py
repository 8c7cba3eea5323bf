"""Requests to endpoints, as SageMaker's runtime takes them: at once, or from S3."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from lingotune.launch.simulator.loopback.hosting import Hosting
from lingotune.launch.simulator.loopback.refusal import Refusal
from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.launch.simulator.serving.endpoint import Answer

_PATH = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations)")
_JSON = "application/json"


def invocation(environ: Mapping[str, Any], hosting: Hosting) -> Response | None:
    """Answer a request to an endpoint; None if the call is another."""
    path = _PATH.fullmatch(environ.get("PATH_INFO", ""))
    if path is None or environ["REQUEST_METHOD"] != "POST":
        return None
    request = Request(dict(environ))
    try:
        if path[2] == "invocations":
            return _at_once(request, path[1], hosting)
        return _later(request, path[1], hosting)
    except Refusal as refusal:
        return _error(refusal.code, {"Message": str(refusal)}, 400)
    except StageFailed as failed:
        return _model_error(path[1], 500, failed.what)


def _at_once(request: Request, name: str, hosting: Hosting) -> Response:
    kind, accept = request.headers.get("Content-Type", _JSON), request.headers.get("Accept", "*/*")
    answer = hosting.invoke(name, request.get_data(), kind, accept)
    if answer.status != 200:
        return _model_error(name, answer.status, told(answer))
    headers = {"x-Amzn-Invoked-Production-Variant": "AllTraffic"}
    return Response(answer.body, 200, headers, content_type=answer.kind)


def _later(request: Request, name: str, hosting: Hosting) -> Response:
    given = {key.lower().removeprefix("x-amzn-sagemaker-"): value for key, value in request.headers}
    kind, accept = given.get("content-type", _JSON), given.get("accept", "*/*")
    queued = hosting.invoke_later(name, given["inputlocation"], kind, accept)
    headers = {
        f"X-Amzn-SageMaker-{name}": queued[name] for name in ("OutputLocation", "FailureLocation")
    }
    body = json.dumps({"InferenceId": queued["InferenceId"]})
    return Response(body, 202, headers, content_type=_JSON)


def told(answer: Answer) -> str:
    """Read what a container says of a request that it refuses."""
    text = answer.body.decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text


def _model_error(name: str, status: int, message: str) -> Response:
    what = f"Received client error ({status}) from primary with message {message!r}."
    body = {"Message": what, "OriginalMessage": message, "OriginalStatusCode": status}
    logs = f"/aws/sagemaker/Endpoints/{name}"
    return _error("ModelError", {**body, "LogStreamArn": logs}, 424)


def _error(code: str, body: Mapping[str, Any], status: int) -> Response:
    headers = {"x-amzn-ErrorType": code}
    return Response(json.dumps(body), status, headers, content_type=_JSON)
