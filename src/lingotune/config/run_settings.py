"""The settings that make a run what it is, as texts by dotted key, and how two runs differ in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lingotune.config.jobfile import plain
from lingotune.config.machines import as_planned
from lingotune.config.schema import JobConfig

MAY_CHANGE = (
    "resume", "cluster", "per_device_bs", "scaling", "hub", "evaluation.per_device_bs",
    "distillation.teacher", "training.save_steps", "training.keep_checkpoints", "training.report_to",
    "training.fit_memory",
)  # fmt: skip
"""Settings, and sections, that a run may go on with other values of. Some of them decide about the batch
of an update, which is compared by itself."""


def settings_of(job: JobConfig) -> dict[str, str]:
    """List the settings that make a run what it is: dotted key -> value as text."""
    return {
        key: value
        for key, value in _flat(plain(as_planned(job)))
        if not any(key == may or key.startswith(f"{may}.") for may in MAY_CHANGE)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text


def differences(
    before: Mapping[str, str], now: Mapping[str, str], text: str = "{} {} there, {} here"
) -> list[str]:
    """Format `lr 0.001 there, 0.002 here` for every key that differs, in the order of the keys here.

    text: takes key, value before and value now.
    """
    keys = [key for key in dict.fromkeys([*now, *before]) if before.get(key) != now.get(key)]
    return [text.format(key, _short(before.get(key)), _short(now.get(key))) for key in keys]


def _short(value: str | None) -> str:
    if value is None:
        return "not set"
    is_digest = len(value) == 64 and set(value) <= set("0123456789abcdef")
    return value[:12] if is_digest else value or "none"
