"""What an account serves models with, as records: requests, statuses, tags; described and listed.

Names and fields are the API's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Any

from lingotune.launch.render.service_model import mistakes
from lingotune.launch.simulator.loopback.clock import Clock
from lingotune.launch.simulator.loopback.identity import ACCOUNT
from lingotune.launch.simulator.loopback.jobs import Fields
from lingotune.launch.simulator.loopback.listing import page
from lingotune.launch.simulator.loopback.refusal import Refusal
from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.launch.simulator.serving.endpoint import Answer, Endpoint

Operation = Callable[[Fields, str], Fields]
VALIDATION = "ValidationException"


@dataclass
class Resource:
    """A model, a configuration, an endpoint or a batch. kind: as in its ARN. Times: seconds since 1970.

    Of an endpoint: pending: configuration that it moves to. variant: the one that serves, on `count`
    instances.
    """

    kind: str
    name: str
    arn: str
    request: Fields
    created: float
    tags: dict[str, str]
    status: str = ""
    reason: str = ""
    modified: float = 0.0
    ended: float | None = None
    pending: str = ""
    variant: Fields = field(default_factory=dict)
    count: int = 0
    container: Endpoint | None = None
    held: ExitStack = field(default_factory=ExitStack)
    lock: RLock = field(default_factory=RLock, repr=False)

    def ask(self, *request: Any) -> Answer:
        """Ask its container, one request at a time; StageFailed if it does not answer."""
        with self.lock:
            if self.container is None:
                raise StageFailed("there is no container")
            return self.container.ask(*request)


MODEL, CONFIG, ENDPOINT, BATCH = "model", "endpoint-config", "endpoint", "transform-job"
NAMES = {
    MODEL: "ModelName", CONFIG: "EndpointConfigName", ENDPOINT: "EndpointName",
    BATCH: "TransformJobName",
}  # fmt: skip
LISTED = {
    MODEL: "Models", CONFIG: "EndpointConfigs", ENDPOINT: "Endpoints",
    BATCH: "TransformJobSummaries",
}  # fmt: skip
WORDS = {MODEL: "model", CONFIG: "endpoint configuration", ENDPOINT: "endpoint", BATCH: "job"}
TITLES = {MODEL: "Model", CONFIG: "EndpointConfig", ENDPOINT: "Endpoint", BATCH: "TransformJob"}
"""Kind -> the name of the resource, its field, its word and its list in the API."""


class Resources:
    """All resources of an account, by kind and name."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._all: dict[tuple[str, str], Resource] = {}
        self._lock = Lock()

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._all.values()))

    def by_arn(self, arn: str) -> Resource | None:
        """Find a resource by its ARN."""
        return next((one for one in self if one.arn == arn), None)

    def create(self, kind: str, request: Fields, region: str, status: str = "") -> Resource:
        """Accept a request to create a resource; Refusal if it is invalid, or its name is taken."""
        operation = f"Create{TITLES[kind]}"
        found = mistakes(dict(request), operation)
        if found:
            told = "; ".join(f"Value {m.value!r} at '{m.path}' {m.what}" for m in found)
            raise Refusal(VALIDATION, f"{len(found)} validation errors detected: {told}")
        name = request[NAMES[kind]]
        arn = f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name.lower()}"
        tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
        now = self.clock.time()
        made = Resource(kind, name, arn, request, now, tags, status, modified=now)
        with self._lock:
            if (kind, name) in self._all:
                told = f'Cannot create already existing {WORDS[kind]} "{arn}".'
                raise Refusal("ResourceInUse" if kind == BATCH else VALIDATION, told)
            self._all[kind, name] = made
        return made

    def get(self, kind: str, name: str) -> Resource:
        """Find a resource; Refusal if there is none."""
        found = self._all.get((kind, name))
        if found is None:
            raise Refusal(VALIDATION, f'Could not find {WORDS[kind]} "{name}".')
        return found

    def describing(self, kind: str) -> Operation:
        """Make the Describe operation of a kind."""
        return lambda asked, region: self.told(self.get(kind, asked[NAMES[kind]]))

    def told(self, one: Resource) -> Fields:
        """Build the answer of Describe."""
        told = {key: value for key, value in one.request.items() if key != "Tags"}
        told |= {f"{TITLES[one.kind]}Arn": one.arn, "CreationTime": one.created}
        if one.status:
            told[f"{TITLES[one.kind]}Status"] = one.status
        if one.reason:
            told["FailureReason"] = one.reason
        if one.kind == ENDPOINT:
            told["LastModifiedTime"] = one.modified
        if one.ended is not None:
            told["TransformEndTime"] = one.ended
        return told

    def listing(self, kind: str) -> Operation:
        """Make the List operation of a kind, newest first."""

        def listed(asked: Fields, region: str) -> Fields:
            found = [
                one for one in self
                if one.kind == kind
                and asked.get("NameContains", "") in one.name
                and asked.get("StatusEquals", one.status) == one.status
            ]  # fmt: skip
            shown, following = page(found, asked, lambda one: [one.created, one.name], True)
            return {LISTED[kind]: [self._summary(one) for one in shown], **following}

        return listed

    def _summary(self, one: Resource) -> Fields:
        told = self.told(one)
        title = TITLES[one.kind]
        names = (
            NAMES[one.kind],
            f"{title}Arn",
            f"{title}Status",
            "CreationTime",
            "LastModifiedTime",
        )
        return {name: told[name] for name in names if name in told}
