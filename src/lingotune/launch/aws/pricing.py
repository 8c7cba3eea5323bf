"""AWS's prices for training and hosting; asks without changing anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.aws.account.answers import answered, connected
from lingotune.launch.aws.account.calls import Calls, Response
from lingotune.launch.cost.prices import (
    ASYNC,
    HOSTING,
    TRAINING,
    TRANSFORM,
    Price,
    keep_prices,
    kept_prices,
)

FRESH_DAYS = 30
"""Days for which a price that AWS has told is not asked for again."""
PRICING_REGION = "us-east-1"
"""One of the three regions that offer the Price List API; each knows the prices of all regions."""


_USAGE = r"(?:[A-Z0-9]+-)?{}:(ml\.[a-z0-9-]+\.[a-z0-9]+)"
"""Pattern of the usagetype of on-demand capacity, e.g. EU-Train:ml.g5.xlarge. Training plans, HyperPod
and serverless training have others."""
_IN_USAGE = {TRAINING: "Train", HOSTING: "Host", ASYNC: "AsyncInf", TRANSFORM: "Tsform"}
"""Use of an instance -> how the usagetype names it."""
_COMPONENTS = {TRAINING: "Training", HOSTING: "Hosting"}
"""Use -> the component of its products; the others are told by their usagetype alone."""


def fetch_prices(
    region: str, instance_types: Sequence[str], today: date, use: str = TRAINING
) -> list[Price]:
    """Fetch the prices of a use in a region, for these instance types or for all, sorted by name.

    ConfigError if AWS does not answer or lists none of them.
    """
    calls = connected(PRICING_REGION)
    found: dict[str, float] = {}
    for product in answered("the price list", lambda: list(_products(calls, region, use))):
        priced = price_in(product, use)
        if priced and (not instance_types or priced[0] in instance_types):
            # If there are several, take the highest, which keeps to the budget in any case.
            found[priced[0]] = max(priced[1], found.get(priced[0], 0))
    missing = [name for name in instance_types if name not in found]
    if missing or not found:
        what = f"AWS lists no price of {use} on {', '.join(missing) or 'any instance'} there"
        fix = "a region code like eu-west-1, and instance types that SageMaker has for it there"
        raise ConfigError([Problem(f"--region {region}", what, fix)])
    day = today.isoformat()
    return [Price(name, region, found[name], "AWS Pricing API", day, use) for name in sorted(found)]


def refresh_prices(
    region: str | None, instance_types: Sequence[str], today: date, use: str = TRAINING
) -> None:
    """Keep AWS's prices of these machines for the plans to come, where none of the last month is kept.

    Nothing is told where AWS does not answer: no right to ask for prices is needed to start a job.
    """
    month_ago = (today - timedelta(days=FRESH_DAYS)).isoformat()
    fresh = {
        price.instance_type
        for price in kept_prices()
        if (price.region, price.use) == (region, use) and price.date >= month_ago
    }
    wanted = [name for name in dict.fromkeys(instance_types) if name not in fresh]
    if region is not None and wanted:
        with suppress(ConfigError):
            keep_prices(fetch_prices(region, wanted, today, use))


def _products(calls: Calls, region: str, use: str) -> Iterator[Response]:
    filters = {"regionCode": region}
    if use in _COMPONENTS:
        filters["component"] = _COMPONENTS[use]
    parameters: dict[str, Any] = {
        "ServiceCode": "AmazonSageMaker",
        "Filters": [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in filters.items()],
    }
    while True:
        page = calls.ask("pricing", "get_products", **parameters)
        yield from map(json.loads, page["PriceList"])
        if not page.get("NextToken"):
            return
        parameters["NextToken"] = page["NextToken"]


def price_in(product: Response, use: str = TRAINING) -> tuple[str, float] | None:
    """Read instance type and USD per hour from a product of the Price List; None for other products."""
    attributes = product.get("product", {}).get("attributes", {})
    usage = attributes.get("usagetype")
    matched = re.fullmatch(_USAGE.format(_IN_USAGE[use]), usage or "")
    name = attributes.get("instanceName") or attributes.get("instanceType", "")
    instance_type = matched.group(1) if matched else name.removesuffix("-Training")
    if use == TRAINING:
        is_other = attributes.get("component") != _COMPONENTS[use] or (usage and not matched)
    else:
        is_other = not matched
    if is_other:
        return None
    amounts = [
        float(dimension.get("pricePerUnit", {}).get("USD", 0))
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for dimension in term.get("priceDimensions", {}).values()
        if dimension.get("unit", "").lower() in ("hrs", "hours")
    ]
    usd = max(amounts, default=0.0)
    return (instance_type, usd) if instance_type.startswith("ml.") and usd > 0 else None
