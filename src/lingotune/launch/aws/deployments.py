"""Endpoints, their configurations and models, and batch transforms: made once, looked up, deleted.

Everything that a deployment makes has a tag with the endpoint's name. What lacks it is another's, and is
neither taken over nor deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.aws.faults import error_of, errors, said_by
from lingotune.launch.aws.settle import NotKnown, NotStarted, Seen, Start, Started, start_once
from lingotune.launch.render.deployment import ENDPOINT_TAG
from lingotune.launch.render.deployment_requests import VARIANT
from lingotune.launch.render.shared_fields import Request

_ABSENT = ("could not find", "not found", "does not exist")
_METHODS = {
    "CreateModel": ("model", "ModelName"),
    "CreateEndpointConfig": ("endpoint_config", "EndpointConfigName"),
    "CreateEndpoint": ("endpoint", "EndpointName"),
    "CreateTransformJob": ("transform_job", "TransformJobName"),
}
"""Operation -> boto3's word for what it makes, and the field that names it."""
KINDS = dict(_METHODS.values())
"""boto3's word for a thing -> the field that names it."""
_STATUS = {"endpoint": "EndpointStatus", "transform_job": "TransformJobStatus"}


@dataclass(frozen=True)
class Thing:
    """Something that a deployment has made. kind: boto3's word. told: the answer of its Describe call."""

    kind: str
    name: str
    tags: Mapping[str, str]
    told: Mapping[str, Any]

    @property
    def family(self) -> str | None:
        """Name of the endpoint that it belongs to; None if it is another tool's."""
        return self.tags.get(ENDPOINT_TAG)

    @property
    def status(self) -> str:
        """Its status; '' if such things have none."""
        return str(self.told.get(_STATUS.get(self.kind, ""), ""))

    @property
    def config_name(self) -> str:
        """Configuration of an endpoint: the one that it moves to, else the one that serves."""
        moves_to = self.told.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        return str(moves_to or self.told["EndpointConfigName"])

    @property
    def words(self) -> str:
        """Kind and name, for people."""
        return (
            f"{self.kind.replace('_', ' ').replace('endpoint config', 'configuration')} {self.name}"
        )


class Deployments:
    """Deployments of an account and region. client: SageMaker's, of boto3. Calls raise `errors()`."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def find(self, kind: str, name: str) -> Thing | None:
        """Describe something, with its tags; None if there is nothing with this name."""
        told = self._describe(kind, name)
        return told and Thing(kind, name, self._tags(told[_arn(kind)]), told)

    def _describe(self, kind: str, name: str) -> Any:
        from botocore.exceptions import ClientError

        try:
            return getattr(self.client, f"describe_{kind}")(**{KINDS[kind]: name})
        except ClientError as error:
            said = error_of(error).get("Message", "").lower()
            if error_of(error).get("Code", "").startswith("ResourceNotFound") or any(
                word in said for word in _ABSENT
            ):
                return None
            raise

    def _tags(self, arn: str) -> dict[str, str]:
        pages = self.client.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}

    def all_of(self, family: str | None, kind: str, **asked: str) -> Iterator[Thing]:
        """List our things of a kind, newest first.

        family: of one endpoint; None = of all. asked: conditions, in the words of the List call.
        """
        listed = {
            "model": "Models", "endpoint_config": "EndpointConfigs", "endpoint": "Endpoints",
            "transform_job": "TransformJobSummaries",
        }[kind]  # fmt: skip
        for page in self.client.get_paginator(f"list_{kind}s").paginate(**asked):
            for entry in page[listed]:
                name, tags = entry[KINDS[kind]], self._tags(entry[_arn(kind)])
                owner = tags.get(ENDPOINT_TAG)
                if owner and family in (None, owner) and (told := self._describe(kind, name)):
                    yield Thing(kind, name, tags, told)

    def make(self, operation: str, request: Request) -> Started:
        """Make something, unless ours is there already under its name.

        A lost answer is looked up by name. ConfigError if it was refused, if that is not known, or if
        another's has the name.
        """
        kind, field = _METHODS[operation]
        name = request[field]
        found = self.find(kind, name)
        if found is not None:
            _require_ours(found, request)
            return Started(Start.taken, Seen(found.status))
        call: Callable[..., Any] = getattr(self.client, f"create_{kind}")
        try:
            return start_once(lambda: call(**request), lambda: self._seen(kind, name))
        except NotStarted as error:
            assert isinstance(error.__cause__, Exception)
            raise refused(kind, name, error.__cause__) from error
        except NotKnown as error:
            raise ConfigError([not_known(kind, name, str(error), self.region)]) from error

    @property
    def region(self) -> str:
        """AWS region in which it works."""
        return str(self.client.meta.region_name)

    def _seen(self, kind: str, name: str) -> Seen | None:
        found = self.find(kind, name)
        if found is None:
            return None
        return Seen(found.status, found.told["CreationTime"].timestamp())

    def update(self, request: Request) -> None:
        """Move an endpoint to another configuration.

        A lost answer is looked up. ConfigError if it was refused, or that is not known.
        """
        name, config = request["EndpointName"], request["EndpointConfigName"]

        def moved() -> Seen | None:
            found = self.find("endpoint", name)
            return Seen(found.status) if found and found.config_name == config else None

        try:
            start_once(lambda: self.client.update_endpoint(**request), moved)
        except NotStarted as error:
            assert isinstance(error.__cause__, Exception)
            raise refused("endpoint", name, error.__cause__) from error
        except NotKnown as error:
            raise ConfigError([not_known("endpoint", name, str(error), self.region)]) from error

    def delete(self, thing: Thing) -> None:
        """Delete something of ours; what is gone already is no error. ConfigError if AWS refuses."""
        assert thing.family, thing.name
        try:
            if thing.kind == "transform_job":
                self.client.stop_transform_job(TransformJobName=thing.name)
            else:
                getattr(self.client, f"delete_{thing.kind}")(**{KINDS[thing.kind]: thing.name})
        except errors() as error:
            if any(word in said_by(error).lower() for word in _ABSENT):
                return
            what, fix = said_by(error), "the same command once more, in a few minutes"
            if "scalabletarget" in what.lower():  # AWS deregisters it itself, where it may
                fix = (
                    f"{deregister_command(thing.name, self.region)}, by one who may; then the same"
                )
            raise ConfigError(
                [Problem(thing.words, what, fix, check="not-deleted", code=CLOUD_FAILED)]
            ) from error

    def wait(self, kind: str, name: str, over: Callable[[str], bool], pause: float) -> Thing | None:
        """Look at something until its status is one that `over` accepts, or it is gone."""
        while True:
            found = self.find(kind, name)
            if found is None or over(found.status):
                return found
            time.sleep(pause)


def _arn(kind: str) -> str:
    """Name the field that holds the ARN."""
    return f"{KINDS[kind].removesuffix('Name')}Arn"


def _require_ours(found: Thing, request: Request) -> None:
    wanted = {tag["Key"]: tag["Value"] for tag in request["Tags"]}[ENDPOINT_TAG]
    if found.family == wanted:
        return
    owner = f"of lingotune's endpoint {found.family}" if found.family else "not lingotune's"
    what = f"is there already, and {owner}: it has no tag {ENDPOINT_TAG}={wanted}"
    fix = f"deploy.name={wanted}-2"
    raise ConfigError([Problem(found.words, what, fix, check="deploy-name-taken")])


def deregister_command(endpoint: str, region: str) -> str:
    """Return the command that ends the automatic scaling of an endpoint."""
    return (
        "aws application-autoscaling deregister-scalable-target --service-namespace sagemaker"
        f" --resource-id endpoint/{endpoint}/variant/{VARIANT}"
        f" --scalable-dimension sagemaker:variant:DesiredInstanceCount --region {region}"
    )


def refused(kind: str, name: str, error: Exception) -> ConfigError:
    """Explain the refusal of a call that makes or changes something."""
    told = said_by(error)
    fix = "the same command with action=check asks AWS what is missing; nothing of it was started"
    if "ResourceLimitExceeded" in told:
        fix = "deploy.instance_type= of another type, or a higher quota; nothing of it was started"
    shown = kind.replace("_", " ")
    return ConfigError(
        [Problem(f"{shown} {name}", told, fix, check="not-started", code=CLOUD_FAILED)]
    )


def not_known(kind: str, name: str, why: str, region: str) -> Problem:
    """Tell that something may have been made, and bills then."""
    what = f"may have been made or changed, and bills then: {why}"
    fix = (
        f"{program('status')} {name} --region {region} tells; the same command makes nothing twice"
    )
    return Problem(
        f"{kind.replace('_', ' ')} {name}", what, fix, check="start-unknown", code=CLOUD_FAILED
    )
