"""Partitions of AWS: which regions they have, and how the addresses in them end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from lingotune.catalog import load

_CONSOLES = {
    "aws": "{region}.console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-eusc": "{region}.console.amazonaws-eusc.eu",
}
"""Hosts of the console, which botocore does not know; those of the isolated partitions are not public."""


@dataclass(frozen=True)
class Partition:
    """One partition of AWS, as botocore describes it.

    pattern: of its regions' names, those that botocore does not know yet included. suffix,
    dual_stack_suffix: ends of the hosts in it, e.g. amazonaws.com.
    """

    id: str
    pattern: str
    suffix: str
    dual_stack_suffix: str
    regions: tuple[str, ...]


@lru_cache(maxsize=1)
def partitions() -> dict[str, Partition]:
    """Map the partitions' ids to what is known of them."""
    rows = load("partitions")["partitions"]
    return {
        id: Partition(id, **{**row, "regions": tuple(row["regions"])}) for id, row in rows.items()
    }


def known_partition(region: str) -> Partition | None:
    """Find the partition that a region is part of by its name; None for what is no region's name."""
    return next((p for p in partitions().values() if re.search(p.pattern, region)), None)


def partition_of(region: str) -> str:
    """Name the partition of a region; `aws` for a name that no partition has."""
    found = known_partition(region)
    return found.id if found else "aws"


def all_regions() -> list[str]:
    """List the regions of all partitions that are known by name."""
    return [region for partition in partitions().values() for region in partition.regions]


def console_of(region: str) -> str | None:
    """Build the address of a region's console; None where it is not public."""
    host = _CONSOLES.get(partition_of(region))
    return f"https://{host.format(region=region)}" if host else None
