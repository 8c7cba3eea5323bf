"""Lines of an endpoint's or a batch's containers, in CloudWatch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from lingotune.config.problems import printable
from lingotune.launch.aws.account.answers import answered, connected
from lingotune.launch.aws.account.calls import Calls, Refused
from lingotune.launch.deploy.standing import Standing

_PAUSE = 2.0


def print_logs(
    found: Standing,
    region: str | None,
    tell: Callable[[str], None],
    since: float | None,
    *,
    follow: bool,
) -> int:
    """Print the lines of its containers; returns their number. since: seconds since 1970.

    follow: until Ctrl-C. ConfigError if AWS does not answer.
    """
    calls, count, seen = connected(region), 0, set[str]()
    while True:
        for event in answered(found.name, lambda: list(_events(calls, found, since))):
            if event["eventId"] not in seen:
                seen.add(event["eventId"])
                count += 1
                host = event["logStreamName"].rpartition("/")[2]
                tell(f"{host} | {printable(event['message'])}")
        if not follow:
            return count
        time.sleep(_PAUSE)


def _events(calls: Calls, found: Standing, since: float | None) -> Iterator[dict[str, Any]]:
    asked: dict[str, Any] = {"logGroupName": f"/aws/sagemaker/Endpoints/{found.name}"}
    if found.kind == "batch":
        asked = {
            "logGroupName": "/aws/sagemaker/TransformJobs",
            "logStreamNamePrefix": f"{found.name}/",
        }
    if since is not None:
        asked["startTime"] = int(since * 1000)
    while True:
        try:
            page = calls.ask("logs", "filter_log_events", ("ResourceNotFound",), **asked)
        except Refused:
            return
        yield from page["events"]
        if not page.get("nextToken"):
            return
        asked["nextToken"] = page["nextToken"]
