"""Where group files lie: those that are shipped, and the user's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped_dir() -> Path:
    """Find the shipped `conf/`: inside an installed package, or at the top of a checkout."""
    package = Path(str(resources.files("lingotune")))
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"
