"""Names of sweeps, and the tags by which their jobs are recognised elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lingotune.config.schema import Search
from lingotune.launch.compose.compose import Composed
from lingotune.launch.render.training_job import Pairs

NAME_TAG, TRIAL_TAG, VARIES_TAG = "lingotune:sweep", "lingotune:trial", "lingotune:varies"
LONGEST_TAG = 256
"""Characters of a tag's value."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9 _.:/=+@-]")


@dataclass(frozen=True)
class SweepName:
    """Name of a sweep and of its folder, and the digest of what it is: 64 hexadecimal digits.

    The digest of a grid follows from its jobs; of a search from its space, the rest of the job, and how it
    is searched. More trials, slots or retries leave it as it is.
    """

    name: str
    identity: str


def name_of(composed: Sequence[Composed], digests: Sequence[str]) -> SweepName | None:
    """Name the sweep of composed jobs; None for a job of its own.

    digests: SHA-256 of each job file.
    """
    first = composed[0]
    if first.space is None:
        return None
    settings = first.config.sweep
    parts: list[object] = [sorted(digests)]
    if settings.search is not Search.grid:
        axes = sorted((axis.key, axis.text.partition("=")[2]) for axis in first.space.axes)
        parts += [axes, settings.search.value, settings.seed]
    identity = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    of_file = _NOT_IN_NAMES.sub("-", first.space.file or "").strip("-._")[:63]
    return SweepName(settings.name or of_file or f"sweep-{identity[:8]}", identity)


def sweep_tags(name: str, number: int | None, varies: Mapping[str, str]) -> Pairs:
    """Write the tags of one job of a sweep. number: None before it has one."""
    values = " ".join(f"{key}={value}" for key, value in varies.items())
    tags = [(NAME_TAG, name), (VARIES_TAG, tag_value(values))]
    if number is not None:
        tags.insert(1, (TRIAL_TAG, str(number)))
    return tuple(tags)


def tag_value(text: str) -> str:
    """Write a text with the characters and in the length that AWS allows in a tag's value."""
    plain = _NOT_IN_TAGS.sub("_", text)
    return plain if len(plain) <= LONGEST_TAG else plain[: LONGEST_TAG - 3] + "..."
