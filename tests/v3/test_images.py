"""Our table of training images, compared with the one that the SDK v3 installs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sagemaker.core.image_uris as theirs

from lingotune.catalog.hardware import Image, images, registries
from lingotune.launch.render.inference_image import inference_images

TABLE = Path(theirs.__file__).parent / "image_uri_config" / "huggingface.json"
LISTED: dict[str, dict[str, Any]] = json.loads(TABLE.read_text())["training"]["versions"]
SERVING: dict[str, dict[str, Any]] = json.loads(TABLE.read_text())["inference"]["versions"]
OLDEST = (4, 12)
"""The article's transformers."""


def newer_than_the_article(version: str) -> bool:
    return tuple(map(int, version.split("."))) >= OLDEST


def test_we_know_every_image_that_v3_lists() -> None:
    """A new one shows here: make facts, and a row of launch/facts/lanes.json."""
    listed = {
        (version, framework.removeprefix("pytorch"))
        for version, frameworks in LISTED.items()
        for framework in frameworks
        if framework.startswith("pytorch") and newer_than_the_article(version)
    }
    assert {(one.transformers, one.pytorch) for one in images() if "v3" in one.sdks} == listed


@pytest.mark.parametrize("image", [one for one in images() if "v3" in one.sdks], ids=str)
def test_the_image_is_the_one_that_v3_finds(image: Image) -> None:
    facts = LISTED[image.transformers][f"pytorch{image.pytorch}"]
    assert facts["container_version"]["gpu"] == image.container
    assert facts["py_versions"] == [image.python]


def test_v3s_newest_image_is_in_the_regions_that_we_know() -> None:
    newest = images()[-1]
    facts = LISTED[newest.transformers][f"pytorch{newest.pytorch}"]
    assert set(facts["registries"]) == set(registries())
    for region, account in facts["registries"].items():
        assert registries()[region].startswith(f"{account}.dkr.ecr.{region}.")


def test_we_know_the_inference_images_that_v3_lists() -> None:
    """A new one shows here: make facts."""
    ours = {one.transformers: one for one in inference_images()}
    assert [*ours][-1] == max(SERVING, key=lambda text: tuple(map(int, text.split("."))))
    for transformers, one in ours.items():
        facts = SERVING[transformers][f"pytorch{one.pytorch}"]
        assert (facts["container_version"], facts["py_versions"]) == (
            dict(one.containers),
            [one.python],
        )
