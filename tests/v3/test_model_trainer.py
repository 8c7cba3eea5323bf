"""Requests that the SDK v3 really sends, compared with ours, which equals v2's to the letter.

Runs in an environment of its own (`make test-v3`) on the golden files of tests/launch/render.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from golden_files import GOLDEN, read_clusters, read_golden

from lingotune.launch.aws.start import start_v3
from lingotune.launch.render.service_model import mistakes

FILES = sorted(GOLDEN.glob("job-*.json"))

EXPLAINED = {
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": (
        "ModelTrainer has no argument for it; SageMaker's default is on for the images of the SDKs"
    ),
    "ProfilerConfig": "ModelTrainer has no argument for it; v2 sends it to turn the profiler off",
}
"""Fields that v2 sends and v3 cannot, and why. Nothing else may differ, and nothing may be added."""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither IAM, nor STS, nor the makers of the SDK are called."""

    def refuse(*where: Any) -> None:
        raise AssertionError(f"a call left the process: {where}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def sent_by_v3(rendered: dict[str, Any]) -> dict[str, Any]:
    """Starts a rendered job with the real SDK v3; the request is taken as it would leave."""
    session = boto3.Session(region_name="us-east-1")
    bodies: list[dict[str, Any]] = []

    def answer(**fields: str) -> tuple[Any, dict[str, str]]:
        return type("Answer", (), {"status_code": 200, "headers": {}})(), fields

    def create(params: dict[str, Any], **_: Any) -> Any:
        bodies.append(json.loads(params["body"]))
        return answer(TrainingJobArn="arn:aws:sagemaker:us-east-1:111122223333:training-job/x")

    def describe(params: dict[str, Any], **_: Any) -> Any:
        asked = json.loads(params["body"])["TrainingJobName"]
        assert asked == bodies[0]["TrainingJobName"], "AWS knows no other job"
        return answer(TrainingJobName=asked, TrainingJobStatus="InProgress")

    session.events.register("before-call.sagemaker.CreateTrainingJob", create)
    session.events.register("before-call.sagemaker.DescribeTrainingJob", describe)
    start_v3(rendered, session)
    (body,) = bodies
    return body


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, our value and theirs (None: not there) of every field that differs."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            below = f"{path}.{name}".lstrip(".")
            yield from differences(ours.get(name), theirs.get(name), below)
    elif ours != theirs:
        yield path, ours, theirs


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 18


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_v3_sends_what_v2_sends_but_for_what_is_explained(path: Path) -> None:
    compare(read_golden(path.name))


def test_v3_sends_the_same_for_every_cluster() -> None:
    for forms in read_clusters().values():
        compare(forms)


def compare(forms: Any) -> None:
    if "model_trainer" not in forms:  # ModelTrainer cannot ask for it, and its check says so
        assert "MlflowConfig" in forms["request"]
        return
    body = sent_by_v3(forms["model_trainer"])
    assert mistakes(body) == []
    found = list(differences(forms["request"], body))
    assert {where for where, _, theirs in found if theirs is None} == set(EXPLAINED)
    assert [where for where, _, theirs in found if theirs is not None] == []


def test_the_comparison_finds_what_differs() -> None:
    assert list(differences({"a": {"b": 1}, "c": [1]}, {"a": {"b": 2}, "d": 0})) == [
        ("a.b", 1, 2),
        ("c", [1], None),
        ("d", None, 0),
    ]
