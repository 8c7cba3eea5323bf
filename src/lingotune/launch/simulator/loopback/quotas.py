"""The account's quotas: instances of a type at a time, as CreateTrainingJob enforces and lists them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lingotune.launch.render.service_model import choices
from lingotune.launch.simulator.loopback.refusal import Refusal

Fields = dict[str, Any]
KINDS = ("training job usage", "spot training job usage", "training warm pool usage")
"""Quotas of each instance type that trains, as AWS names them behind `ml.p3.2xlarge for`."""
_SERVING = {
    "endpoint usage": "ProductionVariantInstanceType",
    "transform job usage": "TransformInstanceType",
}
"""Quotas of each instance type that serves -> the model's list of these types."""


def known_types() -> list[str]:
    """List the instance types that have a quota."""
    shapes = ("TrainingInstanceType", *_SERVING.values())
    return list(dict.fromkeys(name for shape in shapes for name in choices(shape)))


@dataclass(frozen=True)
class Quotas:
    """Instances that may be used at a time, for each of KINDS.

    every: of each instance type; None = as many as are asked for. by_type: of single types.
    """

    every: int | None = None
    by_type: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        every = "unlimited" if self.every is None else str(self.every)
        parts = [f"{every} of each type", *(f"{n} {t}" for t, n in self.by_type.items())]
        return f"quota of instances at a time: {', '.join(parts)}"

    def of(self, instance_type: str) -> int | None:
        """Tell the quota of an instance type; None = there is none."""
        return self.by_type.get(instance_type, self.every)

    def check(self, request: Fields, running: Sequence[Fields]) -> None:
        """Refuse a CreateTrainingJob request that exceeds a quota beside those that have not ended."""
        kind = _kind(request)
        for instance_type, asked in instances(request).items():
            used = sum(instances(r).get(instance_type, 0) for r in running if _kind(r) == kind)
            self.require(f"{instance_type} for {kind}", instance_type, used, asked)

    def require(self, name: str, instance_type: str, used: int, asked: int) -> None:
        """Refuse what exceeds the quota of this name. used: instances that count against it already."""
        quota = self.of(instance_type)
        if quota is not None and used + asked > quota:
            raise Refusal(
                "ResourceLimitExceeded",
                f"The account-level service limit '{name}' is {quota} "
                f"Instances, with current utilization of {used} Instances and a request delta "
                f"of {asked} Instances. Please use AWS Service Quotas to request an increase "
                "for this quota. If AWS Service Quotas is not available, contact AWS support "
                "to request an increase for this quota.",
            )

    def listed(self, region: str, account: str) -> Iterator[Fields]:
        """List all quotas in the form of ListServiceQuotas, sorted by name."""
        shapes = {**dict.fromkeys(KINDS, "TrainingInstanceType"), **_SERVING}
        names = {
            f"{instance_type} for {kind}": quota
            for kind, shape in shapes.items()
            for instance_type in choices(shape)
            if (quota := self.of(instance_type)) is not None
        }
        for name, quota in sorted(names.items()):
            code = f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
            yield {
                "ServiceCode": "sagemaker",
                "ServiceName": "Amazon SageMaker",
                "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:sagemaker/{code}",
                "QuotaCode": code,
                "QuotaName": name,
                "Value": float(quota),
                "Unit": "None",
                "Adjustable": True,
                "GlobalQuota": False,
            }


def _kind(request: Fields) -> str:
    return KINDS[1] if request.get("EnableManagedSpotTraining") else KINDS[0]


def instances(request: Fields) -> dict[str, int]:
    """Count the instances of a request by type; of a list of preferences all types count."""
    asked = request["ResourceConfig"]
    count = asked.get("InstanceCount", 1)
    if "InstanceType" in asked:
        return {asked["InstanceType"]: count}
    found: dict[str, int] = {}
    for entry in [*asked.get("InstanceGroups", []), *asked.get("InstancePreferences", [])]:
        number = entry.get("InstanceCount", count)
        found[entry["InstanceType"]] = found.get(entry["InstanceType"], 0) + number
    return found
