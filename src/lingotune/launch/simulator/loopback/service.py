"""The service on a loopback port: calls about training jobs are answered here, all others by moto."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from lingotune.launch.simulator.loopback.jobs import Fields, Jobs, Refusal

Operation = Callable[[Fields, str], Fields]


class Service:
    """WSGI application with the calls that a training job needs; names and fields are the API's."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._others = DomainDispatcherApplication(create_backend_app)
        # moto keeps its state in the process; an account begins empty.
        Client(self._others).post("/moto-api/reset", headers={"Host": "moto_api"})
        self._operations: dict[str, Operation] = {
            "SageMaker.CreateTrainingJob": self._create,
            "SageMaker.DescribeTrainingJob": self._describe,
            "SageMaker.ListTrainingJobs": self._list,
            "SageMaker.StopTrainingJob": self._stop,
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, as in WSGI."""
        operation = self._operations.get(environ.get("HTTP_X_AMZ_TARGET", ""))
        if operation is None:
            return self._others(environ, start_response)
        request = Request(environ)
        try:
            answer, status = operation(json.loads(request.get_data()), _region(request)), 200
        except Refusal as refusal:
            answer, status = {"__type": refusal.code, "message": str(refusal)}, 400
        return Response(
            json.dumps(answer), status, content_type="application/x-amz-json-1.1"
        )(environ, start_response)  # fmt: skip

    def _create(self, asked: Fields, region: str) -> Fields:
        return {"TrainingJobArn": self._jobs.create(asked, region).arn}

    def _describe(self, asked: Fields, region: str) -> Fields:
        return self._jobs.get(asked["TrainingJobName"]).describe()

    def _stop(self, asked: Fields, region: str) -> Fields:
        self._jobs.stop(asked["TrainingJobName"])
        return {}

    def _list(self, asked: Fields, region: str) -> Fields:
        part, status = asked.get("NameContains", ""), asked.get("StatusEquals")
        found = [job for job in self._jobs if part in job.name and status in (None, job.status)]
        newest = sorted(found, key=lambda job: job.created, reverse=True)
        return {"TrainingJobSummaries": [job.summary() for job in newest]}


def _region(request: Request) -> str:
    signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/", request.headers.get("Authorization", ""))
    return signed[1] if signed else "us-east-1"


class _Quiet(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def serve(jobs: Jobs) -> Iterator[str]:
    """Serve an empty account with these training jobs during the block; yields its address."""
    server = make_server("127.0.0.1", 0, Service(jobs), threaded=True, request_handler=_Quiet)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
