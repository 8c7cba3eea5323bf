"""Tags by which the jobs of a sweep are recognised elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lingotune.launch.render.training_job import Pairs

APPLICATION_CHANNEL = "hydra"
"""Channel of a job that `hydra/launcher=sagemaker` starts, with the composed config; no other has one."""
SWEEP_TAG, TRIAL_TAG, VARIES_TAG = "lingotune:sweep", "lingotune:trial", "lingotune:varies"
PRUNED_TAG = "lingotune:pruned"
"""Tag of a job that its sweep has ended for its scores, unlike others that were stopped."""
_PAIRS = re.compile(r" (?=[\w./@+~-]+=)")
"""What parts the `key=value` of VARIES_TAG; values may hold blanks."""
LONGEST_TAG = 256
"""Characters of a tag's value."""
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9 _.:/=+@-]")


def sweep_tags(name: str, number: int | None, varies: Mapping[str, str]) -> Pairs:
    """Write the tags of one job of a sweep. number: None before it has one."""
    values = " ".join(f"{key}={value}" for key, value in varies.items())
    tags = [(SWEEP_TAG, name), (VARIES_TAG, tag_value(values))]
    if number is not None:
        tags.insert(1, (TRIAL_TAG, str(number)))
    return tuple(tags)


def read_varies(tag: str) -> dict[str, str]:
    """Read swept keys and values back from the tag of a job; '' has none."""
    pairs = (pair.partition("=") for pair in _PAIRS.split(tag))
    return {key: value for key, same, value in pairs if same}


def tag_value(text: str) -> str:
    """Write a text with the characters and in the length that AWS allows in a tag's value."""
    plain = _NOT_IN_TAGS.sub("_", text)
    return plain if len(plain) <= LONGEST_TAG else plain[: LONGEST_TAG - 3] + "..."
