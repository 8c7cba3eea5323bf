"""Making what was planned: the archive in S3, the model, the endpoint or the batch's job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lingotune.config.console import say_aside
from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.launch.aws.connection import Account, connect
from lingotune.launch.aws.deployments import Deployments, Thing, not_known
from lingotune.launch.aws.faults import errors, said_by
from lingotune.launch.aws.settle import Start
from lingotune.launch.deploy.page import delete_command
from lingotune.launch.deploy.plan import DeployPlan
from lingotune.launch.render.deployment import Deployment
from lingotune.launch.render.deployment_requests import to_update

FAILED = "Failed"
"""Status of an endpoint that can only be deleted."""
PAUSE = 5.0
"""Seconds between looks at what is being made."""
_ENDED = ("InService", "Failed", "Completed", "Stopped", "OutOfService", "UpdateRollbackFailed")
Tell = Callable[[str], None]


def submit(plan: DeployPlan, tell: Tell) -> None:
    """Make everything that is not there yet, in order; the last is what bills.

    ConfigError says what AWS refused, or that it is not known whether it was made.
    """
    one = plan.deployment
    account = connect(one.region, plan.config.aws)
    upload_model(plan, account, tell)
    made = Deployments(account.client("sagemaker"))
    *parts, (last, request) = plan.requests.items()
    kind = "endpoint" if one.is_endpoint else "transform_job"
    try:
        for operation, part in parts:
            made.make(operation, part)
        there = made.find(kind, one.name)
        is_ours = there is not None and there.family == one.family
        if (
            there is not None
            and is_ours
            and one.is_endpoint
            and there.config_name != one.config_name
        ):
            if there.status == FAILED:
                raise ConfigError([_failed_before(plan)])
            made.update(to_update(one))
            tell(
                f"endpoint {one.name} was there with {there.told['EndpointConfigName']}: it is updated"
            )
            return
        started = made.make(last, request)
    except KeyboardInterrupt:
        say_aside(
            f"interrupted: {not_known(kind, one.name, 'no answer was waited for', one.region).what}"
        )
        say_aside(bills_line(plan))
        raise
    except errors() as error:
        raise ConfigError([_unasked(one, said_by(error))]) from error
    _tell_started(started.start, started.seen.status if started.seen else "", plan, tell)


def upload_model(plan: DeployPlan, account: Account, tell: Tell) -> None:
    """Upload the archive, unless it is there; ConfigError says what went wrong."""
    with TemporaryDirectory(prefix="lingotune-") as folder:
        archive = Path(folder, "model.tar.gz")
        uri = plan.deployment.model_uri
        if _is_there(account, uri):  # it is named by the digest of its contents
            tell(f"{uri} is there already")
            return
        plan.model.pack(archive)
        account.upload({uri: archive}, {}, tell)


def _is_there(account: Account, uri: str) -> bool:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        account.client("s3").head_object(Bucket=bucket, Key=key)
    except errors():
        return False  # the upload tells what is wrong
    return True


def _unasked(one: Deployment, why: str) -> Problem:
    what = f"could not be looked up: {why}"
    fix = "aws configure, or AWS_PROFILE=...; nothing further was started"
    return Problem(one.name, what, fix, code=CLOUD_FAILED)


def _tell_started(start: Start, status: str, plan: DeployPlan, tell: Tell) -> None:
    one = plan.deployment
    called = "endpoint" if one.is_endpoint else "batch"
    if start is Start.done:
        tell(f"submitted {called} {one.name}")
    elif start is Start.found:
        tell(f"the answer was lost; {called} {one.name} is there: {status}")
    elif one.is_endpoint and status == FAILED:
        raise ConfigError([_failed_before(plan)])
    elif one.is_endpoint or status == "InProgress":
        tell(
            f"{called} {one.name} is there already, with the same model: {status}; nothing was started"
        )
    else:
        what = f"the same model classified the same texts before: {status}"
        fix = f"attempt={plan.config.attempt + 1} does it once more; nothing was started"
        raise ConfigError([Problem(one.name, what, fix, check="name-taken")])


def _failed_before(plan: DeployPlan) -> Problem:
    one = plan.deployment
    what = "is there already, and has failed: nothing was started"
    why = "an endpoint that has failed can only be deleted"
    logs = f"{program('logs')} {one.name} --region {one.region}"
    fix = f"{logs}; then {delete_command(plan)}"
    return Problem(one.name, what, fix, check="deploy-failed", why=why, code=CLOUD_FAILED)


def bills_line(plan: DeployPlan) -> str:
    """Say what bills, and how that ends."""
    one = plan.deployment
    if not one.is_endpoint:
        return (
            f"a batch bills until it has ended: {program('stop')} {one.name} --region {one.region}"
        )
    rate = "" if plan.hour_usd is None else f" {plan.hour_usd:.2f} USD an hour"
    bills = "costs while it answers" if plan.is_serverless else f"bills{rate}"
    return f"the endpoint {bills} until it is deleted: {delete_command(plan)}"


def follow(plan: DeployPlan, tell: Tell) -> None:
    """Stay until it serves, or has ended; ConfigError if it has failed.

    Ctrl-C leaves it as it is, and says what bills.
    """
    one = plan.deployment
    made = Deployments(connect(one.region, plan.config.aws).client("sagemaker"))
    kind = "endpoint" if one.is_endpoint else "transform_job"
    shown = ""

    def over(status: str) -> bool:
        nonlocal shown
        if status != shown:
            shown = status
            tell(f"{one.name}: {status}")
        return status in _ENDED

    try:
        found = made.wait(kind, one.name, over, PAUSE)
    except KeyboardInterrupt:
        say_aside(f"\n{one.name} goes on; {bills_line(plan)}")
        raise
    except errors() as error:
        raise ConfigError([_unasked(one, said_by(error))]) from error
    _require_success(found, plan)


def _require_success(found: Thing | None, plan: DeployPlan) -> None:
    one = plan.deployment
    status = found.status if found else "is gone"
    served = found.config_name if found and one.is_endpoint else one.config_name
    if status in ("InService", "Completed") and served == one.config_name:
        return
    if status == "InService":
        status = f"serves {served} as before: the update to {one.config_name} was rolled back"
    reason = found.told.get("FailureReason", "") if found else ""
    logs = f"{program('logs')} {one.name} --region {one.region}"
    fix = f"{logs}; then {delete_command(plan)}" if one.is_endpoint else logs
    what = f"{status}: {reason}" if reason else status
    raise ConfigError([Problem(one.name, what, fix, check="deploy-failed", code=CLOUD_FAILED)])
