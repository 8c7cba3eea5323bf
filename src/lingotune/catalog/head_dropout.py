"""How architectures call the dropout of what their classifier's head reads, in config.json."""

from __future__ import annotations

from lingotune.catalog import load


def head_dropout_name(architecture: str) -> str | None:
    """Look up the name in an architecture's config; None if it has none of its own, or is not known."""
    known: dict[str, str] = load("models")["head_dropout"]
    return known.get(architecture)


def no_head_dropout(wanted: float, architecture: str) -> tuple[str, str, str]:
    """Write what was typed, what is wrong, and what works, where the head has no dropout of its own."""
    where = f"model.head_dropout={wanted:g}"
    what = f"the head of the architecture {architecture} has none of its own, or none that is known"
    return where, what, "model.head_dropout=null"
