"""GPUs: peak arithmetic, memory bandwidth and bus bandwidth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lingotune.catalog import load


@dataclass(frozen=True)
class Gpu:
    """Peaks of a GPU.

    peaks: FLOPs per second by precision. memory, bus: bytes per second; None = unknown.
    """

    peaks: Mapping[str, float]
    memory: float | None
    bus: float | None


def find_gpu(name: str) -> Gpu | None:
    """Look up a GPU by its usual name or the driver's name for it; None if it is unknown."""
    words = name.replace("-", " ").split()
    found = next((known for key, known in load("gpus")["gpus"].items() if key in words), None)
    if found is None:
        return None
    peaks = {key: value * 1e12 for key, value in found.items() if not key.endswith("_gbs")}
    memory, bus = (found.get(key) for key in ("memory_gbs", "bus_gbs"))
    return Gpu(peaks, memory and memory * 1e9, bus and bus * 1e9)
