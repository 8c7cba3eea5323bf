"""Notifications at the end of jobs: EventBridge tells an SNS topic of those that were submitted with it.

A topic has one rule, which names its jobs, so that rules do not pile up. Names match as beginnings, for
further attempts. Those of jobs that have ended are dropped once the rule is full.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from lingotune.config.problems import ConfigError, Problem

_LONGEST = 2048
"""Characters of an event pattern that EventBridge takes."""
_STATES = ["Completed", "Failed", "Stopped"]
_TARGET = "topic"


def rule_of(topic: str) -> str:
    """Name the rule of a topic."""
    return f"lingotune-{sha256(topic.encode()).hexdigest()[:16]}"


def notify(clients: Any, topic: str, names: Sequence[str], stem: str = "") -> None:
    """Let a topic be told when jobs end; to be called before they are started, and again at will.

    clients: has `client(service)`. stem: beginning of all names, which stands for them where they are too
    many. ConfigError if the rule holds no more names; errors of botocore pass.
    """
    events, rule = clients.client("events"), rule_of(topic)
    before = _names_in(events, rule)
    chosen = _fitting(names, before) or _fitting([stem] if stem else [], before)
    if chosen is None:
        running = list(_running(clients.client("sagemaker")))
        kept = [one for one in before if any(name.startswith(one) for name in running)]
        chosen = _fitting(names, kept) or _fitting([stem] if stem else [], kept)
    if chosen is None:
        what = f"its rule {rule} holds no more jobs that run: a pattern has {_LONGEST} characters"
        raise ConfigError(
            [Problem(f"aws.notify={topic}", what, "another topic; nothing was started")]
        )
    events.put_rule(Name=rule, EventPattern=pattern_of(chosen), Description=f"lingotune: {topic}")
    answer = events.put_targets(Rule=rule, Targets=[{"Id": _TARGET, "Arn": topic}])
    if answer["FailedEntryCount"]:
        what = f"is no target of a rule: {answer['FailedEntries'][0].get('ErrorMessage', '')}"
        raise ConfigError([Problem(f"aws.notify={topic}", what, "nothing was started")])


def pattern_of(names: Sequence[str]) -> str:
    """Write the pattern of events that tell the end of jobs with these beginnings of names."""
    detail = {"TrainingJobName": [{"prefix": name} for name in names], "TrainingJobStatus": _STATES}
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Training Job State Change"],
        "detail": detail,
    }
    return json.dumps(pattern, separators=(",", ":"))


def _fitting(names: Sequence[str], before: Sequence[str]) -> list[str] | None:
    """Add names to those that the rule has; None if there are none, or the pattern becomes too long."""
    if not names:
        return None
    chosen = list(dict.fromkeys([*before, *names]))
    return chosen if len(pattern_of(chosen)) <= _LONGEST else None


def _names_in(events: Any, rule: str) -> list[str]:
    try:
        pattern = json.loads(events.describe_rule(Name=rule)["EventPattern"])
    except events.exceptions.ResourceNotFoundException:
        return []
    return [one["prefix"] for one in pattern["detail"]["TrainingJobName"]]


def _running(sagemaker: Any) -> Iterator[str]:
    pages = sagemaker.get_paginator("list_training_jobs")
    for status in ("InProgress", "Stopping"):
        for page in pages.paginate(StatusEquals=status, PaginationConfig={"PageSize": 100}):
            yield from (job["TrainingJobName"] for job in page["TrainingJobSummaries"])


def lets_events_publish(policy: Mapping[str, Any]) -> bool:
    """Tell whether a topic's policy lets EventBridge publish, by one of its statements."""
    return any(
        statement.get("Effect") == "Allow"
        and "events.amazonaws.com" in _services(statement.get("Principal"))
        and {"sns:publish", "sns:*", "*"} & {a.lower() for a in _listed(statement.get("Action"))}
        for statement in policy.get("Statement", [])
    )


def _services(principal: Any) -> list[str]:
    if isinstance(principal, Mapping):
        return _listed(principal.get("Service"))
    return ["events.amazonaws.com"] if principal == "*" else []


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
