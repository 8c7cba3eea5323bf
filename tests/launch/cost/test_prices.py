"""Prices: the shipped list, the user's own, and never a made-up one."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lingotune.catalog.hardware import instances
from lingotune.config.problems import ConfigError
from lingotune.launch.cost.prices import (
    Price,
    find_price,
    format_prices,
    load_prices,
    price_text,
    unknown_text,
)

TODAY = date(2026, 11, 23)
P3 = Price("ml.p3.16xlarge", "us-east-1", 28.152, "a page", "2021-11-29")
G5 = Price("ml.g5.12xlarge", "eu-west-1", 7.9, "AWS Pricing API", "2026-11-20")


def write(path: Path, *rows: Any) -> str:
    path.write_text(json.dumps({"prices": list(rows)}))
    return str(path)


def row(**changes: Any) -> dict[str, Any]:
    sound = {"instance_type": "ml.g5.xlarge", "region": "eu-west-1", "usd_per_hour": 1.5,
             "source": "me", "date": "2026-11"}  # fmt: skip
    return {**sound, **changes}


def test_the_shipped_list_is_of_known_instances_and_each_is_listed_once(tmp_path: Path) -> None:
    prices = load_prices()
    assert len({(p.instance_type, p.region, p.use) for p in prices}) == len(prices) > 20
    assert {p.instance_type for p in prices} <= set(instances())
    assert {p.region for p in prices} == {"us-east-1"}
    copy = tmp_path / "copy.json"
    copy.write_text(format_prices(prices, "a note"))
    assert load_prices(str(copy)) == (*prices, *prices), "the shipped list passes its own checks"


@pytest.mark.parametrize(
    ("instance_type", "usd", "day"),
    [
        ("ml.p3.16xlarge", 28.152, "2021-11-29"),
        ("ml.p3dn.24xlarge", 35.894, "2021-11-29"),
        ("ml.g5.12xlarge", 7.09, "2025-02-03"),
        ("ml.p4d.24xlarge", 25.251, "2026-07-27"),
    ],
)
def test_shipped_prices(instance_type: str, usd: float, day: str) -> None:
    price = find_price(load_prices(), instance_type, "us-east-1")
    assert price and (price.usd_per_hour, price.date) == (usd, day)


def test_lookup() -> None:
    prices = (P3, G5)
    assert find_price(prices, "ml.p3.16xlarge", "us-east-1") is P3
    assert find_price(prices, "ml.p3.16xlarge", None) is P3, "without a region, us-east-1"
    assert find_price(prices, "ml.g5.12xlarge", None) is None
    assert find_price(prices, "ml.p3.16xlarge", "eu-west-1") is None, "no region stands in"
    assert find_price((), "ml.p6.new", "us-west-2", 99.5) == Price(
        "ml.p6.new", "us-west-2", 99.5, "budget.usd_per_hour", ""
    )


def test_the_users_prices_come_first(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.json", row(instance_type="ml.p3.16xlarge", region="us-east-1"))
    found = find_price(load_prices(path), "ml.p3.16xlarge", "us-east-1")
    assert found and (found.usd_per_hour, found.source) == (1.5, "me")
    assert find_price(load_prices(path), "ml.g5.12xlarge", None), "the shipped ones stay"


def test_what_a_price_says_of_itself() -> None:
    assert price_text(P3, "us-east-1", TODAY) == (
        "28.152 USD/h (us-east-1, list price of 2021-11-29, source a page,"
        " older than a year: python -m lingotune prices --region us-east-1 asks AWS)"
    )
    assert "(us-east-1, aws.region is not set, list price" in price_text(P3, None, TODAY)
    assert price_text(G5, "eu-west-1", TODAY) == (
        "7.9 USD/h (eu-west-1, list price of 2026-11-20, source AWS Pricing API)"
    )
    own = find_price((), "ml.g5.xlarge", None, 1.25)
    assert own and price_text(own, None, TODAY) == "1.25 USD/h (budget.usd_per_hour)"


@pytest.mark.parametrize(
    ("day", "old"),
    [
        ("2025-11-22", True),
        ("2025-11-23", False),
        ("2025-10", True),
        ("2025-11", False),
        ("2024", True),
        ("2025", False),
        ("2026-11-23", False),
    ],
)
def test_a_year_is_a_year_whatever_of_the_date_is_known(day: str, old: bool) -> None:
    price = Price("ml.g5.xlarge", "eu-west-1", 1.0, "x", day)
    assert ("older than a year" in price_text(price, "eu-west-1", TODAY)) == old


def test_unknown_is_printed_as_unknown_with_the_way_out() -> None:
    text = unknown_text("ml.g5.xlarge", "eu-west-1")
    assert text.startswith("price unknown: no list has ml.g5.xlarge in eu-west-1;")
    assert "python -m lingotune prices --region eu-west-1 --instance ml.g5.xlarge > prices" in text
    assert "budget.usd_per_hour=" in text
    assert "us-east-1 (aws.region is not set)" in unknown_text("ml.g5.xlarge", None)


def test_everything_wrong_with_a_file_is_told_at_once(tmp_path: Path) -> None:
    lacking = row()
    del lacking["source"]
    path = write(
        tmp_path / "mine.json",
        row(),
        "no row",
        lacking,
        row(usd_per_hour=-1, date="last year", colour="red"),
        row(usd_per_hour="7.09"),
        row(usd_per_hour=True),
        row(instance_type="g5.xlarge"),
        row(source="again"),
        row(usd_per_hour=10**400, region=""),
    )
    with pytest.raises(ConfigError) as caught:
        load_prices(path)
    told = [(p.where.removeprefix(f"{path}: row "), p.what) for p in caught.value.problems]
    no_price = "is not a price above 0"
    assert told == [
        ("2", "is 'no row', not an object"),
        ("3", "lacks source"),
        ("4", "has an unknown key 'colour'"),
        ("4", f"usd_per_hour=-1 {no_price}"),
        ("4", "date='last year' is not a date (2026, 2026-11 or 2026-11-23)"),
        ("5", f"usd_per_hour='7.09' {no_price}"),
        ("6", f"usd_per_hour=True {no_price}"),
        ("7", "instance_type='g5.xlarge' is not a SageMaker instance type (ml....)"),
        ("8", "repeats row 1"),
        ("9", "region='' is not a region"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is not JSON"),
        (b"\xff\xfe\xff", "is not JSON"),
        (b"[]", "holds no list `prices`"),
        (b'{"prices": {}}', "holds no list `prices`"),
        (b'{"prices": [{"usd_per_hour": NaN}]}', "usd_per_hour=nan is not a price above 0"),
    ],
)
def test_files_that_are_no_price_list(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_prices(str(path))
    assert any(said in problem.what for problem in caught.value.problems)
    assert all(str(path) in problem.where for problem in caught.value.problems)
