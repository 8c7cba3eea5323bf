"""Architectures: the releases of transformers that know them, and the precisions that break them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lingotune.catalog import load
from lingotune.catalog.hardware import Image, version
from lingotune.catalog.models import config_of
from lingotune.config.schema import ModelConfig


@dataclass(frozen=True)
class Architecture:
    """An architecture with a classifier of texts in transformers, by its `model_type`.

    first, last: releases of transformers that have it, of those that were looked at; last: None if the
    newest has it still.
    """

    name: str
    first: str
    last: str | None = None

    def is_in(self, release: str) -> bool:
        """Tell whether a release of transformers has it; one between two known, as the older."""
        after = version(release) > version(self.last) if self.last else False
        return version(self.first) <= version(release) and not after


@lru_cache(maxsize=1)
def architectures() -> dict[str, Architecture]:
    """Map each `model_type` to its architecture."""
    found = load("architectures")["architectures"]
    return {name: Architecture(name, *releases) for name, releases in found.items()}


def model_type(model: ModelConfig) -> str | None:
    """Tell a model's architecture by its config.json, or by a known name; None if neither is here."""
    if model.name_or_path is None:
        return None
    found = config_of(model).get("model_type")
    known: dict[str, str] = load("models")["architectures"]
    return str(found) if found else known.get(model.name_or_path)


def has_classifier(image: Image, name: str) -> bool:
    """Tell whether an image's transformers has a classifier of this architecture."""
    known = architectures().get(name)
    return known is not None and known.is_in(image.transformers)


def breaks_in_fp16(name: str) -> str | None:
    """Tell what becomes of an architecture in fp16; None if it trains."""
    known: dict[str, str] = load("models")["fp16"]
    return known.get(name)
