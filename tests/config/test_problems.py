"""Problems: the settings they name, and how they are shown."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from lingotune.config.problems import Problem, format_problems, without_secrets
from lingotune.config.settings import is_setting

TOKEN = "hf" + "_" + "canary" * 6


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("lr=3", "lr", "3"),
        ("data.path=s3://b/a=1", "data.path", "s3://b/a=1"),
        ("cluster=p3_16xl", "cluster", "p3_16xl"),
        ("aws.tags.team", "aws.tags.team", None),
        ("data.labels[0].name", "data.labels[0].name", None),
        ("data.labels.0.values=[a]", "data.labels.0.values", "[a]"),
        ("data.columns.text=", "data.columns.text", ""),
        ("data.labels.name", "data.labels.name", None),
        ("reviews.jsonl:12", "", None),
        ("data.labels.jsonl", "", None),
        ("model", "", None),  # a folder may be called so
        ("foo=1", "", None),
        ("aws.subnets, aws.security_groups", "", None),
        ("--column=text", "", None),
        ("", "", None),
    ],
)
def test_the_setting_is_read_from_where_it_is_one(where: str, key: str, value: str | None) -> None:
    problem = Problem(where, "is wrong")
    assert (problem.key, problem.value, problem.where) == (key, value, where)


def test_a_key_that_is_given_stays() -> None:
    problem = Problem("+foo=1", "is unknown", key="foo", value="1")
    assert (problem.key, problem.value, problem.section) == ("foo", "1", "foo")
    assert Problem("data.path=a", "", key="data").key == "data"


def test_what_is_shown_of_a_setting_holds_no_token() -> None:
    shown = without_secrets(
        Problem(f"aws.tags.{TOKEN}={TOKEN}", f"{TOKEN} is long", f"{TOKEN[:9]}")
    )
    assert TOKEN[3:] not in str(asdict(shown)) and shown.key == "aws.tags.***"
    assert (shown.value, shown.fix[:12]) == ("***", "set HF_TOKEN")


@pytest.mark.parametrize(
    "key", ["", ".", "lr.x", "data.nope", "data.labels.x", "data.labels[x]", "aws.tag"]
)
def test_what_is_no_setting(key: str) -> None:
    assert not is_setting(key)


def test_a_command_wider_than_the_line_stays_on_it() -> None:
    fix = " ".join(f"cluster.image.setting_{n}=value" for n in range(5))
    assert format_problems([Problem("x", "is wrong", fix)]).splitlines()[-1] == f"      fix: {fix}"
