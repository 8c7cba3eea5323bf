"""Library versions of each image, and what lets them run on this machine."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from lingotune.catalog import load
from lingotune.catalog.hardware import Image
from lingotune.config.typed_json import from_json


@dataclass(frozen=True)
class Lane:
    """Library versions of an image, and the newest Python that these run on."""

    newest_python: tuple[int, int]
    pins: dict[str, str]


@dataclass(frozen=True)
class Lanes:
    """Environments to rehearse in. Packages are pinned to versions; None = any version.

    toolkit: SageMaker's training toolkit. beside_toolkit: its requirements. every_lane: what all images
    need here. lanes: by the image's version of transformers.
    """

    toolkit: dict[str, str]
    beside_toolkit: dict[str, str | None]
    every_lane: dict[str, str]
    lanes: dict[str, Lane]


@functools.cache
def known_lanes() -> Lanes:
    """Read the table of lanes."""
    return from_json(Lanes, load("lanes", "lingotune.launch"))


def lane_pins(image: Image) -> dict[str, str]:
    """Map libraries to their versions in an image; empty if these are unknown."""
    lane = known_lanes().lanes.get(image.transformers)
    return lane.pins if lane else {}
