"""GPUs: peak arithmetic, memory bandwidth and bus bandwidth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lingotune.catalog import load
from lingotune.config.schema import Precision


@dataclass(frozen=True)
class Gpu:
    """Peaks of a GPU.

    peaks: FLOPs per second by precision. memory, bus: bytes per second; None = unknown. share: of the peak
    that an encoder's training reaches: measured on this GPU if the facts have it, else assumed for all.
    """

    peaks: Mapping[str, float]
    memory: float | None
    bus: float | None
    share: float


def find_gpu(name: str) -> Gpu | None:
    """Look up a GPU by its usual name or the driver's name for it; None if it is unknown."""
    words = name.replace("-", " ").split()
    found = next((known for key, known in load("gpus")["gpus"].items() if key in words), None)
    if found is None:
        return None
    precisions = {one.value for one in Precision}
    peaks = {key: value * 1e12 for key, value in found.items() if key in precisions}
    memory, bus = (found.get(key) for key in ("memory_gbs", "bus_gbs"))
    share = found.get("share", load("gpus")["assumed_share"])
    return Gpu(peaks, memory and memory * 1e9, bus and bus * 1e9, share)
