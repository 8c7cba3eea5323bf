"""A launch of data in S3: a check looks, a submit fetches, and all jobs are told of at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from conftest import CONF
from loopback import Front, moto_server, s3_in_front

from lingotune.config.problems import ConfigError, Severity
from lingotune.config.schema import Action
from lingotune.data.sources.patterns import not_here
from lingotune.launch import inputs
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.compose import Composed, compose_all
from lingotune.launch.compose.labels import with_found_labels

BUCKET = "example-bucket"
ROWS = "".join(f'{{"text": "t{n}", "label": "{"ab"[n % 2]}"}}\n' for n in range(60))


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, int]]:
    with moto_server() as upstream:
        yield upstream


@pytest.fixture
def front(
    moto: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Front]:
    with s3_in_front(moto, tmp_path, monkeypatch, BUCKET) as found:
        boto3.client("s3").put_object(Bucket=BUCKET, Key="r.jsonl", Body=ROWS.encode())
        found.calls.clear()
        yield found


def composed(*typed: str) -> list[Composed]:
    columns = "{text: text, stars: null, label: label, language: null}"
    data = ["data=files", f"data.columns={columns}", "data.labels=[a,b]", "cluster=g5_12xl"]
    return compose_all([*data, *typed], CONF, check_launch, multirun=True)


def test_a_check_looks_and_fetches_nothing(front: Front) -> None:
    jobs = composed("seed=1,2", f"data.path=s3://{BUCKET}/r.jsonl")
    told = [one.findings[-1] for one in inputs._with_sources(jobs, Action.check)]
    assert told[0] == told[1]
    assert told[0].severity is Severity.warning
    assert told[0].where == f"data.path=s3://{BUCKET}/r.jsonl"
    assert f"is there (1 file, {len(ROWS)} bytes)" in told[0].what
    assert front.operations() == [f"HEAD /{BUCKET}/r.jsonl"]


def test_a_check_tells_what_is_not_there_as_an_error_of_the_job(front: Front) -> None:
    jobs = composed(f"data.path=s3://{BUCKET}/no.csv,s3://{BUCKET}/r.jsonl")
    first, second = inputs._with_sources(jobs, Action.check)
    assert first.findings[-1].severity is Severity.error
    assert second.findings[-1].severity is Severity.warning


def test_a_submit_fetches_once_and_stops_where_anything_is_missing(front: Front) -> None:
    jobs = composed("seed=1,2", f"data.path=s3://{BUCKET}/r.jsonl")
    assert inputs._with_sources(jobs, Action.submit) == jobs
    assert not not_here(jobs[0].config.data)
    assert front.operations().count(f"GET /{BUCKET}/r.jsonl") == 1
    with pytest.raises(ConfigError) as caught:
        inputs._with_sources(composed(f"data.path=s3://{BUCKET}/x,s3://{BUCKET}/y"), Action.submit)
    assert len(caught.value.problems) == 2


def test_classes_of_data_elsewhere(front: Front) -> None:
    jobs = composed(f"data.path=s3://{BUCKET}/r.jsonl", "data.labels=auto")
    with pytest.raises(ConfigError, match="a plan does not read it"):
        with_found_labels(jobs, fetches=False)
    (found,) = with_found_labels(jobs)
    assert [label.name for label in found.config.data.labels] == ["a", "b"]
    (again,) = with_found_labels(jobs, fetches=False)  # from the copy
    assert again.config.data.labels == found.config.data.labels
