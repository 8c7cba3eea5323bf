"""The rendered arguments: golden for every cluster shape, and what the SDK makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from conftest import CONF, compose

from lingotune.compose import config_groups
from lingotune.jobfile import job_digest, job_of
from lingotune.render import Names, job_name, render_local, render_sagemaker
from lingotune.schema import JobConfig

CLUSTERS = [c for c in config_groups(CONF)["cluster"] if c != "local"]
SHAPES = {
    **{cluster: [f"cluster={cluster}"] for cluster in CLUSTERS},
    "p4d_24xl-2-nodes": ["cluster=p4d_24xl", "cluster.nodes=2"],
    "p3_2xl-4-nodes": ["cluster=p3_2xl", "cluster.nodes=4"],
    "p4d_24xl-smdistributed": ["cluster=p4d_24xl", "cluster.distribution=smdistributed"],
    "files": ["cluster=p3_16xl", "data=files", "data.path=reviews.jsonl"],
    "blog": ["experiment=blog"],
}
SHAPES["p3_16xl-per_device_bs-16"] = ["cluster=p3_16xl", "per_device_bs=16"]


def names(job: JobConfig, **changed: object) -> Names:
    values: dict[str, object] = {
        "role": "arn:aws:iam::111122223333:role/SageMakerRole",
        "bucket": "example-bucket",
        "prefix": "lingotune",
        "job_digest": job_digest(job),
        # The code's own digest changes with every edit; a golden file must not.
        "code_digest": "c0de" * 16,
        "data_digest": "da7a" * 16 if job.data.path else None,
    }
    return Names(**{**values, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES)
def test_golden_request(shape: str, golden: Callable[[str, str], None]) -> None:
    job = job_of(compose(*SHAPES[shape]))
    request = render_sagemaker(job, names(job))
    golden(f"request-{shape}.json", json.dumps(request, indent=2) + "\n")


def test_golden_local(golden: Callable[[str, str], None]) -> None:
    commands = [
        render_local(job_of(compose(*overrides)), "job.yaml")
        for overrides in ([], ["cluster.processes=2"], ["cluster.gpus_per_node=4"])
    ]
    golden("local.json", json.dumps(commands, indent=2) + "\n")


def test_every_cluster_has_a_golden_shape() -> None:
    assert set(CLUSTERS) <= set(SHAPES)


def test_job_names_follow_from_job_code_data_and_attempt() -> None:
    job = job_of(compose("cluster=p3_16xl"))
    name = job_name(job, names(job))
    assert name == job_name(job, names(job))
    other = {
        job_name(job, names(job, code_digest="b" * 64)),
        job_name(job, names(job, data_digest="b" * 64)),
        job_name(job, names(job, attempt=2)),
        job_name(job_of(compose("cluster=p3_16xl", "seed=1")), names(job, job_digest="c" * 64)),
    }
    assert len(other) == 4 and name not in other
    assert job_name(job, names(job, attempt=2)) == f"{name}-2"


def test_an_empty_prefix_makes_no_double_slash() -> None:
    job = job_of(compose())
    assert names(job, prefix="").code_uri.startswith("s3://example-bucket/code/")
    assert names(job, prefix="/a/b/").config_uri.startswith("s3://example-bucket/a/b/jobs/")


def test_no_setting_travels_as_a_hyperparameter() -> None:
    """The toolkit joins hyperparameters into a shell command and logs them."""
    for overrides in SHAPES.values():
        job = job_of(compose(*overrides))
        assert render_sagemaker(job, names(job))["estimator"]["hyperparameters"] == {}
