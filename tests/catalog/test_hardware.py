"""Instances and images: our facts compared with their sources, and the choice of image."""

from __future__ import annotations

import importlib.util
import json

import pytest
from conftest import ROOT, compose

from lingotune.catalog.hardware import (
    images,
    instances,
    registries,
    resolve_image,
    resolve_precision,
)
from lingotune.config.schema import Precision


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """The data files as tools/facts.py makes them of the libraries installed here: without the SDK v3."""
    spec = importlib.util.spec_from_file_location("facts", ROOT / "tools" / "facts.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, str] = module.files({}, {})
    return made


@pytest.mark.parametrize(
    "name",
    [
        "catalog/facts/instances.json",
        "catalog/facts/images.json",
        "catalog/facts/partitions.json",
        "launch/facts/request.json",
        "launch/facts/inference_images.json",
    ],
)
def test_our_facts_are_those_of_the_libraries(name: str, sources: dict[str, str]) -> None:
    """Drift shows here, not on a paid machine. After an upgrade: make facts."""
    ours = json.loads((ROOT / "src" / "lingotune" / name).read_text())
    theirs = json.loads(sources[name])
    ours.pop("sources"), theirs.pop("sources")
    if "images" in ours:  # what v3 lists is compared in tests/v3
        listed = [row for row in ours["images"] if "v2" in row["sdks"]]
        ours["images"] = [{**row, "sdks": ["v2"]} for row in listed]
    assert ours == theirs


def test_the_tables_hold_what_the_issue_and_the_documentation_say() -> None:
    """A few rows by hand, so that a fault of the tool does not go through both sides."""
    table = instances()
    p3, p4d, g5 = (table[f"ml.{name}"] for name in ("p3.16xlarge", "p4d.24xlarge", "g5.12xlarge"))
    assert (p3.gpus, p3.gpu, p3.gpu_gib, p3.nvme_gb, p3.smdistributed) == (8, "V100", 16, 0, True)
    assert (p4d.gpus, p4d.gpu, p4d.gpu_gib, p4d.nvme_gb, p4d.efa) == (8, "A100", 40, 8000, 4)
    assert (g5.gpus, g5.gpu, g5.capability, g5.smdistributed) == (4, "A10G", (8, 6), False)
    last_of_v2, newest = images()[-2:]
    assert str(last_of_v2) == "transformers 4.56.2, PyTorch 2.8.0, py312, CUDA 12.9"
    assert last_of_v2.sdks == ("v2", "v3") and newest.sdks == ("v3",)
    assert str(newest) == "transformers 5.3.0, PyTorch 2.9.0, py312, CUDA 13.0"
    assert registries()["cn-north-1"].endswith(".amazonaws.com.cn")


@pytest.mark.parametrize(
    ("overrides", "transformers"),
    [
        (["cluster=p3_16xl"], "4.49.0"),
        (["cluster=p3_16xl", "cluster.distribution=smdistributed"], "4.28.1"),
        (["cluster=p3dn_24xl", "cluster.distribution=smdistributed"], "4.28.1"),
        (["cluster=p4d_24xl"], "5.3.0"),
        (["cluster=p4d_24xl", "cluster.distribution=smdistributed"], "4.36.0"),
        (["cluster=g4dn_12xl"], "5.3.0"),
        (["cluster=p5_48xl"], "5.3.0"),
        (["experiment=blog"], "4.12.3"),
    ],
)
def test_the_newest_image_that_fits(overrides: list[str], transformers: str) -> None:
    image = resolve_image(compose(*overrides).cluster)
    assert image is not None and image.transformers == transformers


def test_precision_follows_the_gpu_generation() -> None:
    auto = Precision.auto
    assert resolve_precision(auto, None) is Precision.fp32
    assert resolve_precision(auto, (7, 0)) is Precision.fp16
    assert resolve_precision(auto, (7, 5)) is Precision.fp16
    assert resolve_precision(auto, (8, 0)) is Precision.bf16
    assert resolve_precision(Precision.fp32, (9, 0)) is Precision.fp32
