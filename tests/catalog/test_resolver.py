"""Instances, distributions, images, precisions, architectures: each answer works, or names one that does.

What works is told here once more, from the sources: the SDK's tables, NVIDIA's and the image's versions.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import compose

from lingotune.catalog.architectures import architectures
from lingotune.catalog.hardware import (
    Image,
    Instance,
    fill_in,
    images,
    instances,
    resolve_image,
    runs_worker,
    version,
)
from lingotune.catalog.neighbours import unfit
from lingotune.config.jobfile import job_of
from lingotune.config.problems import Problem, errors_only
from lingotune.config.schema import Distribution, ImageConfig, Lane, LaunchConfig, Precision
from lingotune.launch.checks import architectures as checked
from lingotune.launch.checks.architectures import ARCHITECTURES
from lingotune.launch.checks.sagemaker import SAGEMAKER
from lingotune.preflight.cluster import CLUSTER
from lingotune.preflight.registry import Table

OLDEST_CUDA = {None: "0", (7, 0): "9.0", (7, 5): "10.0", (8, 0): "11.0", (8, 6): "11.1", (8, 9): "11.8",
               (9, 0): "11.8", (10, 0): "12.8", (10, 3): "12.9", (12, 0): "12.8"}  # fmt: skip
"""Compute capability -> first CUDA that compiles for it, from NVIDIA's release notes."""
NEWEST_CUDA = {(7, 0): "12.4"}
"""Volta went from PyTorch's builds of CUDA 12.6 and later."""
TOO_OLD = Table({"image-too-old": SAGEMAKER.checks["image-too-old"]})
Question = tuple[Instance, Distribution, "Image | None", Precision]


def kinds() -> list[Instance]:
    """One instance of each kind that the rules tell apart."""
    found: dict[object, Instance] = {}
    for one in instances().values():
        found.setdefault((one.gpus > 1, one.capability, one.smdistributed), one)
    return list(found.values())


def test_every_instance_that_sagemaker_trains_on_is_known_or_refused_with_a_reason() -> None:
    from lingotune.catalog import load

    shape = load("request", "lingotune.launch")["shapes"]["TrainingInstanceType"]
    for name in shape["enum"]:
        reason = unfit(name)
        assert (name in instances()) is (reason is None), name
        assert reason is None or instances()[reason[1]].sold
    assert unfit("ml.inf2.xlarge") and unfit("ml.g5.3xlarge") is None


def works(question: Question, image: Image | None) -> bool:
    """Tell from the sources whether a job runs: kernels, launcher, worker code."""
    one, distribution, _, precision = question
    if image is None or not runs_worker(image):
        return False
    cuda = version(image.cuda)
    if cuda < version(OLDEST_CUDA[one.capability]):
        return False
    if cuda > version(NEWEST_CUDA.get(one.capability or (0, 0), "99.0")):
        return False
    if precision is Precision.bf16 and one.capability and one.capability < (8, 0):
        return False
    if precision is Precision.fp16 and one.capability is None:
        return False
    if distribution is Distribution.none:
        return one.gpus <= 1
    if distribution is Distribution.torch_distributed:
        return one.gpus > 0 and image.torch_distributed
    old = one.capability != (7, 0) or version(image.pytorch) < (2, 1)
    return one.smdistributed and image.smdistributed and old


def questions() -> Iterator[Question]:
    return itertools.product(kinds(), Distribution, [None, *images()], Precision)


def asked(config: LaunchConfig, question: Question) -> LaunchConfig:
    one, distribution, image, precision = question
    cluster = replace(config.cluster, instance_type=one.instance_type, name="sagemaker",
                      gpus_per_node=None, distribution=distribution)  # fmt: skip
    if image is not None:
        pinned = ImageConfig(Lane.pinned, image.transformers, image.pytorch, image.python)
        cluster = replace(cluster, image=pinned)
    training = replace(config.training, precision=precision)
    return replace(config, cluster=fill_in(cluster), training=training)


def errors(config: LaunchConfig) -> list[Problem]:
    found = errors_only(CLUSTER.run(job_of(config)))
    return found or TOO_OLD.run(config)


def followed(config: LaunchConfig, problem: Problem) -> LaunchConfig:
    """Do what the first proposal of a problem says."""
    words = re.split(r", or |; known", problem.fix)[0].split()
    cluster, training = config.cluster, config.training
    for word in words:
        key, _, value = word.partition("=")
        section, name = key.rsplit(".", 1)
        if key == "training.precision":
            training = replace(training, precision=Precision[value])
        elif key == "cluster.distribution":
            cluster = replace(cluster, distribution=Distribution[value])
        elif section == "cluster.image":
            typed: Any = Lane[value] if name == "lane" else value
            cluster = replace(cluster, image=replace(cluster.image, **{name: typed}))
        else:
            raise AssertionError(f"{problem.check}: {problem.fix}")
    return replace(config, cluster=cluster, training=training)


def test_each_answer_works_or_names_one_that_does() -> None:
    config, refused = compose("cluster=g5_12xl"), 0
    for question in questions():
        job = asked(config, question)
        found = errors(job)
        assert works(question, resolve_image(job.cluster)) is not bool(found), (question, found)
        refused += bool(found)
        for _ in range(4):  # what one proposal changes, another may have to follow
            for problem in found[:1]:
                job = followed(job, problem)
            found = errors(job)
        assert not found, question
        one, image = question[0], resolve_image(job.cluster)
        now = (one, job.cluster.distribution, image, job.training.precision)
        assert works(now, image), question
    assert refused > 1000


def test_each_architecture_has_an_image_or_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """On every kind of machine, with every image that runs there."""
    config = compose("cluster=g5_12xl", "model=pretrained", "model.name_or_path=some/model")
    name = ""
    monkeypatch.setattr(checked, "model_type", lambda model: name)
    # those that came and went with the same releases are answered alike
    alike = {(known.first, known.last): known for known in architectures().values()}.values()
    for one, image in itertools.product(kinds(), [None, *filter(runs_worker, images())]):
        distribution = Distribution.torch_distributed if one.gpus else Distribution.none
        job = asked(config, (one, distribution, image, Precision.auto))
        taken = resolve_image(job.cluster)
        if errors(job) or taken is None:
            continue
        for known in alike:
            name = known.name
            found = errors_only(ARCHITECTURES.run(job))
            assert known.is_in(taken.transformers) is not bool(found), (name, one, image)
            if found and found[0].fix.startswith("cluster.image.lane"):
                again = followed(job, found[0])
                assert not errors_only(ARCHITECTURES.run(again)) and not errors(again)
            elif found:  # no image of this GPU has it
                assert found[0].fix.startswith(("cluster=g5_12xl", "cluster.image.uri="))
