"""Checks of prepared data against the image that will read it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lingotune.catalog.hardware import resolve_image, version
from lingotune.config.schema import ClusterConfig
from lingotune.data.prepared.manifest import Manifest
from lingotune.launch.checks.lanes import lane_pins
from lingotune.preflight.registry import Found, Table


@dataclass(frozen=True)
class DataForImage:
    """Manifest of prepared data, and the cluster that is to read the data."""

    manifest: Manifest
    cluster: ClusterConfig


PREPARED: Table[DataForImage] = Table()


@PREPARED.check(
    "prepared-too-new", "a file that the image cannot read is found out once it is billed"
)
def _too_new(data: DataForImage) -> Iterator[Found]:
    image = resolve_image(data.cluster)
    pins = lane_pins(image) if image and data.cluster.image.uri is None else {}
    for library, needed in data.manifest.readers.items():
        has = pins.get(library)
        if image and has and version(has) < version(needed):
            what = f"needs {library} {needed}; the image of transformers {image.transformers} has {has}"
            fix = "cluster.image.lane=auto, or data prepared by this version of lingotune"
            yield f"prepared data {data.manifest.digest[:12]}", what, fix
