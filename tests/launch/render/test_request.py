"""A job in three dialects: golden for every cluster, and compared with what the SDK v2 really sends.

What the SDK v3 sends is compared by tests/v3, in an environment of its own: `make test-v3`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import CONF, compose
from described import cluster_settings, described, digests, forms_of, on_clusters
from golden_files import (
    CLUSTERS,
    LISTS,
    METRICS,
    folded_clusters,
    read_clusters,
    read_golden,
)

from lingotune.config.jobfile import job_of
from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.render.local_command import render_local
from lingotune.launch.render.request import to_request
from lingotune.launch.render.sdk_v2 import has_arguments_for, to_huggingface
from lingotune.launch.render.service_model import mistakes
from lingotune.launch.render.training_job import TrainingJob, describe, job_name

PLAN_ARN = "arn:aws:sagemaker:us-east-1:111122223333:training-plan/spring"
GROUP_ARN = "arn:aws:sagemaker:us-east-1:111122223333:model-package-group/reviews"
MLFLOW_ARN = "arn:aws:sagemaker:us-east-1:111122223333:mlflow-tracking-server/team"
SHAPES = {
    "p3_16xl": ["cluster=p3_16xl"],
    "p3_16xl-per_device_bs-16": ["cluster=p3_16xl", "per_device_bs=16"],
    "p4d_24xl-2-nodes": ["cluster=p4d_24xl", "cluster.nodes=2"],
    "p3_2xl-4-nodes": ["cluster=p3_2xl", "cluster.nodes=4"],
    "p3_2xl-no-distribution": ["cluster=p3_2xl", "cluster.distribution=none"],
    "p4d_24xl-smdistributed": ["cluster=p4d_24xl", "cluster.distribution=smdistributed"],
    "files": ["cluster=p3_16xl", "data=files", "data.path=reviews.jsonl"],
    "fastfile": ["cluster=p3_16xl", "data=files", "data.path=reviews.jsonl",
                 "cluster.input_mode=FastFile"],
    "blog": ["experiment=blog"],
    "spot": ["cluster=g5_12xl", "cluster.spot=true", "cluster.max_wait=20000", "cluster.retries=3",
             "cluster.tensorboard=true", "cluster.compress_output=false"],
    "locked-down": ["cluster=p3_16xl", "cluster.nodes=2", "cluster.volume_gb=100",
                    "aws.kms_key=output-key", "aws.volume_kms_key=volume-key",
                    "aws.subnets=[subnet-1,subnet-2]", "aws.security_groups=[sg-1]",
                    "aws.encrypt_traffic=true", "aws.tags={team: nlp}",
                    "cluster.environment={NCCL_DEBUG: INFO}"],
    "isolated": ["cluster=g5_12xl", "aws.network_isolation=true", "cluster.image.lane=pinned",
                 "cluster.image.uri=111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1"],
    "reserved": ["cluster=p5_48xl", f"cluster.training_plan='{PLAN_ARN}'", "cluster.keep_alive=600",
                 "cluster.ultra_server=us-1", "cluster.remote_debug=true", "cluster.profiler=true",
                 "cluster.checkpoints=false"],
    "fallback": ["cluster=g6e_12xl", "cluster.fallback=[g5_12xl,p3_16xl]", "aws.sdk=boto3",
                 "cluster.max_pending=3600"],
    "fallback-reserved": ["cluster=p4d_24xl", "cluster.nodes=2",
                          "cluster.fallback=[{name: g5_48xl, nodes: 3}]", "per_device_bs=12",
                          f"cluster.training_plan='{PLAN_ARN}'", "aws.sdk=v3"],
    "registry": ["cluster=g5_12xl", f"aws.model_group='{GROUP_ARN}'"],
    "mlflow": ["cluster=g5_12xl", f"aws.mlflow='{MLFLOW_ARN}'", "training.report_to=[mlflow]"],
    "fallback-step": ["cluster=g5_12xl", "cluster.fallback=[g6_12xl]", "cluster.spot=true",
                      "cluster.fallback_by=lingotune"],
}  # fmt: skip
BEYOND_V2 = ("fallback", "fallback-reserved", "registry", "mlflow")
"""Those that ask for what the SDK v2 has no argument for."""


@pytest.mark.parametrize("shape", SHAPES)
def test_golden(shape: str, golden: Callable[[str, str], None]) -> None:
    job = described(*SHAPES[shape])
    assert has_arguments_for(job) is (shape not in BEYOND_V2)
    golden(f"job-{shape}.json", json.dumps(forms_of(job), indent=2) + "\n")


@pytest.fixture(scope="module")
def plain() -> dict[str, TrainingJob]:
    """The job on each cluster, nothing else said."""
    return {option: describe(job_of(config), config.aws, digests(job_of(config)))
            for option, config in on_clusters().items()}  # fmt: skip


def test_golden_clusters(plain: dict[str, TrainingJob], golden: Callable[[str, str], None]) -> None:
    forms = {option: forms_of(job) for option, job in plain.items()}
    golden(CLUSTERS, json.dumps(folded_clusters(forms)))
    assert read_clusters() == forms


def test_clusters_are_what_composing_makes_of_their_files(plain: dict[str, TrainingJob]) -> None:
    """Of every kind of file: several GPUs, one, none, and settings beside the instance."""
    for option in ("p6_b300_48xl", "g6e_2xl", "c7i_2xl", "p3_2xl"):
        assert plain[option] == described(f"cluster={option}")
    short = described("cluster=p6_b300")
    assert short == plain["p6_b300_48xl"]


def test_golden_metrics(golden: Callable[[str, str], None]) -> None:
    """Metric definitions, once; the golden requests refer to them."""
    golden(METRICS, json.dumps(LISTS))


def test_golden_files_stand_for_whole_requests() -> None:
    request = read_golden("job-p3_16xl.json")["request"]
    assert request == to_request(described("cluster=p3_16xl"))
    assert len(request["AlgorithmSpecification"]["MetricDefinitions"]) == 24


def test_golden_local(golden: Callable[[str, str], None]) -> None:
    commands = [
        render_local(job_of(compose(*overrides)), "job.yaml")
        for overrides in ([], ["cluster.processes=2"], ["cluster.gpus_per_node=4"])
    ]
    golden("local.json", json.dumps(commands, indent=2) + "\n")


def test_every_cluster_has_its_golden_request(plain: dict[str, TrainingJob]) -> None:
    known = {*plain, "local", "sagemaker"}
    short = set(config_groups(CONF)["cluster"]) - known
    assert len(plain) > 60 and set(cluster_settings()) == set(plain)
    assert short == {"p4d", "p4de", "p5", "p5e", "p5en", "p6_b200", "p6_b300", "p3dn"}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_service_accepts_every_field(shape: str) -> None:
    assert mistakes(to_request(described(*SHAPES[shape]))) == []


def test_the_service_accepts_every_cluster(plain: dict[str, TrainingJob]) -> None:
    assert not {o: found for o, job in plain.items() if (found := mistakes(to_request(job)))}


# --- against the SDK v2 -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sent_by_v2() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """Starts a rendered job with the real SDK v2; the request is taken as it would leave."""
    os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"
    import boto3
    import sagemaker.utils

    patch = pytest.MonkeyPatch()
    # The SDK validates its configuration, which is a constant of ours, 23 times a job: 3 seconds.
    patch.setattr(sagemaker.utils, "validate_sagemaker_config", lambda config: None)

    from lingotune.launch.aws.start import start_v2

    session = boto3.Session("access", "secret", region_name="us-east-1")
    client, bodies = session.client("sagemaker"), []

    def take(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, str]]:
        bodies.append(json.loads(params["body"]))
        answer = type("Answer", (), {"status_code": 200, "headers": {}})()
        return answer, {"TrainingJobArn": "arn:aws:sagemaker:us-east-1:111122223333:training-job/x"}

    client.meta.events.register("before-call.sagemaker.CreateTrainingJob", take)

    def start(rendered: dict[str, Any]) -> dict[str, Any]:
        start_v2(rendered, session, client)
        return bodies.pop()

    yield start
    patch.undo()


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape not in BEYOND_V2])
def test_v2_sends_our_request_to_the_letter(shape: str, sent_by_v2: Any) -> None:
    """No field differs: what output=request prints is what action=submit sends."""
    job = described(*SHAPES[shape])
    assert sent_by_v2(to_huggingface(job)) == to_request(job)


def test_v2_sends_each_kind_of_cluster_to_the_letter(
    plain: dict[str, TrainingJob], sent_by_v2: Any
) -> None:
    """Those of a kind differ by names alone."""
    kinds = {index: option for option, (index, *_) in read_golden(CLUSTERS)["clusters"].items()}
    for option in kinds.values():
        assert sent_by_v2(to_huggingface(plain[option])) == to_request(plain[option])


@pytest.mark.slow
def test_v2_sends_every_cluster_to_the_letter(
    plain: dict[str, TrainingJob], sent_by_v2: Any
) -> None:
    differing = [
        o for o, job in plain.items() if sent_by_v2(to_huggingface(job)) != to_request(job)
    ]
    assert not differing


def test_v2_sends_a_channels_own_mode_to_the_letter(sent_by_v2: Any) -> None:
    job = replace(
        described(*SHAPES["p3_16xl"]),
        input_mode="FastFile",
        channels=(("config", "s3://mine/config/"), ("model", "s3://mine/model/")),
    )
    request = to_request(job)
    assert [channel.get("InputMode") for channel in request["InputDataConfig"]] == [None, "File"]
    assert sent_by_v2(to_huggingface(job)) == request


# --- names --------------------------------------------------------------------------------------


def test_job_names_follow_from_job_code_data_and_attempt() -> None:
    job = job_of(compose("cluster=p3_16xl"))
    name = job_name(job, digests(job))
    assert name == job_name(job, digests(job))
    other = {
        job_name(job, digests(job, code="b" * 64)),
        job_name(job, digests(job, data="b" * 64)),
        job_name(job, digests(job), attempt=2),
        job_name(job, digests(job, job="c" * 64)),
    }
    assert len(other) == 4 and name not in other
    assert job_name(job, digests(job), attempt=2) == f"{name}-2"


def test_a_prefix_makes_no_double_slash() -> None:
    assert described("cluster=p3_16xl", "aws.prefix=''").code_uri.startswith(
        "s3://example-bucket/code/"
    )
    (_, config), *_ = described("cluster=p3_16xl", "aws.prefix=/a/b/").channels
    assert config.startswith("s3://example-bucket/a/b/jobs/") and config.endswith("/")


def test_no_setting_travels_as_a_hyperparameter() -> None:
    """The toolkit joins hyperparameters into a shell command and logs them."""
    for overrides in SHAPES.values():
        job = described(*overrides)
        if has_arguments_for(job):
            assert to_huggingface(job)["estimator"]["hyperparameters"] == {}
        names = to_request(job)["HyperParameters"]
        assert all(name.startswith("sagemaker_") for name in names)
