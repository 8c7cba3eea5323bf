"""Endpoints and batches that there are, and what they cost by the hour."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from lingotune.config.problems import CLOUD_FAILED, ConfigError, Problem
from lingotune.config.schema import AwsConfig
from lingotune.launch.aws.connection import connect, with_machine_region
from lingotune.launch.aws.deployments import Deployments, Thing
from lingotune.launch.aws.faults import errors, said_by
from lingotune.launch.cost.prices import ASYNC, HOSTING, TRANSFORM, Price, find_price, load_prices
from lingotune.launch.deploy.words import delete_of
from lingotune.launch.render.deployment import MODEL_TAG
from lingotune.launch.render.training_job import UNSET
from lingotune.report.tables import aligned

_HOUR = 3600.0
_BILLED = ("InService", "Updating", "RollingBack", "SystemUpdating", "UpdateRollbackFailed")
"""Statuses of an endpoint whose instances are billed."""
RUNNING = "InProgress"
"""Status of a batch that runs."""


@dataclass(frozen=True)
class Standing:
    """An endpoint, or a batch. capacity: instances now, or memory. usd_per_hour: of now, asked or not; None
    = unknown. hours: since it was made. usd: since it was made, as if an endpoint had always been so; None
    = unknown. scaled_from: the instances that it was made with, where it has others now."""

    name: str
    kind: str
    status: str
    capacity: str
    usd_per_hour: float | None
    hours: float
    model: str
    usd: float | None
    reason: str = ""
    scaled_from: str = ""


@dataclass(frozen=True)
class _Capacity:
    """What something runs on, of which model. rate: USD an hour; None = unknown."""

    kind: str
    words: str
    rate: float | None
    tags: Mapping[str, str]
    scaled_from: str = ""


class Rates:
    """Prices of what stands. prices: file of the user's own."""

    def __init__(self, made: Deployments, prices: str | None = None) -> None:
        self._made, self._prices = made, load_prices(prices)

    def standing(self, thing: Thing) -> Standing:
        """Describe an endpoint or a batch; raises `errors()`."""
        found = self._capacity(thing)
        hours = _hours(thing.told["CreationTime"])
        rate = found.rate if _is_billed(thing) else 0.0
        return Standing(
            name=thing.name,
            kind=found.kind,
            status=thing.status,
            capacity=found.words,
            usd_per_hour=rate,
            hours=hours,
            model=found.tags.get(MODEL_TAG, "")[:12],
            reason=str(thing.told.get("FailureReason", "")),
            usd=_usd_so_far(thing, found, hours),
            scaled_from=found.scaled_from,
        )

    def text_of(self, thing: Thing) -> str:
        """Format `, 0.23 USD an hour`; '' for what costs nothing."""
        if thing.kind not in ("endpoint", "transform_job"):
            return ""
        found = self.standing(thing)
        rate = found.usd_per_hour
        told = "unknown" if rate is None else f"{rate:.2f} USD"
        return f", {found.capacity}, {told} an hour"

    def _capacity(self, thing: Thing) -> _Capacity:
        if thing.kind == "transform_job":
            resources = thing.told["TransformResources"]
            return _Capacity("batch", *self._instances([resources], TRANSFORM), thing.tags)
        config = self._made.find("endpoint_config", thing.told["EndpointConfigName"])
        if config is None:
            return _Capacity("endpoint", "unknown: its configuration is gone", None, {})
        variants: Sequence[Mapping[str, Any]] = config.told["ProductionVariants"]
        sizes = [one["ServerlessConfig"] for one in variants if "ServerlessConfig" in one]
        if sizes:
            return _Capacity("serverless", f"{sizes[0]['MemorySizeInMB']} MB", 0.0, config.tags)
        kind = "async" if "AsyncInferenceConfig" in config.told else "realtime"
        use = ASYNC if kind == "async" else HOSTING
        made_with, now = (self._instances(of, use) for of in (variants, _current(variants, thing)))
        scaled_from = "" if now == made_with else made_with[0]
        return _Capacity(kind, *now, config.tags, scaled_from)

    def _instances(
        self, resources: Sequence[Mapping[str, Any]], use: str
    ) -> tuple[str, float | None]:
        """Format instances, and sum up their USD an hour; None = unknown."""
        words, total = [], 0.0
        for one in resources:
            count = one.get("InstanceCount", one.get("InitialInstanceCount", 0))
            words.append(f"{count} x {one['InstanceType']}")
            price: Price | None = find_price(
                self._prices, one["InstanceType"], self._made.region, None, use
            )
            if count:
                total += count * price.usd_per_hour if price else float("nan")
        return ", ".join(words), None if total != total else total


def _current(variants: Sequence[Mapping[str, Any]], endpoint: Thing) -> list[Mapping[str, Any]]:
    """Give variants of a configuration the instances that they have now: scaling leaves it as it is."""
    counts = {
        one["VariantName"]: {"InstanceCount": one["CurrentInstanceCount"]}
        for one in endpoint.told.get("ProductionVariants", ())
        if "CurrentInstanceCount" in one and _is_billed(endpoint)
    }
    return [{**one, **counts.get(one["VariantName"], {})} for one in variants]


def _hours(start: datetime, end: datetime | None = None) -> float:
    """Count the hours from a time until another, by default until now."""
    until = end.timestamp() if end else time.time()
    return max(0.0, until - start.timestamp()) / _HOUR


def _usd_so_far(thing: Thing, found: _Capacity, hours: float) -> float | None:
    """Compute what something has cost until now; None = unknown, as of an endpoint that was scaled, or is
    billed by its use."""
    if thing.kind == "transform_job":
        start = thing.told.get("TransformStartTime", thing.told["CreationTime"])
        hours = _hours(start, thing.told.get("TransformEndTime"))
    elif thing.status == "Creating":
        return 0.0
    elif not _is_billed(thing) or found.scaled_from or found.kind == "serverless":
        return None
    return None if found.rate is None else found.rate * hours


def _is_billed(thing: Thing) -> bool:
    return thing.status == RUNNING or thing.status in _BILLED


def open_deployments(region: str | None) -> Deployments:
    """Connect to the account; ConfigError if there is no region."""
    aws = with_machine_region(AwsConfig(region=region))
    return Deployments(connect(aws.region or UNSET.format("region"), aws).client("sagemaker"))


def find_standing(name: str, region: str | None, prices: str | None = None) -> Standing | None:
    """Find an endpoint or a batch of ours by its name; None if there is none, or AWS does not answer."""
    made = open_deployments(region)
    try:
        for kind in ("endpoint", "transform_job"):
            found = made.find(kind, name)
            if found is not None and found.family:
                return Rates(made, prices).standing(found)
    except errors():
        return None
    return None


def standing_instead(
    error: ConfigError, name: str, region: str | None, prices: str | None = None
) -> Standing:
    """Find an endpoint or a batch where no job has the name; raises the error if there is none either."""
    found = None
    if any(problem.check == "name-unknown" for problem in error.problems):
        found = find_standing(name, region, prices)
    if found is None:
        raise error
    return found


def all_standing(region: str | None, prices: str | None = None) -> list[Standing]:
    """List the endpoints of ours and the batches that run; ConfigError if AWS does not answer."""
    made = open_deployments(region)
    rates = Rates(made, prices)
    try:
        found = [
            *made.all_of(None, "endpoint"),
            *made.all_of(None, "transform_job", StatusEquals=RUNNING),
        ]
        return [rates.standing(one) for one in found]
    except errors() as error:
        what = f"are not known: {said_by(error)}"
        raise ConfigError([Problem("endpoints", what, code=CLOUD_FAILED)]) from error


def table_of(found: Sequence[Standing], region: str | None) -> list[str]:
    """Format a table of what stands, and how each endpoint is deleted."""
    header = ("endpoint", "kind", "state", "on", "USD/h", "USD so far", "age", "model")
    rows = [
        (one.name, one.kind, one.status, one.capacity, _usd(one.usd_per_hour), _usd(one.usd),
         f"{one.hours:.1f} h", one.model)
        for one in found
    ]  # fmt: skip
    lines = aligned([header, *rows]).splitlines()
    if any(one.usd and one.kind != "batch" for one in found):
        lines.append("USD so far: as if it had been at this rate since it was made")
    lines += [
        f"{one.name}: was made with {one.scaled_from} and then scaled: what it has cost is unknown"
        for one in found
        if one.scaled_from
    ]
    lines += [f"{one.name}: {one.reason}" for one in found if one.reason]
    endpoints = [one for one in found if one.kind != "batch"]
    return [*lines, *(f"delete it: {delete_of(one.name, region)}" for one in endpoints)]


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.2f}"


def as_dicts(found: Sequence[Standing]) -> list[dict[str, object]]:
    """Collect what stands as plain values."""
    return [asdict(one) for one in found]
