"""Questions to AWS before a deployment is made; nothing is changed by them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lingotune.config.console import say, say_folded, say_problems
from lingotune.config.problems import Problem, Severity, exit_code_for
from lingotune.config.schema import DeployKind
from lingotune.launch.aws.account.calls import Answer, Refused
from lingotune.launch.aws.account.check import (
    AccountCheck,
    Caller,
    Check,
    arn_of,
    ask_all,
    format_account,
    required,
)
from lingotune.launch.aws.account.quotas import Need, check_quotas
from lingotune.launch.aws.account.resources import (
    check_bucket,
    check_key,
    check_network,
    check_place,
)
from lingotune.launch.aws.account.roles import check_caller, check_role, check_role_access
from lingotune.launch.aws.deployments import Thing
from lingotune.launch.deploy.page import delete_command
from lingotune.launch.deploy.plan import DeployPlan
from lingotune.launch.deploy.submit import FAILED
from lingotune.launch.render.deployment import ENDPOINT_TAG

_UNKNOWN = ("ValidationException", "ResourceNotFound")


def check_deployment(plan: DeployPlan) -> AccountCheck:
    """Ask AWS whether the deployment can be made."""
    aws, one = plan.config.aws, plan.deployment
    quotas: dict[str, float] = {}
    checks: dict[str, Check] = {
        "role": partial(_role, plan),
        "pass the role": partial(_pass_role, plan),
        "create": partial(_create, plan),
        "the role's permissions": partial(_role_access, plan),
        "bucket": partial(_bucket, plan),
    }
    if one.is_endpoint:
        checks["name"] = partial(_name, plan)
    if one.input_uri:
        checks["texts"] = partial(_texts, one.input_uri)
    if one.instance_type:
        checks["quota"] = partial(_quota, plan, quotas)
    if aws.subnets or aws.security_groups:
        checks["network"] = lambda caller: check_network(
            caller.calls, aws.subnets, aws.security_groups
        )
    if aws.kms_key or aws.volume_kms_key:
        checks["keys"] = partial(_keys, plan)
    return ask_all(checks, aws.region, quotas)


def show_account(checked: AccountCheck) -> int:
    """Show what AWS answered; returns the exit code."""
    for line in format_account(checked):
        say_folded(line, " " * 11)
    say("")
    if checked.findings:
        say_problems(checked.findings)
    return exit_code_for(checked.findings)


def _role(plan: DeployPlan, caller: Caller) -> Iterator[Answer]:
    role = required("aws.role", plan.config.aws.role)
    yield from check_role(caller.calls, role, caller.account)


def _pass_role(plan: DeployPlan, caller: Caller) -> Iterator[Answer]:
    role = required("aws.role", plan.config.aws.role)
    yield from check_caller(caller.calls, caller.arn, ["iam:PassRole"], role, f"aws.role={role}")


def _create(plan: DeployPlan, caller: Caller) -> Iterator[Answer]:
    one = plan.deployment
    *_, last = plan.requests  # those of its parts have other resources
    kind = "endpoint" if one.is_endpoint else "transform-job"
    resource = arn_of(caller, "sagemaker", f"{kind}/{one.name.lower()}")
    actions = [f"sagemaker:{last}", "sagemaker:AddTags"]
    yield from check_caller(caller.calls, caller.arn, actions, resource, "AWS credentials")


def _role_access(plan: DeployPlan, caller: Caller) -> Iterator[Answer]:
    aws, one = plan.config.aws, plan.deployment
    role, bucket = required("aws.role", aws.role), required("aws.bucket", aws.bucket)
    s3 = f"arn:{role.split(':')[1]}:s3:::" if role.startswith("arn:") else "arn:aws:s3:::"
    wanted = [(("s3:GetObject",), f"{s3}{bucket}/{aws.prefix}/*")]
    if one.input_uri:
        wanted.append((("s3:GetObject",), f"{s3}{one.input_uri.removeprefix('s3://')}*"))
    if one.output_uri:
        wanted.append((("s3:PutObject",), f"{s3}{one.output_uri.removeprefix('s3://')}/*"))
    yield from check_role_access(caller.calls, role, wanted)


def _bucket(plan: DeployPlan, caller: Caller) -> Iterator[Answer]:
    bucket = required("aws.bucket", plan.config.aws.bucket)
    yield from check_bucket(caller.calls, bucket, caller.account)


def _name(plan: DeployPlan, caller: Caller) -> Iterator[Answer]:
    """Check that the endpoint's name is free, or that of an endpoint of ours."""
    one = plan.deployment
    try:
        told = caller.calls.ask("sagemaker", "describe_endpoint", _UNKNOWN, EndpointName=one.name)
    except Refused:
        yield f"{one.name} is free"
        return
    listed = caller.calls.ask("sagemaker", "list_tags", ResourceArn=told["EndpointArn"])["Tags"]
    there = Thing("endpoint", one.name, {tag["Key"]: tag["Value"] for tag in listed}, told)
    status = there.status
    if there.family != one.name:
        what = f"is an endpoint that lingotune has not made ({status})"
        why = f"it lacks the tag {ENDPOINT_TAG}, and is neither taken over nor changed"
        fix = f"deploy.name={one.name}-2"
        yield Problem(f"deploy.name={one.name}", what, fix, check="deploy-name-taken", why=why)
    elif status == FAILED:
        what, why = "is there, and has failed", "it can only be deleted"
        fix = f"{delete_command(plan)}; or deploy.name={one.name}-2"
        yield Problem(f"deploy.name={one.name}", what, fix, check="deploy-failed", why=why)
    elif there.config_name == one.config_name:
        yield f"{one.name} is there with the same model, {status}: nothing would be started"
    else:
        what = f"is there with another model or size ({status}): a submit moves it to this one"
        fix = f"deploy.name={one.name}-2 leaves it as it is"
        severity = Severity.warning
        yield Problem(f"deploy.name={one.name}", what, fix, severity, "deploy-updates")


def _texts(uri: str, caller: Caller) -> Iterator[Answer]:
    """Check that there are texts, in the region of the batch."""
    place = list(check_place(caller.calls, "texts", uri, f"deploy.input={uri}"))
    yield from place
    if any(isinstance(one, Problem) for one in place):
        return
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    page = caller.calls.ask("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
    if page["KeyCount"]:
        yield uri
        return
    fix = f"aws s3 cp texts.jsonl {uri}"
    why = "a batch without texts fails at its start"
    yield Problem(f"deploy.input={uri}", "there is nothing", fix, check="texts-missing", why=why)


def _quota(plan: DeployPlan, values: dict[str, float], caller: Caller) -> Iterator[Answer]:
    use = "transform job" if plan.deployment.kind is DeployKind.batch else "endpoint"
    name = f"{plan.instance_type} for {use} usage"
    need = Need(name, (plan.deployment.count,), by_instance=True, where="deploy.count")
    yield from check_quotas(caller.calls, [need], False, values)


def _keys(plan: DeployPlan, caller: Caller) -> Iterator[Answer]:
    aws = plan.config.aws
    for setting, key in (("kms_key", aws.kms_key), ("volume_kms_key", aws.volume_kms_key)):
        if key:
            yield from check_key(caller.calls, f"aws.{setting}", key)
