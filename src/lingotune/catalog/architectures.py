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
    """Tell a model's architecture by its config.json; None from scratch, or if that is not known here."""
    found = config_of(model).get("model_type")
    return str(found) if found else None


def architecture_of(model: ModelConfig) -> str | None:
    """Tell a model's architecture, DistilBERT from scratch; None if it is not known here."""
    return "distilbert" if model.name_or_path is None else model_type(model)


def skips_padding(name: str) -> bool:
    """Tell whether the layers of an architecture are known to compute the same without padding."""
    known: list[str] = load("models")["padding_free"]
    return name in known


def has_classifier(image: Image, name: str) -> bool:
    """Tell whether an image's transformers has a classifier of this architecture."""
    known = architectures().get(name)
    return known is not None and known.is_in(image.transformers)


def breaks_in_fp16(name: str) -> str | None:
    """Tell what becomes of an architecture in fp16; None if it trains."""
    known: dict[str, str] = load("models")["fp16"]
    return known.get(name)
