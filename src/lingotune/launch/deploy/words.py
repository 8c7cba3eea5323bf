"""Commands that messages about deployments name."""

from __future__ import annotations

from lingotune.config.program import program


def delete_of(name: str, region: str | None, *more: str) -> str:
    """Return the command that deletes an endpoint by its name. more: further words of it."""
    where = [f"aws.region={region}"] if region else []
    return " ".join([program("deploy"), name, "action=delete", *where, *more])
