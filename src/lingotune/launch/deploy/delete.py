"""Deleting a deployment: only what carries our tag, after it was shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.launch.aws.deployments import Deployments, Thing
from lingotune.launch.aws.faults import errors, said_by
from lingotune.launch.deploy.standing import RUNNING, Rates

_ORDER = ("transform_job", "endpoint", "endpoint_config", "model")
"""What bills first, then what it is made of."""


def deletable(made: Deployments, name: str) -> list[Thing]:
    """List everything of an endpoint that can be deleted, in order.

    ConfigError if there is nothing, if the endpoint is not ours, or if AWS does not answer.
    """
    try:
        endpoint = made.find("endpoint", name)
        if endpoint is not None and endpoint.family != name:
            raise ConfigError([_not_ours(endpoint, made.region)])
        found = list(_found(made, name))
    except errors() as error:
        fix = "aws configure, or AWS_PROFILE=...; nothing was deleted"
        raise ConfigError([Problem(name, said_by(error), fix, code=CLOUD_FAILED)]) from error
    if not found:
        what = f"is no endpoint of lingotune's in {made.region}, and nothing is left of one"
        fix = "lingotune status lists them; aws.region= with another one"
        raise ConfigError([Problem(name, what, fix, check="name-unknown")])
    return found


def _found(made: Deployments, name: str) -> Iterator[Thing]:
    for kind in _ORDER:
        running = {"StatusEquals": RUNNING} if kind == "transform_job" else {}
        yield from made.all_of(name, kind, NameContains=name, **running)


def _not_ours(endpoint: Thing, region: str) -> Problem:
    what = "was not made by lingotune: it lacks the tag, and is not deleted"
    fix = f"aws sagemaker delete-endpoint --endpoint-name {endpoint.name} --region {region}"
    return Problem(endpoint.words, what, fix, check="deploy-not-ours")


def lines_of(things: Sequence[Thing], rates: Rates) -> Iterator[str]:
    """Describe what is to be deleted, a line each, with what it costs."""
    for thing in things:
        verb = "stop  " if thing.kind == "transform_job" else "delete"
        status = f", {thing.status}" if thing.status else ""
        yield f"  {verb} {thing.words}{status}{rates.text_of(thing)}"


def delete_all(made: Deployments, things: Sequence[Thing]) -> None:
    """Delete things in their order; a problem of one stops the rest, which may be in use."""
    for thing in things:
        made.delete(thing)
        if thing.kind == "endpoint":
            made.wait("endpoint", thing.name, lambda status: False, 1.0)
