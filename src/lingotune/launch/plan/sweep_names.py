"""Names of sweeps."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lingotune.config.schema import Search
from lingotune.launch.compose.compose import Composed

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class SweepName:
    """Name of a sweep and of its folder, and the digest of what it is: 64 hexadecimal digits.

    The digest of a grid follows from its jobs; of a search from its space, the rest of the job, and how it
    is searched. More trials, slots or retries leave it as it is; on SageMaker so does an edit of own code,
    which a sweep pins.
    """

    name: str
    identity: str


def without_code(one: Composed) -> Composed:
    """Return a job without what follows from the contents of its own code; the same if it has none."""
    code = one.config.code
    if code.sha256 is None:
        return one
    code = replace(code, sha256=None, requirements=[])
    return replace(one, config=replace(one.config, code=code))


def name_of(composed: Sequence[Composed]) -> SweepName | None:
    """Name the sweep of composed jobs; None for a job of its own."""
    first = composed[0]
    if first.space is None:
        return None
    settings = first.config.sweep
    pins = first.config.cluster.instance_type is not None
    keys = [without_code(one).key if pins else one.key for one in composed]
    parts: list[object] = [sorted(keys)]
    if settings.search is not Search.grid:
        axes = sorted((axis.key, axis.text.partition("=")[2]) for axis in first.space.axes)
        parts += [axes, settings.search.value, settings.seed]
    identity = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    of_file = _NOT_IN_NAMES.sub("-", first.space.file or "").strip("-._")[:63]
    return SweepName(settings.name or of_file or f"sweep-{identity[:8]}", identity)
