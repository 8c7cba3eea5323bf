"""Validation against SageMaker's model of a request: it accepts a valid one and finds each mistake."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingotune.launch.render.service_model import choices, mistakes

SOUND: dict[str, Any] = {
    "TrainingJobName": "a-job",
    "RoleArn": "arn:aws:iam::111122223333:role/SageMakerRole",
    "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "x"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
    "ResourceConfig": {"InstanceType": "ml.p3.16xlarge", "InstanceCount": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"TrainingJobName": "under_score"}, "TrainingJobName"),
    ({"TrainingJobName": "x" * 64}, "TrainingJobName"),
    ({"RoleArn": "no-role"}, "RoleArn"),
    ({"AlgorithmSpecification": {"TrainingInputMode": "Fast"}},
     "AlgorithmSpecification.TrainingInputMode"),
    ({"AlgorithmSpecification": {}}, "AlgorithmSpecification.TrainingInputMode"),
    ({"OutputDataConfig": {"S3OutputPath": "no address"}}, "OutputDataConfig.S3OutputPath"),
    ({"ResourceConfig": {"InstanceType": "ml.p9.bogus"}}, "ResourceConfig.InstanceType"),
    ({"ResourceConfig": {"InstanceCount": -1}}, "ResourceConfig.InstanceCount"),
    ({"ResourceConfig": {"InstanceCount": "2"}}, "ResourceConfig.InstanceCount"),
    ({"ResourceConfig": {"InstanceCount": True}}, "ResourceConfig.InstanceCount"),
    ({"ResourceConfig": []}, "ResourceConfig"),
    ({"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "StoppingCondition.MaxRuntimeInSeconds"),
    ({"HyperParameters": {"k": "line\nbreak"}}, "HyperParameters['k']"),
    ({"HyperParameters": {"k": "x" * 2501}}, "HyperParameters['k']"),
    ({"HyperParameters": {str(n): "" for n in range(101)}}, "HyperParameters"),
    ({"Environment": {"1bad": "v"}}, "Environment['1bad'] (its name)"),
    ({"Tags": [{"Key": "a,b", "Value": "v"}]}, "Tags[0].Key"),
    ({"Tags": [{"Key": "a"}]}, "Tags[0].Value"),
    ({"Nonsense": 1}, "Nonsense"),
]  # fmt: skip


def test_a_sound_request_passes() -> None:
    assert mistakes(SOUND) == []


@pytest.mark.parametrize(("change", "path"), WRONG, ids=lambda value: str(value)[:50])
def test_a_mistake_is_found_where_it_is(change: dict[str, Any], path: str) -> None:
    assert path in {mistake.path for mistake in mistakes({**SOUND, **change})}


@pytest.mark.parametrize("field", SOUND)
def test_a_missing_field_is_found(field: str) -> None:
    body = {name: value for name, value in SOUND.items() if name != field}
    required = ("TrainingJobName", "RoleArn", "OutputDataConfig")
    found = [(mistake.path, mistake.what) for mistake in mistakes(body)]
    assert found == ([(field, "is missing")] if field in required else [])


def test_tags_in_any_script_pass() -> None:
    assert mistakes({**SOUND, "Tags": [{"Key": "Größe", "Value": "日本語 ok"}]}) == []


def test_choices_are_botocores() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    assert choices("TrainingInstanceType") == model.shape_for("TrainingInstanceType").enum


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*SOUND, "Tags"]), inner),
))  # fmt: skip
def test_no_value_breaks_the_walk(value: Any) -> None:
    fits = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
    assert (mistakes({**SOUND, "Environment": value}) == []) is fits
