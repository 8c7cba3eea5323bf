"""What classifiers read of a text: the vector of its first token, or the mean of all."""

from __future__ import annotations

from collections.abc import Mapping

from lingotune.catalog import load
from lingotune.config.schema import Pooling

Poolings = Mapping[str, Mapping[str, str]]
"""Pooling -> what config.json then says."""


def poolings(architecture: str) -> dict[str, dict[str, str]] | None:
    """Look up the poolings that an architecture's classifier can do; None if that is not known."""
    known: dict[str, dict[str, dict[str, str]]] = load("models")["pooling"]
    return known.get(architecture)


def no_pooling(wanted: Pooling, architecture: str, known: Poolings | None) -> tuple[str, str, str]:
    """Write what was typed, what is wrong, and what works, where there is no such pooling."""
    where = f"model.pooling={wanted.value}"
    if known is None:
        what = f"how a classifier of the architecture {architecture} pools is not known"
        return where, what, "model.pooling=null, for what its config.json says"
    what = f"a classifier of the architecture {architecture} reads the first token alone"
    return where, what, " or ".join(f"model.pooling={name}" for name in known)
