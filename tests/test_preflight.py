"""Every check of the preflight: an override that trips it, and the silence of sound jobs."""

from __future__ import annotations

import pytest
from conftest import CONF, compose

from lingotune.compose import config_groups
from lingotune.jobfile import job_of
from lingotune.messages import errors_only
from lingotune.preflight import check_job, check_submit
from lingotune.schema import Problem, Severity

CLOUD = "cluster=p3_16xl"

# the overrides, where the problem is told, a part of what is told, a part of what works
TRIPS: dict[str, tuple[list[str], str, str, str]] = {
    "name": (["name=under_score"], "name=under_score", "letters, digits", "name=under-score"),
    "long name": ([f"name={'x' * 50}"], f"name={'x' * 50}", "at most 45", f"name={'x' * 45}"),
    "lr of 0": (["lr=0"], "lr=0", "out of range", "above 0"),
    "lr is nan": (["lr=nan"], "lr=nan", "out of range", "above 0"),
    "lr is infinite": (["lr=inf"], "lr=inf", "out of range", "above 0"),
    "batch of 0": (["per_device_bs=0"], "per_device_bs=0", "out of range", "from 1"),
    "no epoch": (["epochs=0"], "epochs=0", "out of range", "from 1"),
    "tiny max_length": (["data.max_length=2"], "data.max_length=2", "out of range", "8 to 8192"),
    "share of 1": (["data.test_share=1"], "data.test_share=1", "out of range", "0 to 0.9"),
    "no node": (["cluster.nodes=0"], "cluster.nodes=0", "out of range", "from 1"),
    "endless": ([CLOUD, "cluster.max_run=9999999"], "cluster.max_run=1e+07", "out of", "28 days"),
    "a token in the config": (
        ["hub=private", "hub.repo=hf_abcdefghijklmnopqrstuvwx"],
        "hub.repo",
        "looks like an access token",
        "HF_TOKEN",
    ),
    "revision of nothing": (["model.revision=main"], "model.revision=main", "no effect", "null"),
    "heads": (["model.scratch.heads=3"], "model.scratch.heads=3", "does not split", "dim=63"),
    "scratch of a pretrained model": (
        ["model=distilbert_multilingual", "model.scratch.dim=32"],
        "model.scratch",
        "brings its own architecture",
        "model=tiny",
    ),
    "one class": (
        ["data.labels=[{name: a, values: [1]}]"],
        "data.labels",
        "a classifier needs two",
        "data.labels=",
    ),
    "a class twice": (
        ["data.labels=[{name: a, values: [1]}, {name: a, values: [2]}]"],
        "data.labels",
        "'a' 2 times",
        "data.labels=",
    ),
    "a value for two classes": (
        ["data.labels=[{name: a, values: [1]}, {name: b, values: [1]}]"],
        "data.labels",
        "maps the raw value '1' to 2 classes",
        "data.labels=",
    ),
    "a language twice": (["data.languages=[de,de]"], "data.languages", "'de' 2 times", ""),
    "shares": (
        ["data.test_share=0.6", "data.validation_share=0.5"],
        "data.validation_share",
        "add up to 1.1",
        "0.1",
    ),
    "a path for the sample": (["data.path=x.csv"], "data.path", "no effect", "data=files"),
    "sample sizes for files": (
        ["data=files", "data.path=x.csv", "data.sample.seed=1"],
        "data.sample",
        "no effect",
        "data=sample",
    ),
    "no file": (["data=files"], "data.path", "no file is named", "data.path=reviews.jsonl"),
    "path and train": (
        ["data=files", "data.path=a", "data.train=b"],
        "data.path",
        "both set",
        "data.path=null",
    ),
    "test without train": (["data=files", "data.test=b"], "data.train", "no training", "train="),
    "counts of files": (["data.rows.train=5"], "data.rows", "no effect", "amazon_reviews_multi"),
    "an unknown instance": (
        [CLOUD, "cluster.instance_type=ml.p3.16large"],
        "cluster.instance_type=ml.p3.16large",
        "did you mean ml.p3.16xlarge?",
        "ml.p3.16xlarge",
    ),
    "processes on SageMaker": (
        [CLOUD, "cluster.processes=4"],
        "cluster.processes=4",
        "no effect",
        "=1",
    ),
    "fewer GPUs than the instance": (
        [CLOUD, "cluster.gpus_per_node=4"],
        "cluster.gpus_per_node=4",
        "has 8",
        "cluster.gpus_per_node=8",
    ),
    "nodes on a laptop": (["cluster.nodes=2"], "cluster.nodes=2", "one machine", "processes=2"),
    "processes beside GPUs": (
        ["cluster.gpus_per_node=1", "cluster.processes=2"],
        "cluster.processes=2",
        "no effect",
        "gpus_per_node=0",
    ),
    "an image on a laptop": (
        ["cluster.image.lane=pinned"],
        "cluster.image",
        "has no image",
        "cluster=",
    ),
    "smdistributed on a laptop": (
        ["cluster.distribution=smdistributed"],
        "cluster.distribution=smdistributed",
        "torchrun",
        "torch_distributed",
    ),
    "smdistributed on four GPUs": (
        ["cluster=g5_12xl", "cluster.distribution=smdistributed"],
        "cluster.distribution=smdistributed",
        "does not run on ml.g5.12xlarge",
        "torch_distributed",
    ),
    "versions without pinning": (
        [CLOUD, "cluster.image.pytorch=2.0.0"],
        "cluster.image",
        "no effect while the lane is auto",
        "lane=pinned",
    ),
    "an image that does not exist": (
        [CLOUD, "cluster.image={lane: pinned, transformers: 9.9, pytorch: 2.0.0, python: py310}"],
        "cluster.image",
        "no such image: 9.9, 2.0.0, py310",
        "4.28.1, 2.0.0, py310",
    ),
    "an image without kernels for the V100": (
        [
            CLOUD,
            "cluster.image={lane: pinned, transformers: 4.56.2, pytorch: 2.8.0, python: py312}",
        ],
        "cluster.image",
        "no kernels for the V100",
        "4.49.0",
    ),
    "an image whose data parallel library refuses p3": (
        [
            CLOUD,
            "cluster.distribution=smdistributed",
            "cluster.image={lane: pinned, transformers: 4.36.0, pytorch: 2.1.0, python: py310}",
        ],
        "cluster.image",
        "refuses p3",
        "4.28.1",
    ),
    "no base batch": (
        ["scaling=linear", "scaling.base_batch=null"],
        "scaling.base_batch",
        "needs the global batch",
        "scaling.base_batch=16",
    ),
    "a base batch for nothing": (
        ["scaling.base_batch=16"],
        "scaling.base_batch=16",
        "no effect",
        "scaling=linear",
    ),
    "no global batch": (
        ["scaling=fixed_global", "scaling.global_batch=null"],
        "scaling.global_batch",
        "needs the global batch",
        "128",
    ),
    "a global batch for nothing": (
        ["scaling.global_batch=64"],
        "scaling.global_batch=64",
        "no effect",
        "fixed_global",
    ),
    "accumulation that is derived": (
        ["scaling=fixed_global", "scaling.accumulation=2"],
        "scaling.accumulation=2",
        "is derived",
        "null",
    ),
    "an impossible split": (
        ["scaling=fixed_global", "scaling.global_batch=100"],
        "scaling.global_batch=100",
        "cannot be split evenly",
        "scaling.global_batch=96 or scaling.global_batch=128",
    ),
    "steps without a number": (
        ["training.eval_strategy=steps"],
        "training.eval_steps",
        "needs the updates",
        "training.eval_steps=500",
    ),
    "a number without steps": (
        ["training.eval_steps=5"],
        "training.eval_steps=5",
        "no effect",
        "eval_strategy=steps",
    ),
    "selecting without evaluating": (
        ["training.eval_strategy=none", "training.select=loss"],
        "training.select=loss",
        "no effect",
        "epoch",
    ),
    "bf16 on a V100": (
        [CLOUD, "training.precision=bf16"],
        "training.precision=bf16",
        "V100 has no bf16",
        "fp16",
    ),
    "fp16 on a CPU": (
        ["training.precision=fp16"],
        "training.precision=fp16",
        "needs a GPU",
        "fp32",
    ),
    "a repository without publishing": (["hub.repo=x"], "hub.repo=x", "no effect", "hub=private"),
    "a secret without publishing": (
        ["hub.token_secret=x"],
        "hub.token_secret=x",
        "no effect",
        "hub=private",
    ),
}


def found(overrides: list[str]) -> list[Problem]:
    return check_job(job_of(compose(*overrides)))


@pytest.mark.parametrize("check", TRIPS)
def test_a_check_trips(check: str) -> None:
    overrides, where, what, works = TRIPS[check]
    problems = [p for p in found(overrides) if p.where == where and what in p.what]
    assert len(problems) == 1, found(overrides)
    assert works in problems[0].works


@pytest.mark.parametrize("cluster", config_groups(CONF)["cluster"])
def test_sound_jobs_are_not_bothered(cluster: str) -> None:
    assert found([f"cluster={cluster}"]) == []


def test_the_article_is_sound_but_warned_and_cannot_be_submitted_as_it_was() -> None:
    job = job_of(compose("experiment=blog"))
    assert errors_only(check_job(job)) == []
    (warning,) = check_job(job)
    assert warning.severity is Severity.warning and "at its end on p3" in warning.what
    image, token = check_submit(job)
    assert "has Python 3.8; the worker code needs Python 3.10" in image.what
    assert "4.28.1" in image.works
    assert token.where == "hub.token_secret" and "finds no token" in token.what


def test_what_is_offered_mends_the_articles_submit() -> None:
    image, _ = check_submit(job_of(compose("experiment=blog")))
    job = job_of(compose("experiment=blog", *image.works.split(), "hub.token_secret=hf"))
    assert errors_only(check_job(job)) == [] and check_submit(job) == []
