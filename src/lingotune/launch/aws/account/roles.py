"""Checks of the job's role and of permissions, as read from IAM and simulated by IAM."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

from lingotune.config.problems import Problem, Severity
from lingotune.launch.aws.account.calls import Answer, Calls, Refused, Response, Unanswered

SAGEMAKER = "sagemaker.amazonaws.com"
_ROLE = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/(.+/)?(?P<name>[^/]+)"
)
_SESSION = re.compile(r"arn:aws[a-z-]*:sts::\d{12}:assumed-role/(?P<role>[^/]+)/.+")
_USER = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:user/.+")


@dataclass(frozen=True)
class Trust:
    """Verdict on whether SageMaker may assume a role, and the condition keys it depends on."""

    granted: bool
    conditions: tuple[str, ...] = ()


def trust_of(policy: str | Response) -> Trust:
    """Read what a trust policy (JSON, URL-encoded JSON, or parsed) grants to SageMaker.

    ValueError if it is not a policy.
    """
    if isinstance(policy, str):
        policy = json.loads(unquote(policy))
    if not isinstance(policy, Mapping):
        raise ValueError("not a policy")
    about = [s for s in _listed(policy.get("Statement")) if _is_about_sagemaker(s)]
    allow = [s for s in about if s.get("Effect") == "Allow"]
    deny = [s for s in about if s.get("Effect") == "Deny"]
    granted = bool(allow) and all(s.get("Condition") for s in deny)
    free = any(not s.get("Condition") for s in allow)
    deciding = deny if free else allow + deny
    keys = {key for s in deciding for test in (s.get("Condition") or {}).values() for key in test}
    return Trust(granted, tuple(sorted(keys)) if granted else ())


def _is_about_sagemaker(statement: Response) -> bool:
    if not _names_sagemaker(statement.get("Principal")):
        return False
    if "NotAction" in statement:
        return not _names_assume_role(statement["NotAction"])
    return _names_assume_role(statement.get("Action"))


def _names_sagemaker(principal: Any) -> bool:
    if not isinstance(principal, Mapping):
        return bool(principal == "*")
    services, accounts = (_listed(principal.get(kind)) for kind in ("Service", "AWS"))
    return SAGEMAKER in services or "*" in services + accounts


def _names_assume_role(actions: Any) -> bool:
    return any(fnmatchcase("sts:assumerole", str(a).lower()) for a in _listed(actions))


def _listed(value: Any) -> list[Any]:
    """Return a list, as IAM writes a list of one as that item."""
    return [] if value is None else value if isinstance(value, list) else [value]


def check_role(calls: Calls, arn: str, account: str | None) -> Iterator[Answer]:
    """Check that the role exists in the caller's account and trusts SageMaker. account: None = unknown."""
    parts = _ROLE.fullmatch(arn)
    if parts is None:
        raise Unanswered(f"{arn} is not the ARN of a role")
    where, name = f"aws.role={arn}", parts["name"]
    if account and parts["account"] != account:
        what = f"is a role of account {parts['account']}; the credentials are of {account}"
        fix = f"aws.role=arn:{parts['partition']}:iam::{account}:role/..., or AWS_PROFILE=..."
        why = "a role can be passed within its own account only"
        yield Problem(where, what, fix, check="role-other-account", why=why)
        return
    why = "SageMaker takes on the role to read the data and to write the model"
    try:
        role = calls.ask("iam", "get_role", ("NoSuchEntity",), RoleName=name)["Role"]
    except Refused:
        fix = "aws iam list-roles --query 'Roles[].Arn' shows those that there are"
        yield Problem(where, "does not exist", fix, check="role-missing", why=why)
        return
    if role["Arn"] != arn:
        what = f"does not exist; the role of that name is {role['Arn']}"
        yield Problem(where, what, f"aws.role={role['Arn']}", check="role-missing", why=why)
    trust = _read_trust(role)
    if not trust.granted:
        what = f"does not trust {SAGEMAKER}: SageMaker cannot take it on"
        statement = f'Allow sts:AssumeRole to {{"Service": "{SAGEMAKER}"}}'
        fix = f"add to its trust policy (aws iam update-assume-role-policy): {statement}"
        yield Problem(where, what, fix, check="role-trust", why=why)
    elif role["Arn"] == arn:
        under = f", under conditions on {', '.join(trust.conditions)}" if trust.conditions else ""
        yield f"{arn} trusts {SAGEMAKER}{under}"


def _read_trust(role: Response) -> Trust:
    try:
        return trust_of(role["AssumeRolePolicyDocument"])
    except (KeyError, ValueError) as error:
        raise Unanswered(f"its trust policy cannot be read ({error})") from error


# --- permissions --------------------------------------------------------------------------------


def check_caller(
    calls: Calls, caller: str | None, actions: Sequence[str], resource: str, where: str
) -> Iterator[Answer]:
    """Check by IAM's simulation that the caller may do the actions. caller: ARN. where: the setting."""
    denied = _denied(calls, _principal(calls, caller), actions, resource)
    if denied:
        what = f"{caller} may not {' and '.join(denied)} on {resource}"
        fix = f"a policy that allows {', '.join(denied)} on {resource}, or AWS_PROFILE=..."
        why = "the submit would be refused"
        yield Problem(where, what, fix, check="caller-permission", why=why)
    else:
        yield f"{caller} may {' and '.join(actions)}"


def check_role_access(
    calls: Calls, role: str, wanted: Sequence[tuple[tuple[str, ...], str]]
) -> Iterator[Answer]:
    """Check that the role may do what the job will do. wanted: actions, each with its resource.

    Only warns, as a policy of the resource may allow what the role's own policies do not.
    """
    for actions, resource in wanted:
        denied = _denied(calls, role, actions, resource)
        if denied:
            what = f"its policies do not allow {' and '.join(denied)} on {resource}"
            fix = f"a policy of the role, or of the resource, that allows {', '.join(denied)}"
            why = "the job would fail on machines that are billed"
            severity = Severity.warning
            yield Problem(f"aws.role={role}", what, fix, severity, "role-permission", why)
        else:
            yield f"may {' and '.join(actions)} on {resource}"


def _principal(calls: Calls, caller: str | None) -> str:
    """Find the user or role whose policies decide what a caller may do."""
    session = _SESSION.fullmatch(caller or "")
    if session:  # a session's ARN lacks the role's path
        role = calls.ask("iam", "get_role", RoleName=session["role"])["Role"]
        return str(role["Arn"])
    if caller is None or not _USER.fullmatch(caller):
        raise Unanswered(f"IAM simulates users and roles only, not {caller or 'an unknown caller'}")
    return caller


def _denied(calls: Calls, principal: str, actions: Sequence[str], resource: str) -> list[str]:
    """List the actions that are certainly denied; Unanswered if that depends on conditions."""
    context = {"iam:PassedToService": SAGEMAKER, "aws:RequestedRegion": calls.region}
    answer = calls.ask(
        "iam",
        "simulate_principal_policy",
        PolicySourceArn=principal,
        ActionNames=list(actions),
        ResourceArns=[resource],
        ContextEntries=[
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in context.items()
        ],
    )
    results = {result["EvalActionName"]: result for result in answer["EvaluationResults"]}
    refused = [action for action in actions if results[action]["EvalDecision"] != "allowed"]
    open_keys = {key for action in refused for key in _missing_keys(results[action])}
    denied = [action for action in refused if not _missing_keys(results[action])]
    if open_keys and not denied:
        raise Unanswered(f"it depends on {', '.join(sorted(open_keys))}")
    return denied


def _missing_keys(result: Response) -> list[str]:
    """List the keys that the policies ask for but the simulation was not given."""
    parts = [result, *result.get("ResourceSpecificResults", [])]
    return [key for part in parts for key in part.get("MissingContextValues", [])]
