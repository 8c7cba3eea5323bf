"""Which library versions each image brings, and what lets them run on this machine."""

from __future__ import annotations

from typing import Any

from lingotune.catalog import load
from lingotune.catalog.hardware import Image


def known_lanes() -> dict[str, Any]:
    """Read the table of lanes: one environment of library versions an image."""
    lanes: dict[str, Any] = load("lanes", "lingotune.launch")
    return lanes


def lane_pins(image: Image) -> dict[str, str]:
    """Library -> version, as an image brings them; empty where that is not known."""
    pins: dict[str, str] = known_lanes()["lanes"].get(image.transformers, {}).get("pins", {})
    return pins
