"""Endpoints and batch transforms of an account: how they come to serve, and are asked.

They end with the account.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from threading import Thread
from typing import Protocol

from lingotune.config.problems import ConfigError
from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.identity import ACCOUNT
from lingotune.launch.simulator.loopback.jobs import Fields
from lingotune.launch.simulator.loopback.quotas import Quotas
from lingotune.launch.simulator.loopback.refusal import Refusal
from lingotune.launch.simulator.loopback.resources import (
    BATCH,
    CONFIG,
    ENDPOINT,
    MODEL,
    NAMES,
    TITLES,
    VALIDATION,
    Operation,
    Resource,
    Resources,
)
from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.launch.simulator.serving.endpoint import Answer, Endpoint


class Containers(Protocol):
    """What runs containers: starts that of a model, and moves a batch's files."""

    def start(self, model: Fields, batch: Fields | None) -> AbstractContextManager[Endpoint]:
        """Run a container until the block ends; StageFailed or ConfigError if it does not start."""

    def transform(self, request: Fields, ask: Callable[..., Answer]) -> None:
        """Ask the container for every file of a batch; StageFailed if it refuses one."""

    def answer_later(
        self, place: str, output: str, failed: str, ask: Callable[..., Answer]
    ) -> None:
        """Answer a request that lies in S3, and put the answer, or why there is none, there."""

    def log(self, group: str, stream: str, lines: list[str]) -> None:
        """Add lines to a stream of CloudWatch."""


_STREAM = "AllTraffic/i-loopback"


class Hosting(Resources):
    """Endpoints and batches of an account. containers: None = endpoints serve, but answer nothing."""

    def __init__(self, clock: Clock, quotas: Quotas, containers: Containers | None = None) -> None:
        super().__init__(clock)
        self.quotas, self.containers = quotas, containers
        self.operations: dict[str, Operation] = {
            "SageMaker.CreateModel": self._create_model,
            "SageMaker.CreateEndpointConfig": self._create_config,
            "SageMaker.CreateEndpoint": self._create_endpoint,
            "SageMaker.CreateTransformJob": self._create_batch,
            "SageMaker.UpdateEndpoint": self._update,
            "SageMaker.StopTransformJob": self._stop,
            **{f"SageMaker.Describe{word}": self.describing(k) for k, word in TITLES.items()},
            **{f"SageMaker.List{word}s": self.listing(k) for k, word in TITLES.items()},
            **{
                f"SageMaker.Delete{TITLES[kind]}": self._deleting(kind)
                for kind in (MODEL, CONFIG, ENDPOINT)
            },
        }

    def close(self) -> None:
        """End all containers."""
        for one in self:
            one.held.close()

    # --- creating -------------------------------------------------------------------------------

    def _create_model(self, asked: Fields, region: str) -> Fields:
        return {"ModelArn": self.create(MODEL, asked, region).arn}

    def _create_config(self, asked: Fields, region: str) -> Fields:
        for variant in asked.get("ProductionVariants", []):
            self.get(MODEL, variant["ModelName"])
        return {"EndpointConfigArn": self.create(CONFIG, asked, region).arn}

    def _create_endpoint(self, asked: Fields, region: str) -> Fields:
        variant = self._variant(asked.get("EndpointConfigName", ""))
        self._check_quota(variant.get("InstanceType"), variant.get("InitialInstanceCount", 0))
        made = self.create(ENDPOINT, asked, region, "Creating")
        self._move(made, asked["EndpointConfigName"])
        return {"EndpointArn": made.arn}

    def _move(self, endpoint: Resource, config: str) -> None:
        """Begin to serve what a configuration names; what serves until then stays."""
        endpoint.pending, variant = config, self._variant(config)
        Thread(target=self._serve, args=(endpoint, config, variant), daemon=True).start()

    def _variant(self, config: str) -> Fields:
        variant: Fields = self.get(CONFIG, config).request["ProductionVariants"][0]
        return variant

    def _check_quota(self, instance_type: str | None, asked: int, use: str = "endpoint") -> None:
        if instance_type is None:
            return
        used = sum(count for name, count in self._instances(use) if name == instance_type)
        self.quotas.require(f"{instance_type} for {use} usage", instance_type, used, asked)

    def _instances(self, use: str) -> Iterator[tuple[str, int]]:
        for one in self:
            if use == "endpoint" and one.kind == ENDPOINT:
                variant = one.variant or self._variant(one.request["EndpointConfigName"])
                wanted = variant.get("InitialInstanceCount", 0)
                yield variant.get("InstanceType", ""), one.count if one.variant else wanted
            elif use != "endpoint" and one.kind == BATCH and one.status == "InProgress":
                resources = one.request["TransformResources"]
                yield resources["InstanceType"], resources["InstanceCount"]

    # --- serving --------------------------------------------------------------------------------

    def _serve(self, endpoint: Resource, config: str, variant: Fields) -> None:
        """Start the container of an endpoint; one that fails leaves the former as it is."""
        held = ExitStack()
        group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
        try:
            container = None
            if self.containers is not None:
                model = self.get(MODEL, variant["ModelName"]).request
                container = held.enter_context(self.containers.start(model, None))
                self.containers.log(group, _STREAM, container.log)
        except Exception as error:  # it has to come to an end in any case
            self._fail(endpoint, error, group)
            held.close()
            return
        with endpoint.lock:
            endpoint.held, before = held, endpoint.held
            endpoint.container, endpoint.reason = container, ""
            endpoint.variant, endpoint.count = variant, variant.get("InitialInstanceCount", 0)
            endpoint.request = {**endpoint.request, "EndpointConfigName": config}
            self._enter(endpoint, "InService")
        before.close()
        if (ENDPOINT, endpoint.name) not in self._all:  # deleted meanwhile
            held.close()

    def _fail(self, one: Resource, error: Exception, group: str) -> None:
        reason, lines = _reason(error)
        if self.containers is not None and lines:
            self.containers.log(group, _STREAM, lines)
        one.reason = reason
        self._enter(one, "InService" if one.variant else "Failed")

    def _enter(self, one: Resource, status: str) -> None:
        one.status, one.modified = status, self.clock.time()
        if status != "Updating":
            one.pending = ""
        if one.kind == BATCH and status != "InProgress":
            one.ended = one.modified

    def _update(self, asked: Fields, region: str) -> Fields:
        found = self.get(ENDPOINT, asked["EndpointName"])
        self._variant(asked["EndpointConfigName"])
        if found.status != "InService":
            raise Refusal(VALIDATION, f'Cannot update in-progress endpoint "{found.arn}".')
        self._enter(found, "Updating")
        self._move(found, asked["EndpointConfigName"])
        return {"EndpointArn": found.arn}

    def invoke(self, name: str, body: bytes, kind: str, accept: str) -> Answer:
        """Ask an endpoint; Refusal if there is none that serves, StageFailed if it does not answer."""
        endpoint = self._all.get((ENDPOINT, name))
        if endpoint is None or endpoint.status not in ("InService", "Updating"):
            raise Refusal("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        most = (4 if "ServerlessConfig" in endpoint.variant else 6) * 2**20
        if len(body) > most:
            raise Refusal("ValidationError", f"The request has {len(body)} bytes, at most {most}.")
        return endpoint.ask(body, kind, accept)

    def invoke_later(self, name: str, place: str, kind: str, accept: str) -> Fields:
        """Queue a request of an asynchronous endpoint; returns its id and where the answer will lie."""
        endpoint = self.get(ENDPOINT, name)
        config = self.get(CONFIG, endpoint.request["EndpointConfigName"]).request
        if "AsyncInferenceConfig" not in config:
            raise Refusal("ValidationError", f"Endpoint {name} is no asynchronous endpoint.")
        number = f"{next(_NUMBERS):08d}"
        places = config["AsyncInferenceConfig"]["OutputConfig"]
        output = f"{places['S3OutputPath'].rstrip('/')}/{number}.out"
        failed = f"{places.get('S3FailurePath', places['S3OutputPath'])}/{number}-error.out"
        if self.containers is not None:
            run = self.containers.answer_later

            def ask(body: bytes) -> Answer:
                return endpoint.ask(body, kind, accept)

            Thread(target=run, args=(place, output, failed, ask), daemon=True).start()
        return {"InferenceId": number, "OutputLocation": output, "FailureLocation": failed}

    # --- batches --------------------------------------------------------------------------------

    def _create_batch(self, asked: Fields, region: str) -> Fields:
        self.get(MODEL, asked.get("ModelName", ""))
        resources = asked.get("TransformResources", {})
        self._check_quota(
            resources.get("InstanceType"), resources.get("InstanceCount", 0), "transform job"
        )
        made = self.create(BATCH, asked, region, "InProgress")
        Thread(target=self._transform, args=(made,), daemon=True).start()
        return {"TransformJobArn": made.arn}

    def _transform(self, batch: Resource) -> None:
        group = "/aws/sagemaker/TransformJobs"
        if self.containers is None:
            return
        model = self.get(MODEL, batch.request["ModelName"]).request
        try:
            with self.containers.start(model, batch.request) as container:
                batch.container = container
                self.containers.transform(batch.request, batch.ask)
                self.containers.log(group, f"{batch.name}/i-loopback", container.log)
            if batch.status == "InProgress":
                self._enter(batch, "Completed")
        except Exception as error:
            batch.container = None
            self._fail(batch, error, group)

    def _stop(self, asked: Fields, region: str) -> Fields:
        batch = self.get(BATCH, asked["TransformJobName"])
        if batch.status != "InProgress":
            told = (
                f"The request was rejected because the transform job is in status {batch.status}."
            )
            raise Refusal(VALIDATION, told)
        self._enter(batch, "Stopped")
        return {}

    # --- describing, listing, deleting ----------------------------------------------------------

    def told(self, one: Resource) -> Fields:
        """Build the answer of Describe; an endpoint's tells what serves, and what it moves to."""
        told = super().told(one)
        if one.pending:
            told["PendingDeploymentSummary"] = {"EndpointConfigName": one.pending}
        if one.variant:
            told["ProductionVariants"] = [_summary(one)]
        return told

    def _deleting(self, kind: str) -> Operation:
        def deleted(asked: Fields, region: str) -> Fields:
            found = self.get(kind, asked[NAMES[kind]])
            if found.status in ("Creating", "Updating"):
                raise Refusal(VALIDATION, f'Cannot update in-progress endpoint "{found.arn}".')
            del self._all[kind, found.name]
            found.held.close()
            return {}

        return deleted


_NUMBERS = itertools.count(1)


def _summary(endpoint: Resource) -> Fields:
    serverless = endpoint.variant.get("ServerlessConfig")
    size: Fields = {"CurrentServerlessConfig": serverless}
    if serverless is None:
        size = {"CurrentInstanceCount": endpoint.count, "DesiredInstanceCount": endpoint.count}
    return {"VariantName": endpoint.variant["VariantName"], **size}


def _reason(error: Exception) -> tuple[str, list[str]]:
    """Tell why a container failed, in SageMaker's words, and its last lines."""
    if isinstance(error, StageFailed):
        return error.what, [*error.log]
    if isinstance(error, ConfigError):
        return "; ".join(f"{one.where}: {one.what}" for one in error.problems), []
    return f"InternalServerError: {type(error).__name__}: {error}", []
