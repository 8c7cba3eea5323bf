"""Checks of what AWS has: machines that it sells no longer, and regions without images. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lingotune.catalog.hardware import instance_of, option_name, registries
from lingotune.catalog.neighbours import nearest_sold
from lingotune.catalog.partitions import known_partition
from lingotune.config.problems import Severity, listed, nearest
from lingotune.config.schema import LaunchConfig
from lingotune.preflight.registry import Found, Table

SUPPLY: Table[LaunchConfig] = Table()


@SUPPLY.check(
    "instance-not-sold", "capacity that AWS does not list may never come", Severity.warning
)
def _not_sold(config: LaunchConfig) -> Iterator[Found]:
    cluster, instance = config.cluster, instance_of(config.cluster)
    if instance is None or instance.sold:
        return
    what = f"EC2 has not listed {instance.family} since May 2026, and may have none for you"
    other = nearest_sold(cluster)
    fix = "another machine"
    if other is not None:
        by_option = cluster.name == option_name(instance.instance_type)
        fix = (
            f"cluster={option_name(other.instance_type)}"
            if by_option
            else f"cluster.instance_type={other.instance_type}"
        )
    yield f"cluster.instance_type={instance.instance_type}", what, fix


@SUPPLY.check("region-without-images", "each region has its own registry of images")
def _region(config: LaunchConfig) -> Iterator[Found]:
    region = config.aws.region
    if region is None or known_partition(region) is None or config.cluster.image.uri is not None:
        return
    if region not in registries():
        near = nearest(region, [*registries()])
        what = f"Hugging Face's training images are in {len(registries())} regions, not in this one{near}"
        fix = f"aws.region={listed(region, list(registries()))}"
        yield f"aws.region={region}", what, f"{fix}, or {_own_image(region)}"


def _own_image(region: str) -> str:
    """Write what takes a copy of an image from the account's own registry, which every region has."""
    found = known_partition(region)
    host = f"ACCOUNT.dkr.ecr.{region}.{found.suffix if found else 'amazonaws.com'}"
    return (
        "a copy of an image in your own registry there: cluster.image.lane=pinned"
        f" cluster.image.uri={host}/NAME:TAG"
    )
