"""Prices of instances per hour: the shipped price list and the user's own.

A price is never guessed: it is unknown for an instance or a region that is in no list.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from lingotune.catalog import load
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.system.cache import cache_folder
from lingotune.system.files import replace_file

US_EAST_1 = "us-east-1"
"""Region whose price is used if none is set."""
_DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")


TRAINING, HOSTING, ASYNC, TRANSFORM = USES = ("training", "hosting", "async", "transform")
"""Uses of an instance, each with its own price."""


@dataclass(frozen=True)
class Price:
    """On-demand price of SageMaker: USD per hour of one instance.

    date: day, month or year of the price, ISO; empty for the user's own figure. use: what the instance
    does, one of USES.
    """

    instance_type: str
    region: str
    usd_per_hour: float
    source: str
    date: str
    use: str = TRAINING


def load_prices(path: str | None = None) -> tuple[Price, ...]:
    """Load the prices in the order in which they count: the user's own, those AWS told here, the shipped.

    ConfigError lists everything that is wrong with the file.
    """

    own = _parse(path, _read(path)) if path is not None else []
    return (*own, *kept_prices(), *load_shipped())


def load_shipped() -> tuple[Price, ...]:
    """Load the prices that public lists gave."""
    lists = (load(name, "lingotune.launch")["prices"] for name in ("prices", "hosting_prices"))
    return tuple(Price(**row) for rows in lists for row in rows)


def kept_file() -> Path:
    """Return the file with the prices that AWS has told a command here, which need not be there."""
    return cache_folder() / "prices.json"


def kept_prices() -> tuple[Price, ...]:
    """Read the prices that are kept; rows that are damaged do not count, as AWS tells them again."""
    try:
        content: Any = json.loads(kept_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    rows = content.get("prices") if isinstance(content, dict) else None
    found = rows if isinstance(rows, list) else []
    return tuple(Price(**row) for row in found if not _faults(row))


def keep_prices(found: Sequence[Price]) -> None:
    """Keep prices in place of older ones of the same machines; a disk may refuse them."""
    known = {_key(price): price for price in (*kept_prices(), *found)}
    note = "On-demand prices of SageMaker, as AWS told them here on those days."
    text = format_prices([known[key] for key in sorted(known)], note)
    with suppress(OSError):
        kept_file().parent.mkdir(parents=True, exist_ok=True)
        replace_file(kept_file(), text)


def find_price(
    prices: Sequence[Price],
    instance_type: str,
    region: str | None,
    usd_per_hour: float | None = None,
    use: str = TRAINING,
) -> Price | None:
    """Find the first price of an instance in a region; `usd_per_hour` (of the budget) overrides all lists.

    Without a region it is the price of us-east-1. None = unknown.
    """
    where = region or US_EAST_1
    if usd_per_hour is not None:
        return Price(instance_type, where, usd_per_hour, "budget.usd_per_hour", "", use)
    return next((p for p in prices if _key(p) == (instance_type, where, use)), None)


def _key(price: Price) -> tuple[str, str, str]:
    """Tell what a price is of: a list holds one of each."""
    return price.instance_type, price.region, price.use


def price_text(price: Price, region: str | None, today: date) -> str:
    """Format `28.152 USD/h (us-east-1, list price of 2021-11-29, source ...)`, with doubts about it."""
    amount = f"{price.usd_per_hour:g} USD/h"
    if not price.date:
        return f"{amount} ({price.source})"
    notes = [price.region] if region else [price.region, "aws.region is not set"]
    notes += [f"list price of {price.date}", f"source {price.source}"]
    if _is_old(price.date, today):
        of = "" if price.use == TRAINING else f" --use {price.use}"
        command = f"{program('prices')} --region {price.region}{of}"
        notes.append(f"older than a year: {command} asks AWS")
    return f"{amount} ({', '.join(notes)})"


def usd_text(amount: float | None, unit: str = " USD") -> str:
    """Format an amount of money; `unknown` for None."""
    return "unknown" if amount is None else f"{amount:.2f}{unit}"


def rate_text(price: Price, nodes: int) -> str:
    """Format `7.09 USD/h x 2 nodes`."""
    return f"{price.usd_per_hour:g} USD/h x {nodes} node{'' if nodes == 1 else 's'}"


def unknown_text(instance_type: str, region: str | None, use: str = TRAINING) -> str:
    """Format the message about an unknown price, with how to get one."""
    where = region or f"{US_EAST_1} (aws.region is not set)"
    return (
        f"price unknown: no list has {instance_type} in {where};"
        f" {refresh_command(region, instance_type, use)}, then budget.prices=prices.json,"
        " or budget.usd_per_hour=..."
    )


def refresh_command(region: str | None, instance_type: str, use: str = TRAINING) -> str:
    """Return the command that asks AWS for the price."""
    of = "" if use == TRAINING else f" --use {use}"
    return (
        f"{program('prices')} --region {region or US_EAST_1}"
        f" --instance {instance_type}{of} > prices.json"
    )


def format_prices(prices: Sequence[Price], note: str) -> str:
    """Format prices as a file for `load_prices`, one per line."""
    rows = ",\n".join(f"    {json.dumps(_row(price))}" for price in prices)
    return f'{{\n  "note": {json.dumps(note)},\n  "prices": [\n{rows}\n  ]\n}}\n'


def _row(price: Price) -> dict[str, Any]:
    """Write a price as a row of a file; those of training do not say so."""
    row = asdict(price)
    return row if price.use != TRAINING else {k: v for k, v in row.items() if k != "use"}


def _is_old(day: str, today: date) -> bool:
    """Tell whether a date, or the last day of a partial one, is over a year ago."""
    year_ago = f"{today.year - 1:04}-{today.month:02}-{today.day:02}"
    return day < year_ago[: len(day)]


def _read(path: str) -> Any:
    where = f"budget.prices={path}"
    fix = f"{program('prices')} --region us-east-1 > prices.json"
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        what = f"is not JSON: {error}"
    raise ConfigError([Problem(where, what, fix, check="prices-file")])


def _parse(path: str, content: Any) -> list[Price]:
    rows = content.get("prices") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        what, fix = "holds no list `prices`", '{"prices": [{"instance_type": "ml...", ...}]}'
        raise ConfigError([Problem(f"budget.prices={path}", what, fix, check="prices-file")])
    problems: list[Problem] = []
    seen: dict[tuple[str, str, str], int] = {}
    good = []
    for number, row in enumerate(rows, 1):
        wrong = _faults(row)
        if not wrong:
            price = Price(**row)
            first = seen.setdefault(_key(price), number)
            good.append(price)
            wrong = [f"repeats row {first}"] if first != number else []
        fix = f"the form of: {program('prices')} --region us-east-1"
        problems += [Problem(f"{path}: row {number}", w, fix, check="prices-file") for w in wrong]
    if problems:
        raise ConfigError(problems)
    return good


def _faults(row: Any) -> list[str]:
    """Yield everything that is wrong with one row of a price file."""
    if not isinstance(row, dict):
        return [f"is {row!r}, not an object"]
    names = [field.name for field in fields(Price)]
    faults = [f"lacks {name}" for name in names if name not in row and name != "use"]
    faults += [f"has an unknown key {key!r}" for key in row if key not in names]
    for name in names:
        if name in row and not _is_sound(name, row[name]):
            faults.append(f"{name}={row[name]!r} is {_MEANING[name]}")
    return faults


_MEANING = {
    "instance_type": "not a SageMaker instance type (ml....)",
    "region": "not a region",
    "usd_per_hour": "not a price above 0",
    "source": "not a text",
    "date": "not a date (2026, 2026-11 or 2026-11-23)",
    "use": f"none of {', '.join(USES)}",
}


def _is_sound(name: str, value: Any) -> bool:
    if name == "usd_per_hour":
        return type(value) in (int, float) and 0 < value < math.inf
    if not isinstance(value, str) or not value:
        return False
    if name == "date":
        return bool(_DATE.fullmatch(value))
    if name == "use":
        return value in USES
    return name != "instance_type" or value.startswith("ml.")
