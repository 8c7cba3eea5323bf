"""The service on a loopback port: calls about training and serving are answered here, others by moto."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.http import http_date
from werkzeug.serving import make_server
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from lingotune.launch.simulator.loopback import identity, logs
from lingotune.launch.simulator.loopback.hosting import Hosting
from lingotune.launch.simulator.loopback.invocations import invocation
from lingotune.launch.simulator.loopback.jobs import Fields, Jobs
from lingotune.launch.simulator.loopback.keeping import Application, Keeper
from lingotune.launch.simulator.loopback.listing import list_jobs, page, search
from lingotune.launch.simulator.loopback.refusal import Refusal

Operation = Callable[[Fields, str], Fields]


class Service:
    """WSGI application with the calls that jobs and endpoints need; names and fields are the API's."""

    def __init__(
        self, jobs: Jobs, keeper: Keeper | None = None, hosting: Hosting | None = None
    ) -> None:
        self._jobs = jobs
        self._hosting = hosting or Hosting(jobs.clock, jobs.quotas)
        self._others: Application = DomainDispatcherApplication(create_backend_app)
        # moto keeps its state in the process; an account begins empty.
        Client(self._others).post("/moto-api/reset", headers={"Host": "moto_api"})
        if keeper is not None:
            keeper.restore_calls(self._others)
            self._others = keeper.keeping(self._others)
        self._operations: dict[str, Operation] = {
            "SageMaker.CreateTrainingJob": self._create,
            "SageMaker.DescribeTrainingJob": self._describe,
            "SageMaker.ListTrainingJobs": lambda asked, region: list_jobs(self._jobs, asked),
            "SageMaker.Search": lambda asked, region: search(self._jobs, asked),
            "SageMaker.StopTrainingJob": self._stop,
            "SageMaker.AddTags": self._add_tags,
            "SageMaker.DeleteTags": self._delete_tags,
            "SageMaker.ListTags": self._list_tags,
            "ServiceQuotasV20190624.ListServiceQuotas": self._list_quotas,
            "ServiceQuotasV20190624.ListAWSDefaultServiceQuotas": self._list_quotas,
            "ServiceQuotasV20190624.GetServiceQuota": self._get_quota,
            # Nothing costs anything here.
            "AWSPriceListService.GetProducts": lambda asked, region: {"PriceList": []},
            **self._hosting.operations,
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, as in WSGI."""
        operation = self._operations.get(environ.get("HTTP_X_AMZ_TARGET", ""))
        if operation is None:
            asked = invocation(environ, self._hosting)
            return asked(environ, start_response) if asked else self._other(environ, start_response)
        request = Request(environ)
        try:
            answer, status = operation(json.loads(request.get_data()), _region(request)), 200
        except Refusal as refusal:
            answer, status = {"__type": refusal.code, "message": str(refusal)}, 400
        return Response(
            json.dumps(answer), status, content_type="application/x-amz-json-1.1"
        )(environ, start_response)  # fmt: skip

    def time(self) -> float:
        """Tell the seconds since 1970 by the account's clock."""
        return self._jobs.clock.time()

    def _other(self, environ: dict[str, Any], start_response: Any) -> Any:
        answered = _identity(environ)
        if answered is not None:
            return answered(environ, start_response)
        if "ModelPackage" in environ.get("HTTP_X_AMZ_TARGET", ""):
            _name_group(environ)
        if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("Logs_"):
            return self._others(environ, start_response)
        with logs.LOCK:
            return self._others(environ, start_response)

    def _create(self, asked: Fields, region: str) -> Fields:
        return {"TrainingJobArn": self._jobs.create(asked, region).arn}

    def _describe(self, asked: Fields, region: str) -> Fields:
        return self._jobs.get(asked["TrainingJobName"]).describe()

    def _stop(self, asked: Fields, region: str) -> Fields:
        self._jobs.stop(asked["TrainingJobName"])
        return {}

    def _add_tags(self, asked: Fields, region: str) -> Fields:
        added = {tag["Key"]: tag["Value"] for tag in asked["Tags"]}
        if found := self._hosting.by_arn(asked["ResourceArn"]):
            found.tags |= added
        else:
            self._jobs.by_arn(asked["ResourceArn"]).tag(added)
        return self._list_tags(asked, region)

    def _delete_tags(self, asked: Fields, region: str) -> Fields:
        if found := self._hosting.by_arn(asked["ResourceArn"]):
            found.tags = {k: v for k, v in found.tags.items() if k not in asked["TagKeys"]}
        else:
            self._jobs.by_arn(asked["ResourceArn"]).tag({}, asked["TagKeys"])
        return {}

    def _list_tags(self, asked: Fields, region: str) -> Fields:
        found = self._hosting.by_arn(asked["ResourceArn"])
        tags = (found or self._jobs.by_arn(asked["ResourceArn"])).tags
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _list_quotas(self, asked: Fields, region: str) -> Fields:
        found = list(self._quotas(asked, region))
        shown, following = page(found, asked, lambda quota: [quota["QuotaName"]])
        return {"Quotas": shown, **following}

    def _get_quota(self, asked: Fields, region: str) -> Fields:
        for quota in self._quotas(asked, region):
            if quota["QuotaCode"] == asked["QuotaCode"]:
                return {"Quota": quota}
        raise Refusal("NoSuchResourceException", "The request failed because the quota is unknown.")

    def _quotas(self, asked: Fields, region: str) -> Iterator[Fields]:
        if asked["ServiceCode"] == "sagemaker":
            yield from self._jobs.quotas.listed(region, identity.ACCOUNT)


def _identity(environ: dict[str, Any]) -> Response | None:
    """Answer who calls and what may be done; None for any other question, which is left as it was."""
    if not environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return None
    body = Request(environ).get_data()
    environ["wsgi.input"] = BytesIO(body)
    asked = {key: values[0] for key, values in parse_qs(body.decode()).items()}
    answer = identity.answer(asked)
    return None if answer is None else Response(answer, content_type="text/xml")


def _name_group(environ: dict[str, Any]) -> None:
    """Replace the ARN of a model package group by its name, which moto takes alone."""
    body = Request(environ).get_data()
    body = re.sub(rb'("ModelPackageGroupName": ")arn:[^"]*/', rb"\1", body)
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))


def _region(request: Request) -> str:
    signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/", request.headers.get("Authorization", ""))
    return signed[1] if signed else "us-east-1"


class _Handler(MotoRequestHandler):
    """Handler that logs nothing, and dates the answers by the account's clock, as AWS does by its own."""

    def log(self, type: str, message: str, *args: Any) -> None:
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Write a time as HTTP does; by default the account's."""
        service = self.server.app
        assert isinstance(service, Service)
        return http_date(service.time() if timestamp is None else timestamp)


@contextmanager
def serve(
    jobs: Jobs, port: int = 0, keeper: Keeper | None = None, hosting: Hosting | None = None
) -> Iterator[str]:
    """Serve an account with these training jobs during the block; yields its address.

    port: 0 = any that is free. keeper: of what it holds besides; None = it begins empty. hosting: of its
    endpoints; None = they answer nothing. OSError if the port is taken.
    """
    service = Service(jobs, keeper, hosting)
    server = make_server("127.0.0.1", port, service, threaded=True, request_handler=_Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
