"""Hugging Face images that serve models. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from lingotune.catalog import load
from lingotune.catalog.hardware import (
    WORKER_PYTHON,
    WORKER_TRANSFORMERS,
    image_uri,
    python_version,
    version,
)


@dataclass(frozen=True)
class InferenceImage:
    """One image by its versions. containers: ends of its tag for `cpu` and `gpu`. sdks: those that list
    it."""

    transformers: str
    pytorch: str
    python: str
    containers: Mapping[str, str]
    sdks: tuple[str, ...]

    def uri(self, region: str, *, gpu: bool) -> str:
        """Build its ECR address, that of the variant for GPUs or for CPUs."""
        kind = "gpu" if gpu else "cpu"
        tag = f"{self.pytorch}-transformers{self.transformers}-{kind}-{self.python}"
        return image_uri(f"{tag}-{self.containers[kind]}", region, "inference")

    @property
    def cuda(self) -> tuple[int, ...]:
        """CUDA of the variant for GPUs: (12, 4) of cu124-ubuntu22.04."""
        digits = self.containers["gpu"].split("-")[0].removeprefix("cu")
        return int(digits[:2]), int(digits[2:])


@lru_cache(maxsize=1)
def inference_images() -> tuple[InferenceImage, ...]:
    """List the images that run the served code, oldest first."""
    rows = load("inference_images", "lingotune.launch")["images"]
    images = (InferenceImage(**{**row, "sdks": tuple(row["sdks"])}) for row in rows)
    return tuple(one for one in images if _runs(one))


def _runs(image: InferenceImage) -> bool:
    return (
        python_version(image.python) >= WORKER_PYTHON
        and version(image.transformers)[:2] >= WORKER_TRANSFORMERS
    )


def newest_image() -> InferenceImage:
    """Return the newest image."""
    return inference_images()[-1]
