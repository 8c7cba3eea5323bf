"""Installed packages with entry points, as tests need them: a distribution's metadata in a folder."""

from __future__ import annotations

import json
from pathlib import Path


def install(
    folder: Path,
    name: str,
    points: dict[str, dict[str, str]],
    module: str = "",
    version: str = "1.2",
    origin: dict[str, object] | None = None,
) -> None:
    """Lay a package out as pip does; points: group -> name -> value. Put `folder` on sys.path."""
    (folder / f"{name.replace('-', '_')}.py").write_text(module)
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, values in points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in values.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))
