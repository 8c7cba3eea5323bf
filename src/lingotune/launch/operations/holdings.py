"""Objects of jobs in S3: what lies there, of which jobs, and which jobs need it. Nothing is changed.

Below the root of a bucket each job has its output, checkpoints and curves by its name. Code, job files,
data and models lie under their digests, and jobs share them. A sweep has its pin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lingotune.contract.container import JOB_FILE
from lingotune.data.transfer.objects import split_uri
from lingotune.launch.aws.account.calls import Calls
from lingotune.launch.aws.again import code_uri
from lingotune.launch.operations.remote import Remote
from lingotune.launch.sweeps.pin import Pin

OF_A_JOB = ("output", "checkpoints", "tensorboard")
SHARED = ("code", "data", "models", "jobs", "sweeps")
KINDS = (*OF_A_JOB, *SHARED)
"""Folders below the root."""

Place = tuple[str, str, str]
"""Root, kind, and name of what lies there: of a job or sweep, or a digest."""


@dataclass
class Holding:
    """Objects that lie in one place and are kept or deleted together. newest: seconds since 1970."""

    place: Place
    keys: list[str] = field(default_factory=list)
    bytes: int = 0
    newest: float = 0.0

    @property
    def kind(self) -> str:
        """Folder below the root."""
        return self.place[1]

    @property
    def uri(self) -> str:
        """Its s3:// URI."""
        return "/".join(self.place) + "/"

    @property
    def bucket(self) -> str:
        """Bucket that it lies in."""
        return split_uri(self.place[0])[0]


def holdings_under(calls: Calls, root: str) -> dict[Place, Holding]:
    """List all that lies below a root, by place; what lingotune has not put there is left out.

    Unanswered if AWS does not answer.
    """
    bucket, key = split_uri(root)
    prefix = f"{key}/" if key else ""
    found: dict[Place, Holding] = {}
    for kind in KINDS:
        for entry in _objects(calls, bucket, f"{prefix}{kind}/"):
            name, slash, _ = entry["Key"][len(prefix) + len(kind) + 1 :].partition("/")
            if not slash or not name:
                continue
            place = (root, kind, name)
            one = found.setdefault(place, Holding(place))
            one.keys.append(entry["Key"])
            one.bytes += entry["Size"]
            changed: datetime = entry["LastModified"]
            one.newest = max(one.newest, changed.timestamp())
    return found


def _objects(calls: Calls, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
    token: dict[str, Any] = {}
    while True:
        page = calls.ask("s3", "list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
        yield from page.get("Contents", [])
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def places_of(job: Remote, roots: Sequence[str]) -> set[Place]:
    """Find the places that a job writes or reads."""
    raw = job.raw
    output = raw.get("OutputDataConfig", {}).get("S3OutputPath", "").rstrip("/")
    sources = [
        channel.get("DataSource", {}).get("S3DataSource", {}).get("S3Uri")
        for channel in raw.get("InputDataConfig", [])
    ]
    curves = raw.get("TensorBoardOutputConfig", {}).get("S3OutputPath")
    uris = [f"{output}/{job.name}", job.checkpoint_uri, curves, code_uri(raw), *sources]
    return _places(filter(None, uris), roots)


def places_of_pin(pin: Pin, root: str, roots: Sequence[str], waiting: Iterable[str]) -> set[Place]:
    """Find the places that a sweep needs: its pin, and what its trials that wait will read.

    waiting: keys of these.
    """
    keys = set(waiting)
    uris = [f"{root}/sweeps/{pin.name}/", *([pin.code_uri] if keys else [])]
    for trial in pin.trials:
        if trial.key in keys:
            uris += [f"{root}/jobs/{trial.key}/{JOB_FILE}"]
            uris += [uri for uri in (trial.data_uri, trial.model_uri) if uri]
    return _places(uris, roots)


def _places(uris: Iterable[str], roots: Sequence[str]) -> set[Place]:
    found = set()
    for uri in uris:
        for root in roots:
            if not uri.startswith(f"{root}/"):
                continue
            kind, _, rest = uri[len(root) + 1 :].partition("/")
            name = rest.partition("/")[0]
            if kind in KINDS and name:
                found.add((root, kind, name))
    return found
