"""Who calls, and what may be done: the answers of STS and IAM that moto lacks. Everything is allowed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from xml.sax.saxutils import escape

from moto.core.models import DEFAULT_ACCOUNT_ID

ACCOUNT: str = DEFAULT_ACCOUNT_ID
"""Number of the account."""
CALLER = f"arn:aws:iam::{ACCOUNT}:user/loopback"
"""The user whose keys are those of `fake_account`."""


def answer(asked: Mapping[str, str]) -> str | None:
    """Answer a request in AWS's query protocol as XML; None if moto shall."""
    action = asked.get("Action")
    if action == "GetCallerIdentity":
        result = f"<Arn>{CALLER}</Arn><UserId>loopback</UserId><Account>{ACCOUNT}</Account>"
    elif action == "SimulatePrincipalPolicy":
        result = f"<EvaluationResults>{_allowed(asked)}</EvaluationResults>"
        result += "<IsTruncated>false</IsTruncated>"
    else:
        return None
    return f"<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"


def _allowed(asked: Mapping[str, str]) -> str:
    names = (asked.get(f"ActionNames.member.{number}") for number in itertools.count(1))
    return "".join(
        f"<member><EvalActionName>{escape(name)}</EvalActionName>"
        "<EvalDecision>allowed</EvalDecision></member>"
        for name in itertools.takewhile(bool, names)
        if name is not None
    )
