"""Commands that messages about deployments name."""

from __future__ import annotations

from lingotune.config.program import program


def delete_of(name: str, region: str | None) -> str:
    """Return the command that deletes an endpoint by its name."""
    where = f" aws.region={region}" if region else ""
    return f"{program('deploy')} {name} action=delete{where}"
