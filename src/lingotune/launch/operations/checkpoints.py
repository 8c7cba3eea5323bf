"""Checkpoints of jobs in S3."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lingotune.data.transfer.objects import split_uri
from lingotune.launch.aws.account.calls import Calls

_WHOLE = re.compile(r"(node-\d+/|)checkpoint-(\d+)/manifest\.json")
"""Folder of a node, and step, of a checkpoint that counts: its manifest is written last. What a run has set
aside has other names."""


def newest_step(calls: Calls, uri: str) -> int | None:
    """Find the step of the newest checkpoint that is whole on every node; None if there is none.

    Unanswered if AWS does not answer.
    """
    steps: dict[str, set[int]] = {}
    for name in _names(calls, uri):
        if match := _WHOLE.fullmatch(name):
            steps.setdefault(match[1], set()).add(int(match[2]))
    return max(set.intersection(*steps.values()), default=None) if steps else None


def _names(calls: Calls, uri: str) -> Iterator[str]:
    bucket, prefix = split_uri(uri.rstrip("/") + "/")
    token: dict[str, Any] = {}
    while True:
        page = calls.ask("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
        yield from (entry["Key"][len(prefix) :] for entry in page.get("Contents", []))
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}
