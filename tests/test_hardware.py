"""Instances and images: our facts against their sources, and which image is chosen."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF, compose

from lingotune.compose import config_groups
from lingotune.hardware import images, instances, resolve_image, resolve_precision, version
from lingotune.schema import Precision

CLUSTERS = [c for c in config_groups(CONF)["cluster"] if c != "local"]


def package_file(package: str, *parts: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    return Path(spec.origin).parent.joinpath(*parts)


def test_our_images_are_the_sdks() -> None:
    """Drift of the SDK's list shows here, not on a paid machine."""
    os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"
    from sagemaker import fw_utils

    listed = json.loads(
        package_file("sagemaker", "image_uri_config", "huggingface.json").read_text()
    )
    smddp = fw_utils.SM_DATAPARALLEL_SUPPORTED_FRAMEWORK_VERSIONS["pytorch"]
    torchrun = fw_utils.TORCH_DISTRIBUTED_GPU_SUPPORTED_FRAMEWORK_VERSIONS
    found = []
    for transformers, frameworks in listed["training"]["versions"].items():
        if version(transformers) < (4, 12):
            continue
        for framework, facts in frameworks.items():
            if framework.startswith("pytorch"):
                pytorch = framework.removeprefix("pytorch")
                cuda = facts["container_version"]["gpu"].split("-")[0].removeprefix("cu")
                found.append(
                    (transformers, pytorch, facts["py_versions"][0], f"{cuda[:2]}.{cuda[2:]}",
                     pytorch in smddp, pytorch in torchrun)
                )  # fmt: skip
    ours = [
        (i.transformers, i.pytorch, i.python, i.cuda, i.smdistributed, i.torch_distributed)
        for i in images()
    ]
    assert ours == sorted(found, key=lambda row: version(row[0]))


def test_our_gpu_counts_are_the_sdks_and_ec2s() -> None:
    sdk: dict[str, Any] = json.loads(
        package_file("sagemaker", "image_uri_config", "instance_gpu_info.json").read_text()
    )["us-east-1"]
    import gzip

    dump = package_file("moto", "ec2", "resources", "instance_types.json.gz")
    ec2 = json.loads(gzip.decompress(dump.read_bytes()))
    compared = set()
    for name, ours in instances().items():
        if name in sdk:
            assert sdk[name]["Count"] == ours.gpus, name
            compared.add(name)
        described = ec2.get(name.removeprefix("ml."))
        if described:
            (gpu,) = described["GpuInfo"]["Gpus"]
            assert (gpu["Count"], gpu["Name"]) == (ours.gpus, ours.gpu), name
            assert gpu["MemoryInfo"]["SizeInMiB"] / 1024 == pytest.approx(ours.gpu_gib, rel=0.03)
            compared.add(name)
    assert compared >= set(instances()) - {"ml.p3.2xlarge", "ml.p3.8xlarge", "ml.p3.16xlarge"}


def test_every_instance_is_one_that_aws_accepts() -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    assert set(instances()) <= set(model.shape_for("TrainingInstanceType").enum)


@pytest.mark.parametrize(
    ("overrides", "transformers"),
    [
        (["cluster=p3_16xl"], "4.49.0"),
        (["cluster=p3_16xl", "cluster.distribution=smdistributed"], "4.28.1"),
        (["cluster=p3dn_24xl", "cluster.distribution=smdistributed"], "4.28.1"),
        (["cluster=p4d_24xl"], "4.56.2"),
        (["cluster=p4d_24xl", "cluster.distribution=smdistributed"], "4.36.0"),
        (["cluster=g4dn_12xl"], "4.56.2"),
        (["cluster=p5_48xl"], "4.56.2"),
        (["experiment=blog"], "4.12.3"),
    ],
)
def test_the_newest_image_that_fits(overrides: list[str], transformers: str) -> None:
    image = resolve_image(compose(*overrides).cluster)
    assert image is not None and image.transformers == transformers


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_cluster_has_an_image(cluster: str) -> None:
    assert resolve_image(compose(f"cluster={cluster}").cluster) is not None


def test_precision_follows_the_gpu_generation() -> None:
    auto = Precision.auto
    assert resolve_precision(auto, None) is Precision.fp32
    assert resolve_precision(auto, (7, 0)) is Precision.fp16
    assert resolve_precision(auto, (7, 5)) is Precision.fp16
    assert resolve_precision(auto, (8, 0)) is Precision.bf16
    assert resolve_precision(Precision.fp32, (9, 0)) is Precision.fp32
